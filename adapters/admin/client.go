package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"kiroku/adapters/datadir"
)

// Name is the admin endpoint's among those a data directory announces.
const Name = "admin"

// maxAnswer bounds what a client reads, in bytes.
const maxAnswer = 64 << 20

// RefusedError is a request the core answered with a failure.
type RefusedError struct {
	Status  int // of HTTP
	Message string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the core refused: %s (%d)", e.Message, e.Status)
}

// Client calls the core that runs on a data directory.
type Client struct {
	base  string
	token datadir.Credential
	http  *http.Client
}

// Connect finds the core of a data directory. It fails with
// datadir.ErrNotRunning if none has announced itself.
func Connect(dir datadir.Dir) (*Client, error) {
	endpoint, err := dir.Find(Name)
	if err != nil {
		return nil, err
	}
	// No proxy of the environment: the token is for this machine only.
	transport := &http.Transport{Proxy: nil, ResponseHeaderTimeout: time.Minute}
	return &Client{base: "http://" + endpoint.Address, token: endpoint.Token, http: &http.Client{Transport: transport}}, nil
}

// Call sends request as JSON (nil: no body) and decodes the answer into
// response (nil: dropped). It fails with datadir.ErrNotRunning if nobody
// listens any more and with a *RefusedError for an answer that is no success.
func (c *Client) Call(ctx context.Context, method, path string, request, response any) error {
	answer, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if response == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(response); err != nil {
		return fmt.Errorf("reading the core's answer: %w", err)
	}
	return nil
}

// Follow is Call for work that takes time and tells how it goes on, one JSON
// value after the other; next decodes each. It ends with the work, or with
// next's error.
func (c *Client) Follow(ctx context.Context, method, path string, next func(*json.Decoder) error) error {
	return c.FollowOrder(ctx, method, path, nil, next)
}

// FollowOrder is Follow of a request that has a body.
func (c *Client) FollowOrder(ctx context.Context, method, path string, request any, next func(*json.Decoder) error) error {
	answer, err := c.send(ctx, method, path, request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	for decoder := json.NewDecoder(answer.Body); decoder.More(); {
		if err := next(decoder); err != nil {
			return err
		}
	}
	return nil
}

// send returns the answer of a call that succeeded so far.
func (c *Client) send(ctx context.Context, method, path string, request any) (*http.Response, error) {
	var body io.Reader
	if request != nil {
		encoded, err := json.Marshal(request)
		if err != nil {
			return nil, fmt.Errorf("calling the core: %w", err)
		}
		body = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return nil, fmt.Errorf("calling the core: %w", err)
	}
	r.Header.Set("Authorization", "Bearer "+c.token.Expose())
	r.Header.Set("Content-Type", "application/json")
	answer, err := c.http.Do(r)
	if err != nil {
		if ctx.Err() == nil {
			err = errors.Join(datadir.ErrNotRunning, err)
		}
		return nil, fmt.Errorf("calling the core: %w", err)
	}
	if answer.StatusCode/100 == 2 {
		return answer, nil
	}
	defer answer.Body.Close()
	var failure Failure
	if json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&failure) != nil {
		failure.Error = http.StatusText(answer.StatusCode)
	}
	return nil, &RefusedError{Status: answer.StatusCode, Message: failure.Error}
}
