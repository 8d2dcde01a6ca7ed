package journal

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// mountedHome is a home on a small disk of its own.
func mountedHome(t *testing.T, options string) Home {
	t.Helper()
	testenv.Require(t, "root")
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return homeIn(t, filepath.Join(dir, "state"), filepath.Join(t.TempDir(), "shared"))
}

func TestAReadOnlyHomeTakesNoRunAndCanStillBeHealed(t *testing.T) {
	home := mountedHome(t, "size=1m")
	run := newRun(t, home)
	write(t, run, begun(), aimed("1"))
	if err := syscall.Mount("", filepath.Dir(home.State), "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	home, err := OpenHome(env(EnvHome, home.State, EnvShared, home.Shared))
	if err != nil {
		t.Fatalf("what must be healed cannot be read: %v", err)
	}
	if err := home.CheckWritable(); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), EnvHome) {
		t.Errorf("preflight: %v: want EROFS and what to do", err)
	}
	if _, err := home.Create(NewID(time.Now(), 1)); !errors.Is(err, syscall.EROFS) {
		t.Errorf("create: %v", err)
	}
	l := lock(t, run)
	if record, err := run.Read(); err != nil || len(Fold(record.Events).Open) != 1 {
		t.Errorf("%+v, %v", record, err)
	}
	if _, err := l.Writer(noon); !errors.Is(err, syscall.EROFS) {
		t.Errorf("writer: %v", err)
	}
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
	fresh := filepath.Join(filepath.Dir(home.State), "fresh")
	if _, err := OpenHome(env(EnvHome, fresh, EnvShared, home.Shared)); !errors.Is(err, syscall.EROFS) || !strings.Contains(err.Error(), EnvHome) {
		t.Errorf("a home that cannot be made: %v", err)
	}
}

// A disk that fills up: Reserve says so before the first change; what it gave can
// be written although nothing else can.
func TestAFullDiskRefusesOrKeepsItsPromise(t *testing.T) {
	home := mountedHome(t, "size=256k")
	run := newRun(t, home)
	l := lock(t, run)
	defer l.Unlock()
	w, err := l.Writer(noon)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Reserve(1 << 20); !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("1 MiB on a disk of 256 KiB: %v, want ENOSPC", err)
	}
	if err := w.Reserve(64 << 10); err != nil {
		t.Fatal(err)
	}
	filler, err := os.Create(filepath.Join(home.State, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	defer filler.Close()
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if !errors.Is(err, syscall.ENOSPC) {
		t.Fatalf("filling the disk: %v", err)
	}
	if _, err := w.Append(begun()); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if _, err := w.Append(aimed("1.1")); err != nil {
			t.Fatalf("the disk is full, and what was reserved cannot be written: %v", err)
		}
	}
	var broken error
	for n := 0; broken == nil && n < 10000; n++ {
		_, broken = w.Append(aimed("1.1"))
	}
	if !errors.Is(broken, syscall.ENOSPC) {
		t.Fatalf("behind the reserve: %v, want ENOSPC", broken)
	}
	if _, err := w.Append(aimed("1.1")); !errors.Is(err, ErrBroken) {
		t.Errorf("after that: %v, want ErrBroken", err)
	}
	if record, err := run.Read(); err != nil || record.Actionable() != nil || len(record.Events) < 100 {
		t.Errorf("the record: %d events, %v, %v", len(record.Events), record.Actionable(), err)
	}
}
