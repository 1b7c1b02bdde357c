package embedded

import (
	"compress/gzip"
	"compress/zlib"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/andybalholm/brotli"
)

// longestStatement bounds the text of a statement of the writer, in bytes; an
// insert's data in the body of its own request does not count.
const longestStatement = 16 << 20

// body is the request's body, unpacked.
func body(r *http.Request, unpack bool) (io.Reader, error) {
	var plain io.Reader = r.Body
	var err error
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		plain, err = gzip.NewReader(r.Body)
	case "deflate":
		plain, err = zlib.NewReader(r.Body)
	case "br":
		plain = brotli.NewReader(r.Body)
	default:
		return nil, exception(codeNotImplemented, "Content-Encoding %q", encoding)
	}
	if errors.Is(err, io.EOF) {
		return strings.NewReader(""), nil // no body at all
	}
	if err != nil {
		return nil, exception(codeBadArguments, "the body is not packed as its header says")
	}
	if unpack {
		plain = unpacked{compress.NewReader(plain)}
	}
	return plain, nil
}

// unpacked ends as a reader should: the one it wraps tells the end between two
// blocks by an error of its own around io.EOF.
type unpacked struct{ blocks *compress.Reader }

func (u unpacked) Read(p []byte) (int, error) {
	n, err := u.blocks.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// spool holds the data of one insert in a file without a name: it is gone when
// it is closed, or this process ends, however it ends. The engine reads it by
// the name that the system gives to this process's open files.
type spool struct {
	file *os.File
	size int64
}

func (s *spool) path() string { return fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()) }
func (s *spool) close()       { s.file.Close() }

// bodyName is the pattern of names that such files bear for an instant.
const bodyName = "insert-*"

// keep writes data below dir, at most limit bytes.
func keep(dir string, data io.Reader, limit int64) (*spool, error) {
	file, err := os.CreateTemp(filepath.Join(dir, insertFolder), bodyName)
	if err != nil {
		return nil, fmt.Errorf("keeping the data of an insert: %w", err)
	}
	s := &spool{file: file}
	if err := os.Remove(file.Name()); err != nil {
		s.close()
		return nil, fmt.Errorf("keeping the data of an insert: %w", err)
	}
	s.size, err = io.Copy(file, io.LimitReader(data, limit+1))
	if _, unwritten := errors.AsType[*os.PathError](err); unwritten {
		s.close()
		return nil, fmt.Errorf("keeping the data of an insert: %w", err)
	}
	if err != nil {
		s.close()
		return nil, exception(codeBadArguments, "the body cannot be read to its end")
	}
	if s.size > limit {
		s.close()
		return nil, exception(codeQueryIsTooLarge, "the data of the insert has more than %d bytes; insert it in parts", limit)
	}
	return s, nil
}

// clearBodies removes files that were left in the instant between their
// making and the removal of their name.
func clearBodies(folder string) error {
	left, err := filepath.Glob(filepath.Join(folder, bodyName))
	if err != nil {
		return fmt.Errorf("looking for data of inserts that were cut short: %w", err)
	}
	for _, path := range left {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("removing data of an insert that was cut short: %w", err)
		}
	}
	return nil
}

// insertFrom makes an INSERT whose data is elsewhere into one that reads it
// from a file: INSERT INTO t (a, b) [SETTINGS …] FORMAT Native. ok is false
// for a statement that is not such an INSERT.
func insertFrom(statement, path string) (anew string, ok bool) {
	all := tokens(statement)
	if !tokenOf(all, 0).is("INSERT") {
		return "", false
	}
	for i, t := range all {
		if i == 0 || t.depth > 0 {
			continue
		}
		next := tokenOf(all, i+1)
		switch {
		case t.is("SELECT") || t.is("WITH") || t.is("INFILE") || t.is("WATCH"):
			return "", false
		case t.is("VALUES") && (i == len(all)-1 || next.sign(";")):
			return statement[:t.start] + fromFile(path) + "FORMAT Values", true
		case t.is("FORMAT") && next.kind == word && (len(all) == i+2 || tokenOf(all, i+2).sign(";")):
			return statement[:t.start] + fromFile(path) + "FORMAT " + next.value, true
		case t.is("SETTINGS"):
			return insertSettings(statement, path, all[i:])
		}
	}
	return "", false
}

// insertSettings is insertFrom where a clause SETTINGS comes first: the file
// has to stand before it.
func insertSettings(statement, path string, rest []token) (string, bool) {
	last := len(rest) - 1
	if last > 0 && rest[last].sign(";") {
		last--
	}
	settings := rest[0].start
	switch {
	case rest[last].is("VALUES"):
		return statement[:settings] + fromFile(path) + statement[settings:rest[last].start] + "FORMAT Values", true
	case last > 0 && rest[last-1].is("FORMAT") && rest[last].kind == word:
		return statement[:settings] + fromFile(path) + statement[settings:rest[last-1].start] + "FORMAT " + rest[last].value, true
	}
	return "", false
}

func fromFile(path string) string { return "FROM INFILE " + quoteText(path) + " COMPRESSION 'none' " }
