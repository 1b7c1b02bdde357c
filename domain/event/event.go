// Package event names every fact that the ledger can hold: the stream it
// belongs to, its type, its payload and the key class that protects it.
// It promises that a payload has exactly one encoding (deterministic CBOR,
// RFC 8949 §4.2.1) and that a payload which does not decode is refused.
// Commands make these facts; projections read them.
package event

import (
	"errors"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"kiroku/domain/ledger"
)

// The streams of the ledger. All are long-lived.
const (
	StreamRegistry = ledger.RegistryStream // agencies, rules, keys' public parts, anchors; signed plaintext, names no person
	StreamIssuance = "issuance"            // 連携用符号発行管理ファイル, the issuance register; class subject
	StreamVault    = "vault"               // the wrapped keys of class subject
	StreamAudit    = "audit"               // disclosures and extractions; class record
)

// recordPrefix begins the name of every stream of provision records.
const recordPrefix = "record-"

// MaxRecordShards bounds the number of record streams.
const MaxRecordShards = 64

// RecordStream returns the name of the record stream of a shard, 0 ≤ shard < MaxRecordShards.
func RecordStream(shard int) string { return fmt.Sprintf("%s%02d", recordPrefix, shard) }

// IsRecordStream reports whether a stream holds provision records (情報提供等記録).
func IsRecordStream(stream string) bool { return strings.HasPrefix(stream, recordPrefix) }

// RecordStreams returns the names of all record streams of a ledger with the given number of shards.
func RecordStreams(shards int) []string {
	out := make([]string, shards)
	for i := range out {
		out[i] = RecordStream(i)
	}
	return out
}

// Streams returns every stream of a ledger, registry first.
func Streams(shards int) []string {
	return append([]string{StreamRegistry, StreamVault, StreamIssuance, StreamAudit}, RecordStreams(shards)...)
}

// Class says which kind of key protects a payload.
type Class int

const (
	ClassPlain   Class = iota // signed plaintext, readable with public keys alone
	ClassSubject              // one data key per person
	ClassRecord               // one data key per stream and Japanese calendar day
)

// The types of event.
const (
	TypeEpochStarted = ledger.TypeEpochStarted // in every stream: a writer took over
	TypeDayOpened    = ledger.TypeDayOpened    // in streams of class record: the data key of a day was made; payload ledger.DayOpened

	TypeLedgerOpened        = "ledger-opened"
	TypeSigningKeyPublished = "signing-key-published"
	TypeAgencyRegistered    = "agency-registered"
	TypeAgencyStatusChanged = "agency-status-changed"
	TypeScopeRulesPublished = "scope-rules-published"
	TypePIAViolation        = "pia-violation-recorded"
	TypeAnchor              = ledger.TypeAnchor // payload ledger.Anchor

	TypeVaultOpened       = "vault-opened"
	TypeBucketKeysStored  = "bucket-keys-stored"
	TypeSubjectKeysStored = "subject-keys-stored"
	TypeVaultCompleted    = "vault-completed"

	TypeSymbolIssued              = "symbol-issued"
	TypeSymbolAlreadyAcquired     = "symbol-already-acquired"
	TypeResidentCodeChanged       = "resident-code-changed"
	TypeResidentCodeChangeRefused = "resident-code-change-refused"

	TypeInquiryNotified   = "inquiry-notified"
	TypeInquiryRefused    = "inquiry-refused"
	TypeProvisionReported = "provision-reported"
	TypeInquiryLapsed     = "inquiry-lapsed"

	TypeRecordsDisclosed  = "records-disclosed"
	TypeOperationRecorded = "operation-recorded"
)

// ClassOf returns the class of the payload of a type of event. A type that this
// version does not know is plain: nothing is ever opened by guess.
func ClassOf(eventType string) Class {
	switch eventType {
	case TypeSymbolIssued, TypeSymbolAlreadyAcquired, TypeResidentCodeChanged, TypeResidentCodeChangeRefused, TypeDeletionRequested:
		return ClassSubject
	case TypeInquiryNotified, TypeInquiryRefused, TypeProvisionReported, TypeInquiryLapsed, TypeRecordsDisclosed, TypeOperationRecorded:
		return ClassRecord
	}
	return ClassPlain
}

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed payload")

var (
	encoding = must(cbor.CoreDetEncOptions().EncMode())
	decoding = must(cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive, // another spelling is another member
		MaxArrayElements:  1 << 17,
	}.DecMode())
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err) // constant options: reached by no input
	}
	return v
}

// simpleValue is the major type of null, undefined, booleans and floats (RFC 8949 §3.1).
const simpleValue = 7

// Encode returns the one encoding of a payload.
func Encode(payload any) ([]byte, error) {
	b, err := encoding.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", payload, err)
	}
	return b, nil
}

// Decode reads a payload of a known type. It refuses unknown members, duplicate
// members, null in place of a payload and trailing bytes with ErrMalformed; the
// error never quotes the payload. A member that is missing is zero. It does not insist on the
// one encoding: which bytes were stored is held by the event's digest.
func Decode[T any](data []byte) (T, error) {
	var v T
	err := DecodeTo(data, &v)
	return v, err
}

// DecodeTo is Decode into a payload whose place is there already, which spares copying it. After an error it is zero.
// It shares no memory with data.
func DecodeTo[T any](data []byte, v *T) error {
	var zero T
	*v = zero
	if recognise(data, v) {
		return nil
	}
	*v = zero
	if len(data) > 0 && data[0]>>5 == simpleValue {
		return fmt.Errorf("decode %T: %w", zero, ErrMalformed)
	}
	if err := decoding.Unmarshal(data, v); err != nil {
		*v = zero
		return fmt.Errorf("decode %T: %w", zero, ErrMalformed)
	}
	return nil
}
