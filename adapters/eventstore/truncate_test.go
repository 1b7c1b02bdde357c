package eventstore_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/EventStore/EventStore-Client-Go/v4/esdb"

	"kiroku/adapters/eventstore"
	"kiroku/adapters/eventstore/embedded/embeddedtest"
)

func TestTruncationHidesTheBeginning(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store := open(t, connection, nil)
	mustAppend(t, store, events("s", 0, 20, "a"))
	if mark, err := store.TruncateBefore(t.Context(), "s"); err != nil || mark != 0 {
		t.Fatal(mark, err)
	}
	for _, step := range []struct{ set, want uint64 }{{5, 5}, {12, 12}, {7, 12}, {19, 19}} {
		if err := store.SetTruncateBefore(t.Context(), "s", step.set); err != nil {
			t.Fatal(err)
		}
		if mark, err := store.TruncateBefore(t.Context(), "s"); err != nil || mark != step.want {
			t.Fatalf("after setting %d: got %d, %v, want %d", step.set, mark, err, step.want)
		}
	}
	if err := store.SetTruncateBefore(t.Context(), "s", 20); !errors.Is(err, eventstore.ErrInvalid) {
		t.Fatalf("hiding the last event: got %v, want ErrInvalid", err)
	}
	if err := store.SetTruncateBefore(t.Context(), "none", 1); !errors.Is(err, eventstore.ErrInvalid) {
		t.Fatalf("a stream that does not exist: got %v, want ErrInvalid", err)
	}
	same(t, readAll(t, store, "s"), events("s", 19, 1, "a"))
	same(t, subscribe(t, store, "s", 0).waitFor(t, 1), events("s", 19, 1, "a"))
}

func TestTruncationKeepsTheOtherSettings(t *testing.T) {
	connection, _ := embeddedtest.Start(t)
	store, client := open(t, connection, nil), bare(t, connection)
	set := func(document string) {
		t.Helper()
		_, err := client.AppendToStream(t.Context(), "$$s", esdb.AppendToStreamOptions{},
			esdb.EventData{EventType: "$metadata", ContentType: esdb.ContentTypeJson, Data: []byte(document)})
		if err != nil {
			t.Fatal(err)
		}
	}
	mustAppend(t, store, events("s", 0, 20, "a"))
	set(`{"$tb":3,"$maxCount":18446744073709551,"$acl":{"$r":["admin","$admins"]},"note":{"large":12345678901234567890}}`)
	if err := store.SetTruncateBefore(t.Context(), "s", 9); err != nil {
		t.Fatal(err)
	}
	last, _, err := store.ReadLast(t.Context(), "$$s")
	if err != nil {
		t.Fatal(err)
	}
	var document map[string]json.RawMessage
	if err := json.Unmarshal(last.Data, &document); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"$tb":       `9`,
		"$maxCount": `18446744073709551`,
		"$acl":      `{"$r":["admin","$admins"]}`,
		"note":      `{"large":12345678901234567890}`,
	} {
		if got := string(document[key]); got != want {
			t.Errorf("%s is %s, want %s", key, got, want)
		}
	}
	same(t, readAll(t, store, "s"), events("s", 9, 11, "a"))

	for _, void := range []string{`{"$tb":2.0}`, `{"$tb":"2"}`, `[]`, `{`} {
		set(void)
		if _, err := store.TruncateBefore(t.Context(), "s"); !errors.Is(err, eventstore.ErrUnexpectedAnswer) {
			t.Errorf("metadata %s: got %v, want that it is void", void, err)
		}
	}
	set(`{"$tb":9223372036854775807}`) // a deleted stream
	if mark, err := store.TruncateBefore(t.Context(), "s"); err != nil || mark != 1<<63-1 {
		t.Errorf("the mark of a deleted stream is %d, %v", mark, err)
	}
}
