package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"kiroku/adapters/datadir"
	"kiroku/domain/ledger"
)

// Backup is a finished backup in its folder.
type Backup struct {
	Manifest
	folder string
}

var segmentName = regexp.MustCompile(`^segment-[0-9]{6,}\.age$`)

// ours reports whether a file in the folder is left over from making a backup
// and no part of it.
func ours(name string) bool {
	return name == datadir.LockFile || strings.HasPrefix(name, ".") && strings.HasSuffix(name, ".part")
}

func readManifest(folder string) ([]byte, error) {
	file, err := os.Open(filepath.Join(folder, ManifestFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("%s holds no backup: there is no %s", folder, ManifestFile)
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxManifest+1))
	if err == nil && len(text) > maxManifest {
		err = damaged(ManifestFile, "it has more than %d bytes", maxManifest)
	}
	return text, err
}

// Open reads the manifest of a finished backup. Errors: ErrUnfinished,
// ErrDamaged.
func Open(folder string) (*Backup, error) {
	text, err := readManifest(folder)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	m, _, _, err := parseManifest(text)
	if err != nil {
		return nil, fmt.Errorf("opening the backup: %w", err)
	}
	if m.End == nil {
		return nil, fmt.Errorf("opening the backup in %s: %w", folder, ErrUnfinished)
	}
	return &Backup{m, folder}, nil
}

// Check compares every file with the manifest and returns what is wrong, file by
// file, each a *DamageError; where a segment was harmed, the identity tells where
// in it. The error is one of reading, or ErrIdentity.
func (b *Backup) Check(ctx context.Context, id Identity, done func(events int)) ([]error, error) {
	if err := id.opens(b.Plan.Recipients); err != nil {
		return nil, err
	}
	wrong, err := b.strangers()
	if err != nil {
		return nil, err
	}
	for _, s := range b.Segments {
		err := s.compare(ctx, b.folder)
		switch {
		case errors.Is(err, ErrDamaged):
			wrong = append(wrong, s.locate(ctx, b.folder, id, err))
		case err != nil:
			return wrong, err
		}
		tell(done, int(s.Next-s.First))
	}
	return wrong, nil
}

// locate opens a segment of which the hash is wrong, to tell where it was harmed.
func (s Segment) locate(ctx context.Context, folder string, id Identity, found error) error {
	err := s.read(ctx, folder, id, func(ledger.Event) error { return nil })
	var first, second *DamageError
	if errors.As(found, &first) && errors.As(err, &second) {
		return damaged(s.File(), "%s; %s", first.Detail, second.Detail)
	}
	return found
}

// strangers finds files in the folder that the manifest does not name.
func (b *Backup) strangers() ([]error, error) {
	entries, err := os.ReadDir(b.folder)
	if err != nil {
		return nil, fmt.Errorf("looking into the backup's folder: %w", err)
	}
	known := map[string]bool{ManifestFile: true}
	for _, s := range b.Segments {
		known[s.File()] = true
	}
	var wrong []error
	for _, e := range entries {
		if name := e.Name(); !known[name] && !ours(name) {
			what := "it is no part of a backup"
			if segmentName.MatchString(name) {
				what = "the manifest knows no such segment"
			}
			wrong = append(wrong, damaged(name, "%s", what))
		}
	}
	return wrong, nil
}

// Events yields every event, the registry first, stream after stream.
func (b *Backup) Events(ctx context.Context, id Identity) iter.Seq2[ledger.Event, error] {
	return b.StreamEvents(ctx, id, "")
}

// StreamEvents yields the events of one stream; "" is every one.
func (b *Backup) StreamEvents(ctx context.Context, id Identity, stream string) iter.Seq2[ledger.Event, error] {
	return func(yield func(ledger.Event, error) bool) {
		for _, s := range b.Segments {
			if stream != "" && s.Stream != stream {
				continue
			}
			err := s.read(ctx, b.folder, id, func(e ledger.Event) error {
				if !yield(e, nil) {
					return errCopied
				}
				return nil
			})
			if errors.Is(err, errCopied) {
				return
			}
			if err != nil {
				yield(ledger.Event{}, err)
				return
			}
		}
	}
}

// listed names some of many.
func listed(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
