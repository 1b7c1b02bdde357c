package embedded

import (
	"compress/gzip"
	"compress/zlib"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
)

// ServeHTTP answers one request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/ping" {
		fmt.Fprint(w, "Ok.\n")
		return
	}
	if r.URL.Path != "/" || r.Method != http.MethodPost && r.Method != http.MethodGet {
		http.NotFound(w, r)
		return
	}
	user := s.authenticate(r)
	if user == nil {
		w.Header().Set("WWW-Authenticate", `Basic realm="ClickHouse"`)
		s.fail(w, r, call{}, exception(codeAuthenticationFailed, "Authentication failed: the user or the password is wrong"))
		return
	}
	c, err := read(r.URL.Query(), user.role, user.limits)
	if err == nil {
		err = s.answer(w, r, user, c)
	}
	if err != nil {
		s.fail(w, r, c, err)
	}
}

// authenticate is the user who asks, nil if that is nobody.
func (s *Server) authenticate(r *http.Request) *user {
	name, password, basic := r.BasicAuth()
	if !basic {
		name, password = r.Header.Get("X-ClickHouse-User"), r.Header.Get("X-ClickHouse-Key")
	}
	digest := sha256.Sum256([]byte(password))
	found, ok := s.users[name]
	if !ok || subtle.ConstantTimeCompare(digest[:], found.digest[:]) != 1 {
		return nil
	}
	return found
}

// errTime is why a query ends whose time is up.
var errTime = errors.New("the time is up")

// grace is the part of its time that a query gets on top before it is killed
// from outside: the engine itself looks at the time now and then.
const grace = 10

func (s *Server) answer(w http.ResponseWriter, r *http.Request, user *user, c call) error {
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		return exception(codeNotImplemented, "external tables are not offered")
	}
	ctx, cancel := context.WithTimeoutCause(r.Context(), c.limits.Time+c.limits.Time/grace, errTime)
	defer cancel()
	defer context.AfterFunc(s.queries, cancel)()
	back, err := user.turns.take(ctx, c.report)
	if err != nil {
		return err
	}
	defer back()
	q, spooled, err := s.query(r, user, c)
	if err != nil {
		return err
	}
	if spooled != nil {
		defer spooled.close()
	}
	a, err := s.engine.run(ctx, q)
	if err != nil {
		return asEnd(ctx, err)
	}
	defer a.close()
	if drops(q.text) {
		defer s.forget()
	}
	return s.send(w, r, c, a)
}

// asEnd names the time as the reason where a query was killed for it.
func asEnd(ctx context.Context, err error) error {
	if e := asException(err); e.Code == codeQueryWasCancelled && errors.Is(context.Cause(ctx), errTime) {
		return exception(codeTimeoutExceeded, "Timeout exceeded: the query's time is up")
	}
	return err
}

// query puts the statement together: it stands in the address, in the body, or
// in both. If it is an insert in the address, the body is its data.
func (s *Server) query(r *http.Request, user *user, c call) (query, *spool, error) {
	q := query{role: user.role, database: c.database, settings: c.settings, format: c.format, parameters: c.parameters, text: c.statement}
	rest, err := body(r, c.unpack)
	if err != nil {
		return q, nil, err
	}
	if _, insert := insertFrom(c.statement, ""); insert && user.role == writer {
		spooled, err := keep(s.config.Dir, rest, s.config.MaxInsertBytes)
		if err != nil {
			return q, nil, err
		}
		q.text, _ = insertFrom(c.statement, spooled.path())
		return q, spooled, nil
	}
	text, err := io.ReadAll(io.LimitReader(rest, longestStatement+1))
	if err != nil {
		return q, nil, exception(codeBadArguments, "the body cannot be read to its end")
	}
	if len(text) > longestStatement {
		return q, nil, exception(codeQueryIsTooLarge, "the statement has more than %d bytes", longestStatement)
	}
	if q.text != "" && len(text) > 0 {
		q.text += "\n"
	}
	q.text += string(text)
	return q, nil, refuseSession(q.text)
}

// refuseSession refuses statements that would change a session: there is none
// that outlives its request, and doing nothing without a word would mislead.
func refuseSession(statement string) error {
	switch first := tokenOf(tokens(statement[:min(len(statement), 4096)]), 0); {
	case first.kind == none:
		return exception(codeSyntaxError, "Empty query")
	case first.is("SET"), first.is("USE"):
		return exception(codeNotImplemented, "%s has no effect beyond its own request: put settings and database into the address", strings.ToUpper(first.value))
	}
	return nil
}

// send sends a result, packed as the client asked.
func (s *Server) send(w http.ResponseWriter, r *http.Request, c call, a *answer) error {
	data := a.data
	if a.format == nativeFormat && c.revision > 0 {
		recoded, err := forClient(a, c.revision)
		if err != nil {
			s.config.Log.Warn("a result cannot be written for its client", "error", err.Error())
			return exception(codeNotImplemented, "the result has a column that clickhouse-go cannot read: %v", err)
		}
		data = recoded
	}
	w.Header().Set("X-ClickHouse-Format", a.format)
	w.Header().Set("X-ClickHouse-Summary", fmt.Sprintf(`{"read_rows":"%d","read_bytes":"%d","written_rows":"%d"}`, a.readRows, a.readBytes, a.written))
	return s.write(w, r, c, http.StatusOK, data)
}

func forClient(a *answer, revision uint64) ([]byte, error) {
	if len(a.data) == 0 && a.columns != nil {
		return header(a.columns, revision)
	}
	return recode(a.data, revision)
}

// fail tells the client what went wrong.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, c call, err error) {
	e := asException(err)
	if _, ours := errors.AsType[*Exception](err); !ours {
		s.config.Log.Error("a request failed", "error", err.Error())
	}
	w.Header().Set("X-ClickHouse-Exception-Code", strconv.Itoa(e.Code))
	w.Header().Set("Content-Type", "text/plain; charset=UTF-8")
	if err := s.write(w, r, c, e.status(), []byte(e.text+"\n")); err != nil {
		s.config.Log.Debug("a client did not wait for its failure", "error", err.Error())
	}
}

// write sends a body with the headers that all answers have.
func (s *Server) write(w http.ResponseWriter, r *http.Request, c call, status int, data []byte) error {
	id := r.URL.Query().Get("query_id")
	if id == "" || len(id) > 256 || strings.ContainsFunc(id, func(c rune) bool { return c < ' ' || c > '~' }) {
		id = rand.Text()
	}
	header := w.Header()
	header.Set("X-ClickHouse-Query-Id", id)
	header.Set("X-ClickHouse-Server-Display-Name", "kiroku")
	if c.pack != "" && len(data) > 0 {
		packed, err := packBlocks(data, c.pack)
		if err != nil {
			return err
		}
		data = packed
	}
	var out io.Writer = w
	if encoding := encodingOf(r, c); encoding != "" && len(data) > 0 {
		header.Set("Content-Encoding", encoding)
		packer := packerFor(encoding, w)
		defer packer.Close() // the client sees a body that is cut off
		out = packer
	} else {
		header.Set("Content-Length", strconv.Itoa(len(data)))
	}
	w.WriteHeader(status)
	// Whoever does not wait for the end of an answer has no use for an error.
	_, _ = out.Write(data)
	return nil
}

// encodingOf is the encoding to send a body in, empty for none.
func encodingOf(r *http.Request, c call) string {
	if !c.httpCompress {
		return ""
	}
	accepted := r.Header.Get("Accept-Encoding")
	for _, known := range []string{"br", "gzip", "deflate"} {
		for one := range strings.SplitSeq(accepted, ",") {
			if strings.TrimSpace(one) == known {
				return known
			}
		}
	}
	return ""
}

func packerFor(encoding string, w io.Writer) io.WriteCloser {
	switch encoding {
	case "br":
		return brotli.NewWriterLevel(w, brotli.BestSpeed)
	case "gzip":
		return gzip.NewWriter(w)
	default:
		return zlib.NewWriter(w)
	}
}

// blockBytes is how much goes into one packed block.
const blockBytes = 1 << 20

var packMethods = map[string]compress.Method{"LZ4": compress.LZ4, "ZSTD": compress.ZSTD, "NONE": compress.None}

// packBlocks packs data in blocks of ClickHouse's own.
func packBlocks(data []byte, method string) ([]byte, error) {
	writer := compress.NewWriter(compress.LevelZero, packMethods[method])
	var packed []byte
	for len(data) > 0 {
		part := data[:min(len(data), blockBytes)]
		if err := writer.Compress(part); err != nil {
			return nil, fmt.Errorf("packing a result: %w", err)
		}
		packed = append(packed, writer.Data...)
		data = data[len(part):]
	}
	return packed, nil
}
