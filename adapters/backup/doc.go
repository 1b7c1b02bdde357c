// Package backup copies a ledger into a folder that only chosen recipients can
// read, and from such a folder into an empty event store.
//
// What it promises to operators and auditors:
//
//   - A backup is the ledger as one anchor names it: every stream up to exactly
//     its heads, while the core goes on writing. It holds what the event store
//     holds and nothing else: no key of the HSM, no PIN, no credential, no view.
//   - Every event lies in a segment, an age file (age-encryption.org/v1) of the
//     lines that kiroku dump writes. Nothing is on the disk in clear, not even for
//     a moment, but the manifest, which names streams, counts and hashes.
//   - What was damaged, lost, exchanged or added is found before anything is
//     restored, and named by its file.
//   - Making and restoring can be interrupted anywhere and continued.
//
// The folder holds manifest.jsonl and segment-000001.age and so on. Each line of
// the manifest is a JSON object that ends in "chain", SHA-256 over the chain of
// the line before (32 zero octets before the first) and the line without that
// member; the last line's chain names the backup as a whole. The first line is
// the plan, the last one the end, each between describes a segment.
package backup

import (
	"errors"
	"fmt"
)

// What can be wrong with a backup.
var (
	// ErrDamaged is wrapped by every *DamageError.
	ErrDamaged = errors.New("the backup is not as it was made")
	// ErrUnfinished: its making was interrupted. The same create continues it.
	ErrUnfinished = errors.New("the backup is not finished; continue it with the same kiroku backup create")
	// ErrFinished: there is nothing to continue.
	ErrFinished = errors.New("the folder holds a finished backup; give another folder")
	// ErrRecipients: a backup is continued for the recipients it was begun for.
	ErrRecipients = errors.New("the backup was begun for other recipients; give the same ones, or another folder")
	// ErrIdentity: the identity opens none of it.
	ErrIdentity = errors.New("the identity is of none of the backup's recipients")
	// ErrTruncatedMeanwhile: events that the backup was to hold have been
	// destroyed since it was begun, as the law demands.
	ErrTruncatedMeanwhile = errors.New("the stream was truncated since the backup was begun; make a new backup in another folder")
	// ErrOtherLedger: a store, or a folder, holds something else.
	ErrOtherLedger = errors.New("not the ledger of this backup")
	// ErrNotEmpty: the store holds events of a ledger.
	ErrNotEmpty = errors.New("the event store is not empty; restore into an empty one only")
)

// DamageError says which file of a backup is not as it was made, and where.
type DamageError struct {
	File   string // name in the backup's folder
	Detail string
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s: %s", e.File, e.Detail) }

// Is makes a DamageError an ErrDamaged.
func (e *DamageError) Is(target error) bool { return target == ErrDamaged }

func damaged(file, format string, args ...any) error {
	return &DamageError{File: file, Detail: fmt.Sprintf(format, args...)}
}
