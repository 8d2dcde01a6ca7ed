package crash_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// Undo never waits for the journal: it heals, and says 6 because it cannot record that.
func TestUndoHealsWhereNothingCanBeWritten(t *testing.T) {
	for name, c := range map[string]struct {
		spoil, mend func(disk string) error
		says        string
	}{
		"a disk that became read-only": {
			func(disk string) error { return syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") },
			func(disk string) error { return syscall.Mount("", disk, "", syscall.MS_REMOUNT, "") },
			"journal",
		},
		"a full disk": {fill, func(disk string) error { return os.Remove(filepath.Join(disk, "filler")) }, "journal"},
		"a host-wide place that is none": {
			func(disk string) error {
				return errors.Join(os.Rename(filepath.Join(disk, "shared"), filepath.Join(disk, "away")), os.WriteFile(filepath.Join(disk, "shared"), nil, 0o600))
			},
			func(disk string) error {
				return errors.Join(os.Remove(filepath.Join(disk, "shared")), os.Rename(filepath.Join(disk, "away"), filepath.Join(disk, "shared")))
			},
			"host-wide place",
		},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.Require(t, "strace", "root")
			w := newWorker(t, kinds["process.pause by SIGSTOP"].lasting())
			a, file := w.prepare()
			disk := smallDisk(t)
			a.home = []string{journal.EnvHome + "=" + filepath.Join(disk, "state"), journal.EnvShared + "=" + filepath.Join(disk, "shared")}
			before := w.state()
			o := a.order(file)
			o.Subject, o.Match, o.Kill, o.Dies = "holder", "write journal.jsonl", firstConfirm, []string{"holder", "tool"}
			// A small disk does not outlive its machine: that is the author's own choice here.
			makeUnkept(t, file)
			seen, err := o.run(w.tracer, func() {})
			if err != nil || !seen.Killed || w.state() == before {
				t.Fatalf("nothing was left behind: %v, %s, %s", err, w.state(), seen.Output)
			}
			if err := c.spoil(disk); err != nil {
				t.Fatal(err)
			}
			if code, said := a.undoCode(); code != int(experiments.ExitStillBroken) || !strings.Contains(said, c.says) {
				t.Errorf("undo ended with %d, want 6 and why:\n%s", code, said)
			}
			if after := w.state(); after != before {
				t.Errorf("not healed: %s", after)
			}
			if err := c.mend(disk); err != nil {
				t.Fatal(err)
			}
			if code, said := a.undoCode(); code != 0 {
				t.Errorf("undo on a disk that is well again ended with %d:\n%s", code, said)
			}
		})
	}
}

func (a *attempt) undoCode() (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.exe, "undo", "--all")
	cmd.Env = a.environment()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		a.t.Error(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// smallDisk is a disk of its own, a few times as large as a run's record.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill leaves no byte free, not even what the run had reserved for its journal.
func fill(disk string) error {
	journals, err := filepath.Glob(filepath.Join(disk, "state", "runs", "*", journal.JournalFile))
	if err != nil {
		return err
	}
	for _, j := range journals { // what was reserved behind the end goes with the file's own copy
		content, err := os.ReadFile(j)
		if err != nil {
			return err
		}
		if err := errors.Join(os.Remove(j), os.WriteFile(j, content, 0o600)); err != nil {
			return err
		}
	}
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		return err
	}
	for chunk := 64 << 10; chunk > 0; chunk /= 2 {
		for err == nil {
			_, err = filler.Write(make([]byte, chunk))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
		err = nil
	}
	return filler.Close()
}

func makeUnkept(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), "{name: pause,", "{name: pause, allow: [unkept],", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}
