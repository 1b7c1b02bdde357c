package inquiry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"strconv"

	"github.com/google/uuid"
)

// ErrNumber is wrapped by the errors of reading a number.
var ErrNumber = errors.New("invalid number")

// ProcessingNumber is a processing number (処理通番): it names one inquiry
// through its whole life. 16 bytes, a UUIDv5 (RFC 9562 §5.5) of the command
// that made the inquiry, so that the same command always gives the same number
// and numbers tell nothing of how many inquiries there were between two.
type ProcessingNumber [16]byte

// numberNamespace separates processing numbers from every other UUIDv5.
var numberNamespace = uuid.UUID{0x5b, 0x1d, 0x0b, 0x8e, 0x9c, 0x54, 0x4e, 0x0f, 0xa2, 0x6d, 0x71, 0x3e, 0xc0, 0x38, 0x5a, 0x97}

// NewProcessingNumber derives the number from a command's key, which has to be
// unique over all actors: two actors may choose the same UUID.
func NewProcessingNumber(command uuid.UUID) ProcessingNumber {
	return ProcessingNumber(uuid.NewSHA1(numberNamespace, command[:]))
}

// ProcessingNumberFromBytes takes 16 bytes, not all zero.
func ProcessingNumberFromBytes(b []byte) (ProcessingNumber, error) {
	var n ProcessingNumber
	if len(b) != len(n) {
		return n, fmt.Errorf("%w: processing number has %d bytes, it is 16", ErrNumber, len(b))
	}
	copy(n[:], b)
	if n.IsZero() {
		return n, fmt.Errorf("%w: processing number is all zero", ErrNumber)
	}
	return n, nil
}

// digits are Crockford's base 32: no I, L, O and U, so that a number can be
// read over a telephone.
const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// textLength is how many digits 128 bits need; the first is 0 to 7.
const textLength = 26

// String gives 26 digits of Crockford's base 32, upper case.
func (n ProcessingNumber) String() string {
	hi, lo := binary.BigEndian.Uint64(n[:8]), binary.BigEndian.Uint64(n[8:])
	var out [textLength]byte
	for i := textLength - 1; i >= 0; i-- {
		out[i] = digits[lo&31]
		lo = lo>>5 | hi<<59
		hi >>= 5
	}
	return string(out[:])
}

// ParseProcessingNumber reads what String gives. As Crockford's base 32 has
// it, lower case is the same, I and L are 1, O is 0.
func ParseProcessingNumber(s string) (ProcessingNumber, error) {
	var n ProcessingNumber
	if len(s) != textLength {
		return n, fmt.Errorf("%w: processing number has %d characters, it is %d", ErrNumber, len(s), textLength)
	}
	var hi, lo uint64
	for i := 0; i < len(s); i++ {
		d := decoding[s[i]]
		if d == noDigit || i == 0 && d > 7 {
			return n, fmt.Errorf("%w: character %d of the processing number cannot stand there", ErrNumber, i+1)
		}
		hi = hi<<5 | lo>>59
		lo = lo<<5 | uint64(d)
	}
	if hi|lo == 0 {
		return n, fmt.Errorf("%w: processing number is zero", ErrNumber)
	}
	binary.BigEndian.PutUint64(n[:8], hi)
	binary.BigEndian.PutUint64(n[8:], lo)
	return n, nil
}

const noDigit = 0xff

var decoding = func() (t [256]byte) {
	for i := range t {
		t[i] = noDigit
	}
	for v := range len(digits) {
		c := digits[v]
		t[c] = byte(v)
		if c >= 'A' {
			t[c+'a'-'A'] = byte(v)
		}
	}
	for _, c := range "IiLl" {
		t[c] = 1
	}
	t['O'], t['o'] = 0, 0
	return t
}()

// IsZero reports whether n is no number.
func (n ProcessingNumber) IsZero() bool { return n == ProcessingNumber{} }

// MarshalText is String.
func (n ProcessingNumber) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText is ParseProcessingNumber.
func (n *ProcessingNumber) UnmarshalText(b []byte) (err error) {
	*n, err = ParseProcessingNumber(string(b))
	return err
}

// Shard gives the record stream of the inquiry among shards streams, from 0,
// evenly. With less than one shard it is 0. The answer is fixed for ever: the
// shard count of a ledger never changes, and neither may this.
func (n ProcessingNumber) Shard(shards int) int {
	if shards < 1 {
		return 0
	}
	// The first eight bytes scaled to the range; the four version bits of a
	// UUID stand too low in them to unbalance any count that is in use.
	hi, _ := bits.Mul64(binary.BigEndian.Uint64(n[:8]), uint64(shards))
	return int(hi)
}

// BranchNumber is a branch number (枝番): a part or an amendment of one
// inquiry's record. The inquiry and its answer are branch 0, the first
// amendment is 1.
type BranchNumber uint16

// MaxBranch is the last branch number.
const MaxBranch BranchNumber = 999

// NewBranchNumber takes 0 to MaxBranch.
func NewBranchNumber(n int) (BranchNumber, error) {
	if n < 0 || n > int(MaxBranch) {
		return 0, fmt.Errorf("%w: branch number %d is not from 0 to %d", ErrNumber, n, MaxBranch)
	}
	return BranchNumber(n), nil
}

// Next gives the branch number of the next amendment.
func (b BranchNumber) Next() (BranchNumber, error) { return NewBranchNumber(int(b) + 1) }

// String gives three digits, such as 001.
func (b BranchNumber) String() string { return fmt.Sprintf("%03d", uint16(b)) }

// ParseBranchNumber reads one to three decimal digits.
func ParseBranchNumber(s string) (BranchNumber, error) {
	if len(s) == 0 || len(s) > 3 {
		return 0, fmt.Errorf("%w: branch number has %d digits, it has one to three", ErrNumber, len(s))
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%w: branch number is not decimal", ErrNumber)
	}
	return NewBranchNumber(int(n))
}
