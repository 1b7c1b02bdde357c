package embedded

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"
)

// library is libchdb.so, its functions by their C names without chdb_. All
// may be called from any thread; one connection serves one call at a time.
type library struct {
	connect  func(argc int32, argv **byte) unsafe.Pointer // to a connection, nil if it fails
	close    func(connection unsafe.Pointer)
	query    func(connection unsafe.Pointer, query *byte, length uint, format *byte, formatLength uint, names **byte, nameLengths *uint, values **byte, valueLengths *uint, count uint) unsafe.Pointer
	destroy  func(result unsafe.Pointer)
	failure  func(result unsafe.Pointer) *byte // nil if there is none
	buffer   func(result unsafe.Pointer) *byte
	length   func(result unsafe.Pointer) uint
	readRows func(result unsafe.Pointer) uint64
	readSize func(result unsafe.Pointer) uint64
	wrote    func(result unsafe.Pointer) uint64

	signals dispositions
}

var loaded struct {
	sync.Mutex // guards the rest
	path       string
	library    *library
}

// load loads the library, once in the life of a process: it cannot be
// unloaded, nor a second one be loaded beside it.
func load(path string) (*library, error) {
	loaded.Lock()
	defer loaded.Unlock()
	if loaded.library != nil && loaded.path == path {
		return loaded.library, nil
	}
	if loaded.library != nil {
		return nil, fmt.Errorf("loading %s: this process has loaded %s already", path, loaded.path)
	}
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("loading the ClickHouse engine: %w; remove the file and run ops/setup", err)
	}
	l := &library{}
	var keepSignals func(enabled int32)
	for name, function := range map[string]any{
		"chdb_connect": &l.connect, "chdb_close_conn": &l.close, "chdb_query_with_params_n": &l.query,
		"chdb_destroy_query_result": &l.destroy, "chdb_result_error": &l.failure,
		"chdb_result_buffer": &l.buffer, "chdb_result_length": &l.length,
		"chdb_result_rows_read": &l.readRows, "chdb_result_bytes_read": &l.readSize,
		"chdb_result_rows_written":         &l.wrote,
		"chdb_set_signal_handlers_enabled": &keepSignals,
	} {
		if _, err := purego.Dlsym(handle, name); err != nil {
			return nil, fmt.Errorf("loading the ClickHouse engine from %s: it is another version than %s: %w", path, Version, err)
		}
		purego.RegisterLibFunc(function, handle, name)
	}
	// Go's runtime turns faults into panics. The engine would take that over,
	// and sets the signals to their default when told not to.
	l.signals = currentSignals()
	keepSignals(0)
	l.signals.restore()
	loaded.path, loaded.library = path, l
	return l, nil
}

// connection is one connection of the engine: a session with its own settings
// and role.
type connection struct {
	library *library
	handle  unsafe.Pointer
}

// open makes a connection. The first starts the engine, and all must name the
// same path; closing the last one ends the engine.
func (l *library) open(arguments []string) (*connection, error) {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	argv := make([]*byte, len(arguments)+1)
	for i, argument := range arguments {
		text := append([]byte(argument), 0)
		argv[i] = &text[0]
		pinned.Pin(argv[i])
	}
	pinned.Pin(&argv[0])
	handle := l.connect(int32(len(arguments)), &argv[0])
	l.signals.restore()
	if handle == nil {
		return nil, fmt.Errorf("the engine refuses to start: is another process using its folder?")
	}
	return &connection{l, handle}, nil
}

func (c *connection) close() { c.library.close(c.handle) }

// result is what a query left. Its data lies in the engine's memory until it
// is released.
type result struct {
	library *library
	handle  unsafe.Pointer

	data      []byte
	readRows  uint64
	readBytes uint64
	written   uint64 // rows
	columns   []byte // where data is empty, see columnsOf
}

func (r *result) release() {
	if r.handle != nil {
		r.library.destroy(r.handle)
		r.handle, r.data = nil, nil
	}
}

// query runs one statement to its end. The values of the parameters are text
// as in a tab separated file, escapes included. It fails with an *Exception.
func (c *connection) query(text, format string, parameters map[string]string) (*result, error) {
	var pinned runtime.Pinner
	defer pinned.Unpin()
	names, nameLengths := make([]*byte, 0, len(parameters)+1), make([]uint, 0, len(parameters)+1)
	values, valueLengths := make([]*byte, 0, len(parameters)+1), make([]uint, 0, len(parameters)+1)
	for name, value := range parameters {
		names, nameLengths = append(names, bytesOf(&pinned, name)), append(nameLengths, uint(len(name)))
		values, valueLengths = append(values, bytesOf(&pinned, value)), append(valueLengths, uint(len(value)))
	}
	// One more, so that there is a first even where there are none.
	names, nameLengths = append(names, nil), append(nameLengths, 0)
	values, valueLengths = append(values, nil), append(valueLengths, 0)
	for _, array := range []any{&names[0], &nameLengths[0], &values[0], &valueLengths[0]} {
		pinned.Pin(array)
	}
	inner := *(*unsafe.Pointer)(c.handle)
	handle := c.library.query(inner, bytesOf(&pinned, text), uint(len(text)), bytesOf(&pinned, format), uint(len(format)),
		&names[0], &nameLengths[0], &values[0], &valueLengths[0], uint(len(parameters)))
	if handle == nil {
		return nil, exception(codeUnknown, "the engine gave no result")
	}
	r := &result{library: c.library, handle: handle}
	if failure := c.library.failure(handle); failure != nil {
		defer r.release()
		return nil, parseException(text0(failure))
	}
	if length := c.library.length(handle); length > 0 {
		r.data = unsafe.Slice(c.library.buffer(handle), length)
	}
	r.readRows, r.readBytes, r.written = c.library.readRows(handle), c.library.readSize(handle), c.library.wrote(handle)
	return r, nil
}

// do runs a statement that has no result.
func (c *connection) do(text string) error {
	r, err := c.query(text, "Null", nil)
	if err != nil {
		return err
	}
	r.release()
	return nil
}

// bytesOf is the bytes of a text for C, never nil.
func bytesOf(pinned *runtime.Pinner, text string) *byte {
	copied := append([]byte(text), 0)
	pinned.Pin(&copied[0])
	return &copied[0]
}

// text0 copies a text of C, which ends at its first zero byte.
func text0(start *byte) string {
	var text strings.Builder
	for at := unsafe.Pointer(start); *(*byte)(at) != 0; at = unsafe.Add(at, 1) {
		text.WriteByte(*(*byte)(at))
	}
	return text.String()
}
