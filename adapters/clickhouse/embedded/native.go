package embedded

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"

	chproto "github.com/ClickHouse/ch-go/proto"
	"github.com/ClickHouse/clickhouse-go/v2/lib/column"
	"github.com/ClickHouse/clickhouse-go/v2/lib/proto"
)

// nativeFormat is the format in which clickhouse-go reads results.
const nativeFormat = "Native"

// recode writes a result in Native format anew as a client of that protocol
// revision reads it: the engine writes it only as it stands in files, which is
// revision 0.
func recode(data []byte, revision uint64) ([]byte, error) {
	reader := chproto.NewReader(bytes.NewReader(data))
	out := &chproto.Buffer{Buf: make([]byte, 0, len(data)+len(data)/8+64)}
	for {
		block := proto.Block{ServerContext: &column.ServerContext{}}
		err := block.Decode(reader, 0)
		if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && len(block.Columns) == 0 {
			return out.Buf, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading the engine's result: %w", err)
		}
		if err := encode(out, &block, revision); err != nil {
			return nil, fmt.Errorf("writing the result: %w", err)
		}
	}
}

// header is a result without rows, of columns as columnsOf tells them.
func header(columns []byte, revision uint64) ([]byte, error) {
	described := proto.Block{ServerContext: &column.ServerContext{}}
	if err := described.Decode(chproto.NewReader(bytes.NewReader(columns)), 0); err != nil {
		return nil, fmt.Errorf("reading the columns of a result: %w", err)
	}
	block := proto.Block{ServerContext: &column.ServerContext{}}
	for i := range described.Rows() {
		name, _ := described.Columns[0].Row(i, false).(string)
		of, _ := described.Columns[1].Row(i, false).(string)
		if err := block.AddColumn(name, column.Type(of)); err != nil {
			return nil, fmt.Errorf("writing the columns of a result: %w", err)
		}
	}
	out := &chproto.Buffer{}
	if err := encode(out, &block, revision); err != nil {
		return nil, fmt.Errorf("writing the columns of a result: %w", err)
	}
	return out.Buf, nil
}

// unwritten are the types of which clickhouse-go writes the name and no values: what follows would be read as something
// else, or the result taken for an empty one.
var unwritten = regexp.MustCompile(`Nullable\(Nothing\)|\bInterval(Nano|Micro|Milli|Second|Minute|Hour|Day|Week|Month|Quarter|Year)`)

// encode writes one block. A block without rows is its columns' names and
// types only, which the client's own encoding does not keep to.
func encode(out *chproto.Buffer, block *proto.Block, revision uint64) error {
	if block.Rows() > 0 {
		for i, c := range block.Columns {
			if unwritten.MatchString(string(c.Type())) {
				return fmt.Errorf("%s has the type %s; convert it, as in toString(…)", block.ColumnsNames()[i], c.Type())
			}
		}
		return block.Encode(out, revision)
	}
	if err := block.EncodeHeader(out, revision); err != nil {
		return err
	}
	for i, c := range block.Columns {
		out.PutString(block.ColumnsNames()[i])
		out.PutString(string(c.Type()))
		if revision >= proto.DBMS_MIN_REVISION_WITH_CUSTOM_SERIALIZATION {
			out.PutBool(false)
		}
	}
	return nil
}
