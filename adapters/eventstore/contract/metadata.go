package contract

import (
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"
)

func testMetadata(t *testing.T, n *node) {
	for _, c := range []struct {
		name     string
		document string
		want     []uint64 // visible of five events
	}{
		{"truncate before", `{"$tb":2}`, []uint64{2, 3, 4}},
		{"truncate before beyond the last", `{"$tb":9}`, nil},
		{"count", `{"$maxCount":2}`, []uint64{3, 4}},
		{"count and truncation", `{"$maxCount":4,"$tb":3}`, []uint64{3, 4}},
		{"a long age", `{"$maxAge":100000}`, []uint64{0, 1, 2, 3, 4}},
		{"unknown keys", `{"mine":[1,{}],"$tb":4}`, []uint64{4}},
		{"values that mean nothing", `{"$tb":-1,"$maxCount":0,"$maxAge":0}`, []uint64{0, 1, 2, 3, 4}},
		{"a float voids it", `{"$tb":2.0,"$maxCount":1}`, []uint64{0, 1, 2, 3, 4}},
		{"a string voids it", `{"$tb":"2","$maxCount":1}`, []uint64{0, 1, 2, 3, 4}},
		{"too large voids it", `{"$tb":9223372036854775808,"$maxCount":1}`, []uint64{0, 1, 2, 3, 4}},
		{"an access list that is a string voids it", `{"$maxCount":1,"$acl":"$userStreamAcl"}`, []uint64{0, 1, 2, 3, 4}},
		{"an access list leaves limits", `{"$maxCount":1,"$acl":{"$r":["$all","x"],"$w":"$all"}}`, []uint64{4}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := fresh("meta")
			n.mustAppend(t, s, none, events(5)...)
			n.writeMetadata(t, s, c.document)
			n.expectRevisions(t, s, c.want...)
			es, err := n.read(t, s, esdb.ReadStreamOptions{Direction: esdb.Backwards, From: esdb.End{}}, noLimit)
			if err != nil || len(es) != len(c.want) {
				t.Errorf("backwards %v (%v)", revisions(es), err)
			}
		})
	}
	t.Run("the last document counts", func(t *testing.T) {
		s := fresh("meta")
		n.mustAppend(t, s, none, events(3)...)
		n.writeMetadata(t, s, `{"$tb":2}`)
		n.writeMetadata(t, s, `{"x":1}`)
		n.expectRevisions(t, s, 0, 1, 2)
		n.expectRevisions(t, "$$"+s, 1)
	})
	t.Run("count is of what is left in the page", func(t *testing.T) {
		s := fresh("meta")
		n.mustAppend(t, s, none, events(9)...)
		n.writeMetadata(t, s, `{"$tb":5}`)
		es, err := n.read(t, s, esdb.ReadStreamOptions{}, 2)
		if err != nil || len(es) != 2 || es[0].Event.EventNumber != 5 {
			t.Errorf("%v %v", revisions(es), err)
		}
	})
	t.Run("through the client's own calls", func(t *testing.T) {
		s := fresh("meta")
		m := esdb.StreamMetadata{}
		m.SetTruncateBefore(3)
		m.SetMaxCount(7)
		m.AddCustomProperty("mine", "yes")
		if _, err := n.SetStreamMetadata(t.Context(), s, esdb.AppendToStreamOptions{ExpectedRevision: none}, m); err != nil {
			t.Fatal(err)
		}
		got, err := n.GetStreamMetadata(t.Context(), s, esdb.ReadStreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *got.TruncateBefore() != 3 || *got.MaxCount() != 7 {
			t.Errorf("%+v", got)
		}
		if _, err := n.GetStreamMetadata(t.Context(), fresh("meta"), esdb.ReadStreamOptions{}); code(err) != esdb.ErrorCodeResourceNotFound {
			t.Errorf("metadata of a stream without any: %v", err)
		}
	})
	t.Run("nothing may be written to $all", func(t *testing.T) {
		if _, err := n.AppendToStream(t.Context(), "$all", esdb.AppendToStreamOptions{}, events(1)...); err == nil {
			t.Error("written")
		}
	})
	t.Run("a metadata stream cannot be deleted", func(t *testing.T) {
		s := fresh("meta")
		n.writeMetadata(t, s, `{}`)
		if _, err := n.delete(t, "$$"+s, anyRev); err == nil {
			t.Error("deleted")
		}
	})
}
