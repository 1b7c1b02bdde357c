package eventstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
	"github.com/google/uuid"

	"kiroku/domain/ledger"
)

// truncation is the key under which a stream's metadata says which revision is
// the first visible one. The whole document is kept as it is but for this key:
// the client's own form of it loses role lists and rounds large numbers.
const truncation = "$tb"

// metadata is the document of a stream's settings, and where the next one goes.
type metadata struct {
	fields map[string]json.RawMessage
	next   uint64
}

// TruncateBefore returns the first revision of stream that is not hidden by its
// truncation mark; 0 if it has none. A deleted stream has math.MaxInt64.
func (s *Store) TruncateBefore(ctx context.Context, stream string) (uint64, error) {
	m, err := s.readMetadata(ctx, stream)
	if err != nil {
		return 0, err
	}
	return m.mark(stream)
}

// SetTruncateBefore hides the events of stream below revision; the store frees
// their space at its next scavenge. It keeps all other metadata of the stream. A
// mark that is already as high stays. ErrInvalid: the stream's last event would
// be hidden, by which its head is checked. Repeating the call is harmless, also
// after ErrOutcomeUnknown.
func (s *Store) SetTruncateBefore(ctx context.Context, stream string, revision uint64) error {
	last, ok, err := s.ReadLast(ctx, stream)
	if err != nil {
		return fmt.Errorf("truncate stream %q before revision %d: %w", stream, revision, err)
	}
	if !ok || revision > last.Revision {
		return fmt.Errorf("truncate stream %q before revision %d: %w: its last event must stay", stream, revision, ErrInvalid)
	}
	for {
		m, err := s.readMetadata(ctx, stream)
		if err != nil {
			return err
		}
		mark, err := m.mark(stream)
		if err != nil || mark >= revision {
			return err
		}
		err = s.writeMetadata(ctx, stream, m, revision)
		if !errors.Is(err, ErrWrongRevision) { // else somebody else changed it: look again
			return err
		}
	}
}

func (s *Store) readMetadata(ctx context.Context, stream string) (metadata, error) {
	last, ok, err := s.ReadLast(ctx, "$$"+stream)
	if err != nil || !ok {
		return metadata{fields: map[string]json.RawMessage{}}, err
	}
	m := metadata{next: last.Revision + 1}
	if err := json.Unmarshal(last.Data, &m.fields); err != nil || m.fields == nil {
		return metadata{}, fmt.Errorf("read the metadata of stream %q: %w: it is no JSON object, so the store ignores it; write it anew", stream, ErrUnexpectedAnswer)
	}
	return m, nil
}

func (m metadata) mark(stream string) (uint64, error) {
	raw, ok := m.fields[truncation]
	if !ok {
		return 0, nil
	}
	mark, err := strconv.ParseUint(string(raw), 10, 63)
	if err != nil {
		return 0, fmt.Errorf("read the metadata of stream %q: %w: %s is no whole number, so the store ignores all of it; write it anew", stream, ErrUnexpectedAnswer, truncation)
	}
	return mark, nil
}

func (s *Store) writeMetadata(ctx context.Context, stream string, m metadata, revision uint64) error {
	if revision > math.MaxInt64 {
		return fmt.Errorf("truncate stream %q: %w: no such revision", stream, ErrInvalid)
	}
	m.fields[truncation] = json.RawMessage(strconv.FormatUint(revision, 10))
	document, err := json.Marshal(m.fields)
	if err != nil {
		return fmt.Errorf("truncate stream %q: %w", stream, err)
	}
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	err = s.appendOnce(op, "$$"+stream, m.next, []esdb.EventData{{
		EventID:     uuid.New(),
		EventType:   "$metadata",
		ContentType: esdb.ContentTypeJson, // or the store does not look at it
		Data:        document,
	}})
	if err != nil {
		return fmt.Errorf("truncate stream %q before revision %d: %w", stream, revision, err)
	}
	return nil
}

// presence is a stream that nobody writes; asking for it asks for the server
// and for the credentials.
const presence = "kiroku-presence"

// Ping asks the store for an answer that takes valid credentials. nil: it is
// there. It asks once, for at most Config.ReadTimeout.
func (s *Store) Ping(ctx context.Context) error {
	op, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	start := esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}
	err = s.scan(op, presence, start, 1, s.config.ReadTimeout, func(ledger.Event) error { return nil })
	if err == nil || kindOf(err) == kindNotFound {
		return nil
	}
	if definite := terminal(op, err); definite != nil {
		return fmt.Errorf("ask the event store for an answer: %w", definite)
	}
	return fmt.Errorf("ask the event store for an answer: %w", unavailable(err))
}

// Version returns the server's version, such as 24.10.4; 0.0.0 if it does not
// tell.
func (s *Store) Version(ctx context.Context) (string, error) {
	op, end, err := s.begin(ctx)
	if err != nil {
		return "", err
	}
	defer end()
	ses, err := s.session(op)
	if err != nil {
		return "", fmt.Errorf("ask the event store for its version: %w", err)
	}
	return ses.version, nil
}
