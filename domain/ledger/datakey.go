package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// CommitmentSize is the length of a data key's commitment in bytes (128 bits).
const CommitmentSize = 16

const (
	dataKeyContext    = "data"
	commitmentContext = "kiroku/commit/1"
	keyIDPrefix       = "record/"
	dayLayout         = time.DateOnly
)

// ErrDay is wrapped by errors about a day or a data key id that is not in the
// one form the format allows.
var ErrDay = errors.New("invalid day or data key id")

func checkDay(day string) error {
	t, err := time.Parse(dayLayout, day)
	if err != nil || t.Format(dayLayout) != day {
		return fmt.Errorf("day %q, expected YYYY-MM-DD: %w", day, ErrDay)
	}
	return nil
}

// DataKeyInput is the message whose HMAC-SHA256 under the day's HSM key is the
// stream's data key for that day: "data", the stream and the day each behind
// its length (two bytes, big-endian), then the salt of the day-opened event.
// day is a Japanese calendar day, YYYY-MM-DD.
func DataKeyInput(stream, day string, salt [32]byte) ([]byte, error) {
	if err := checkStream(stream); err != nil {
		return nil, err
	}
	if err := checkDay(day); err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(dataKeyContext)+2+len(stream)+2+len(day)+len(salt))
	b = append(b, dataKeyContext...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(stream))), stream...)
	b = append(binary.BigEndian.AppendUint16(b, uint16(len(day))), day...)
	return append(b, salt[:]...), nil
}

// Commitment is the first 16 bytes of SHA-256("kiroku/commit/1" ‖ key). It
// stands beside the salt, so that a key answered by the wrong HSM key is
// noticed before it seals anything.
func Commitment(key []byte) [CommitmentSize]byte {
	h := sha256.New()
	h.Write([]byte(commitmentContext))
	h.Write(key)
	return [CommitmentSize]byte(h.Sum(nil))
}

// DataKeyID names a data key in headers: record/DAY/STREAM/REVISION, where
// revision is that of the stream's day-opened event.
func DataKeyID(day, stream string, revision uint64) string {
	return keyIDPrefix + day + "/" + stream + "/" + strconv.FormatUint(revision, 10)
}

// ParseDataKeyID undoes [DataKeyID]; every other text is refused with an error
// that wraps [ErrDay] or [ErrName].
func ParseDataKeyID(id string) (day, stream string, revision uint64, err error) {
	parts := strings.Split(id, "/")
	if len(parts) != 4 || !strings.HasPrefix(id, keyIDPrefix) {
		return "", "", 0, fmt.Errorf("data key id %q: %w", id, ErrDay)
	}
	day, stream = parts[1], parts[2]
	revision, err = strconv.ParseUint(parts[3], 10, 53)
	if err != nil || DataKeyID(day, stream, revision) != id {
		return "", "", 0, fmt.Errorf("data key id %q: %w", id, ErrDay)
	}
	if err := checkDay(day); err != nil {
		return "", "", 0, err
	}
	return day, stream, revision, checkStream(stream)
}

// DayOfDataKey returns the day in a data key id, and false if the id is of another class. It looks no further than the
// day: what a header says was checked when it was read.
func DayOfDataKey(id string) (day string, ok bool) {
	rest, ok := strings.CutPrefix(id, keyIDPrefix)
	if !ok || len(rest) <= len(dayLayout) || rest[len(dayLayout)] != '/' {
		return "", false
	}
	return rest[:len(dayLayout)], true
}

// DayOpened is the payload of a [TypeDayOpened] event, signed plaintext: what
// turns the day's HSM key into this stream's data key of the day.
type DayOpened struct {
	Day        string // Japanese calendar day, YYYY-MM-DD
	Salt       [32]byte
	Commitment [CommitmentSize]byte
}

// Keys of the day-opened map.
const (
	dayOpenedDay = iota + 1
	dayOpenedSalt
	dayOpenedCommitment
)

// Encode writes the payload, deterministic CBOR.
func (d DayOpened) Encode() ([]byte, error) {
	if err := checkDay(d.Day); err != nil {
		return nil, err
	}
	b := []byte{majorMap | 3}
	b = appendText(append(b, dayOpenedDay), d.Day)
	b = appendBytes(append(b, dayOpenedSalt), d.Salt[:])
	return appendBytes(append(b, dayOpenedCommitment), d.Commitment[:]), nil
}

// DecodeDayOpened reads what Encode writes and refuses all else with an error
// that wraps [ErrRecord] or [ErrDay].
func DecodeDayOpened(payload []byte) (DayOpened, error) {
	var d DayOpened
	c := cursor{rest: payload}
	c.expectLength(majorMap, 3, "day-opened payload")
	c.expectUint(dayOpenedDay, "field")
	d.Day = c.text()
	c.expectUint(dayOpenedSalt, "field")
	copy(d.Salt[:], c.fixed(len(d.Salt), "salt"))
	c.expectUint(dayOpenedCommitment, "field")
	copy(d.Commitment[:], c.fixed(len(d.Commitment), "commitment"))
	if err := c.end(); err != nil {
		return DayOpened{}, fmt.Errorf("day-opened payload: %w: %w", ErrRecord, err)
	}
	return d, checkDay(d.Day)
}
