package journal

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestWhereAHomeIs(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		env  []string
		want string
	}{
		"FAULTLINE_HOME decides":              {[]string{EnvHome, dir + "/a", EnvShared, dir + "/s", "XDG_STATE_HOME", dir + "/x"}, dir + "/a"},
		"a relative one is of this directory": {[]string{EnvHome, "rel", EnvShared, dir + "/s"}, "rel"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(dir)
			home, err := OpenHome(env(c.env...))
			if err != nil {
				t.Fatal(err)
			}
			if want, _ := filepath.Abs(c.want); home.State != want || home.Shared != dir+"/s" {
				t.Errorf("state %s, shared %s", home.State, home.Shared)
			}
			if info, err := os.Stat(filepath.Join(home.State, "runs")); err != nil || info.Mode().Perm() != 0o700 && runtime.GOOS != "windows" {
				t.Errorf("runs: %v, %v", info, err)
			}
		})
	}
}

func TestAHomeThatCanBeWrittenIsSaidToBe(t *testing.T) {
	if err := testHome(t).CheckWritable(); err != nil {
		t.Error(err)
	}
}

func TestTheSharedPlaceDependsOnTheMachineAlone(t *testing.T) {
	a, err := sharedPath(env("HOME", "/home/a", "TMPDIR", "/tmp/a"))
	if err != nil {
		t.Skip(err)
	}
	if b, err := sharedPath(env("HOME", "/home/b", "XDG_RUNTIME_DIR", "/run/user/2")); err != nil || a != b {
		t.Errorf("one user is sent to %s, another one to %s (%v)", a, b, err)
	}
}

func TestAHomeThatOthersCanWriteIsRefused(t *testing.T) {
	for name, part := range map[string]string{"the state directory": "", "the runs in it": "runs"} {
		t.Run(name, func(t *testing.T) {
			home := testHome(t)
			dir := filepath.Join(home.State, part)
			if err := os.Chmod(dir, 0o770); err != nil {
				t.Fatal(err)
			}
			_, err := OpenHome(env(EnvHome, home.State, EnvShared, home.Shared))
			if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), "chmod go-w "+dir) {
				t.Errorf("%v: want ErrUnsafe and what to do", err)
			}
		})
	}
}

func TestAHomeOfSomebodyElseIsRefused(t *testing.T) {
	testenv.Require(t, "root")
	home := testHome(t)
	if err := os.Chown(home.State, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenHome(env(EnvHome, home.State, EnvShared, home.Shared)); !errors.Is(err, ErrUnsafe) {
		t.Errorf("%v: want ErrUnsafe", err)
	}
}

func TestARunOfSomebodyElseIsNotLocked(t *testing.T) {
	testenv.Require(t, "root")
	run := newRun(t, testHome(t))
	if err := os.Chown(run.Dir, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if _, err := run.TryLock(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("%v: want ErrUnsafe", err)
	}
}

func TestASharedPlaceWhereUsersCanRemoveEachOthersFilesIsRefused(t *testing.T) {
	testenv.Require(t, "root")
	for name, prepare := range map[string]func(dir string) error{
		"open to all but not sticky":  func(dir string) error { return errors.Join(os.Mkdir(dir, 0o777), os.Chmod(dir, 0o777)) },
		"somebody's own and not open": func(dir string) error { return errors.Join(os.Mkdir(dir, 0o755), os.Chown(dir, 12345, -1)) },
		"a symbolic link":             func(dir string) error { return os.Symlink(os.TempDir(), dir) },
		"a file":                      func(dir string) error { return os.WriteFile(dir, nil, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			home := testHome(t)
			if err := prepare(home.Shared); err != nil {
				t.Fatal(err)
			}
			if err := home.CheckLeases([]string{"x"}); err == nil {
				t.Error("leases were checked there")
			}
			if err := home.Halt("me", "why", time.Now()); err == nil {
				t.Error("a halt was written there")
			}
			if _, halted, err := home.Halted(); err == nil && !halted {
				t.Error("could not look, and says that nobody halted")
			}
			// What must work without the shared place does.
			run := newRun(t, home)
			write(t, run, begun(), aimed("1"))
		})
	}
}

// A crash between making the host-wide place and opening it to all must not keep everybody out.
func TestAHalfMadeSharedPlaceIsCompleted(t *testing.T) {
	home := testHome(t)
	if err := errors.Join(os.Mkdir(home.Shared, 0o700), os.Chmod(home.Shared, 0o700|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	if err := home.CheckLeases([]string{"x"}); err != nil {
		t.Errorf("looking: %v", err)
	}
	if err := home.Halt("me", "why", time.Now()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(home.Shared); err != nil || info.Mode().Perm() != 0o777 && runtime.GOOS != "windows" {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestFindNamesOneRunOrNone(t *testing.T) {
	home := testHome(t)
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for n := range 3 {
		if _, err := home.Create(NewID(at.Add(time.Duration(n)*time.Minute), 1)); err != nil {
			t.Fatal(err)
		}
	}
	for ref, want := range map[string]error{
		"last": nil, "20260102-0306": nil, "20260102-030405-00001": nil,
		"20260102": ErrAmbiguous, "2027": ErrNoRun, "": ErrNoRun, "..": ErrNoRun, "../runs": ErrNoRun,
	} {
		if run, err := home.Find(ref); !errors.Is(err, want) || (want == nil) != (run.ID != "") {
			t.Errorf("find %q: %s, %v, want %v", ref, run.ID, err, want)
		}
	}
	if run, err := home.Find("last"); err != nil || run.ID != "20260102-030605-00001" {
		t.Errorf("last is %s, %v", run.ID, err)
	}
	if _, err := home.Create("../x"); err == nil {
		t.Error("a path was created as a run")
	}
	if _, err := home.Create("20260102-030405-00001"); !errors.Is(err, os.ErrExist) {
		t.Errorf("the same run again: %v", err)
	}
}

func TestIDsSortByTime(t *testing.T) {
	start := time.Date(2026, 12, 31, 23, 59, 59, 998_000_000, time.UTC)
	last := ""
	for n := range 3000 {
		at := start.Add(time.Duration(n) * time.Millisecond)
		id := NewID(at, uint64(n)*7919)
		if id <= last {
			t.Fatalf("%s does not come after %s", id, last)
		}
		if got, err := idStarted(id); err != nil || !got.Equal(at) {
			t.Fatalf("%s says %s, %v; want %s", id, got, err, at)
		}
		last = id
	}
}

func TestALockHasOneHolder(t *testing.T) {
	run := newRun(t, testHome(t))
	if locked, err := run.Locked(); err != nil || locked {
		t.Fatalf("a new run: %v, %v", locked, err)
	}
	l := lock(t, run)
	if _, err := run.TryLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("a second lock: %v", err)
	}
	if locked, err := run.Locked(); err != nil || !locked {
		t.Errorf("while locked: %v, %v", locked, err)
	}
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	lock(t, run).Unlock()
}

// A crash in the middle of Create.
func TestARunWithoutALockFileCanBeLocked(t *testing.T) {
	run := newRun(t, testHome(t))
	if err := os.Remove(run.Path(lockName)); err != nil {
		t.Fatal(err)
	}
	if locked, err := run.Locked(); err != nil || locked {
		t.Errorf("%v, %v", locked, err)
	}
	if err := lock(t, run).Unlock(); err != nil {
		t.Error(err)
	}
	if err := os.RemoveAll(run.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Locked(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that is not there: %v", err)
	}
}

func TestALockEndsWithItsProcess(t *testing.T) {
	home := testHome(t)
	run := newRun(t, home)
	holder := startOther(t, home, "hold", run.ID)
	if got := holder.says(); got != "locked" {
		t.Fatal(got)
	}
	if _, err := run.TryLock(); !errors.Is(err, ErrLocked) {
		t.Errorf("while another process holds it: %v", err)
	}
	holder.kill()
	if err := lock(t, run).Unlock(); err != nil {
		t.Error(err)
	}
}

func TestLookingAtALockDoesNotKeepItFromBeingTaken(t *testing.T) {
	run := newRun(t, testHome(t))
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := run.Locked(); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for range 500 {
		l, err := run.TryLock()
		if err != nil {
			t.Error(err)
			break
		}
		l.file.Close()
	}
	close(stop)
	<-done
}
