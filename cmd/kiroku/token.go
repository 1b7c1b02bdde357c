package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"kiroku/adapters/datadir"
	"kiroku/adapters/hsm"
	"kiroku/cmd/kiroku/internal/config"
)

// unfinished lies in the folder of a development token while it is being made.
const unfinished = "unfinished"

// firstToken makes the development token for a data directory that has never
// been used. Where there is a ledger already, a missing token is a loss that a
// new one would only hide.
func firstToken(ctx context.Context, settings config.Config, log *slog.Logger) error {
	d := dir(settings)
	if !settings.HSM.Development() || settings.Store.Connection != config.Embedded {
		return nil
	}
	if used, err := exists(d.Store()); err != nil || used {
		return err
	}
	left, half, err := tokenFiles(d)
	if err != nil || len(left) > 0 && !half {
		return err
	}
	log.Warn("new data directory: making a development token; use an HSM in production", "folder", d.HSM())
	_, err = makeDevelopmentToken(ctx, settings)
	return err
}

// makeDevelopmentToken makes what is missing of the data directory's own token.
// Where a process was killed while it made the token, and nothing can have been
// made with it yet, it begins anew: SoftHSM leaves half a key, which has its
// label and is good for nothing.
func makeDevelopmentToken(ctx context.Context, settings config.Config) (token hsm.Config, err error) {
	d := dir(settings)
	if err := d.Make(d.HSM()); err != nil {
		return token, err
	}
	lock, err := datadir.Hold(d.HSM())
	if err != nil {
		return token, fmt.Errorf("making a development token: %w", err)
	}
	defer func() { err = errors.Join(err, lock.Release()) }()
	marker := filepath.Join(d.HSM(), unfinished)
	if err := clearUnfinished(d, marker); err != nil {
		return token, fmt.Errorf("making a development token: %w", err)
	}
	if token, err = developmentToken(settings); err != nil {
		return token, err
	}
	if err := hsm.Init(ctx, token); err != nil {
		return token, err
	}
	if err := os.Remove(marker); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return token, fmt.Errorf("making a development token: %w", err)
	}
	return token, nil
}

// clearUnfinished marks the folder of a token that is not made yet, and empties
// that of one which was not finished, unless there is a store, and so perhaps a
// ledger.
func clearUnfinished(d datadir.Dir, marker string) error {
	left, half, err := tokenFiles(d)
	if err != nil {
		return err
	}
	if len(left) == 0 {
		return datadir.WritePrivate(marker, nil)
	}
	used, err := exists(d.Store())
	if err != nil || used || !half {
		return err
	}
	for _, name := range left {
		if err := os.RemoveAll(filepath.Join(d.HSM(), name)); err != nil {
			return err
		}
	}
	return nil
}

// tokenFiles are the files of the data directory's token, and whether it was
// not finished.
func tokenFiles(d datadir.Dir) (names []string, half bool, err error) {
	entries, err := os.ReadDir(d.HSM())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, false, err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == unfinished:
			half = true
		case name != datadir.LockFile && !strings.HasPrefix(name, "."): // that would be the marker, before it has its name
			names = append(names, name)
		}
	}
	return names, half, nil
}

func exists(path string) (bool, error) {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}
