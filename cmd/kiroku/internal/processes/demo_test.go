package processes

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// demonstration is a small one.
func demonstration(seed string) []string {
	return []string{"demo", "--people", "60", "--inquiries", "150", "--agencies", "4", "--seed", seed, "--set", "hsm.juki_bits=2048"}
}

// withoutStatistics spares an engine that is not what the test is about.
var withoutStatistics = []string{"--set", "statistics.connection=off"}

// demoWorks runs the demonstration on a data directory to its end.
func demoWorks(t *testing.T, data string, more ...string) {
	t.Helper()
	out := kiroku(t, append(append(demonstration("2"), "--data", data, "--json"), more...)...).must(t).out
	var report struct{ Inquiries, Events, VerifiedEvents int }
	if err := json.Unmarshal([]byte(out), &report); err != nil || report.Inquiries != 150 {
		t.Errorf("%v\n%s", err, out)
	}
	kiroku(t, "verify", "--data", data).must(t)
}

// The demonstration is told to stop, or killed, at all sorts of moments from the very first start on; run again on
// the same data directory it works.
func TestTheDemonstrationIsInterrupted(t *testing.T) {
	t.Parallel()
	moments := []time.Duration{30, 150, 300, 700, 1300} // milliseconds
	for name, s := range map[string]syscall.Signal{"interrupted": syscall.SIGINT, "killed": syscall.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			for _, after := range moments {
				before := files(t, data)
				p := start(t, data, demonstration("1")...)
				time.Sleep(after * time.Millisecond)
				p.signal(s)
				code := p.ended()
				said := p.said.String()
				t.Logf("after %d ms: exit status %d: %s", after, code, lastLines(said, 1))
				if s == syscall.SIGINT && code == -1 && said == "" { // before it could listen: the signal itself ended it
					if now := files(t, data); !maps.Equal(before, now) {
						t.Errorf("after %d ms: ended by the signal without a word, and files were made or changed", after)
					}
					continue
				}
				if s == syscall.SIGINT && (code != 2 || !strings.Contains(said, "kiroku: ") || strings.Contains(said, "goroutine ")) && code != 0 {
					t.Errorf("after %d ms: exit status %d\n%s", after, code, said)
				}
			}
			demoWorks(t, data)
		})
	}
}

// files maps every file below a folder, which need not be there, to when it changed.
func files(t *testing.T, folder string) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			all[path] = info.ModTime()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return all
}

// Stopped while inquiries are open that would be for an hour: the next run does not wait for them.
func TestTheDemonstrationLeavesInquiriesOpen(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	p := start(t, data, append([]string{"demo", "--people", "40", "--inquiries", "100000", "--agencies", "4", "--set", "hsm.juki_bits=2048"}, withoutStatistics...)...)
	p.says("symbols for 40 people") // the step before is done
	time.Sleep(300 * time.Millisecond)
	p.kill()
	demoWorks(t, data, withoutStatistics...)
}

// Killed in the middle of each step of its first run.
func TestTheDemonstrationIsKilledInItsFirstRun(t *testing.T) {
	t.Parallel()
	for _, after := range []time.Duration{15, 40, 90, 200} { // milliseconds: before there are statistics
		t.Run(after.String()[:len(after.String())-2]+"ms", func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			p := start(t, data, append(demonstration("1"), withoutStatistics...)...)
			time.Sleep(after * time.Millisecond)
			p.kill()
			demoWorks(t, data, withoutStatistics...)
		})
	}
}
