//go:build linux

package run_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// smallDisk is a mounted file system of a given size.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	testenv.Require(t, "root")
	dir := t.TempDir()
	if err := syscall.Mount("faultline-test", dir, "tmpfs", 0, "mode=0700,size="+size); err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount the small disk: %v", err)
		}
	})
	return dir
}

func (l *lab) home(dir string) { l.env = append(l.env, "FAULTLINE_HOME="+dir) }

func TestAFullStateDirectoryIsRefusedBeforeAnythingIsDone(t *testing.T) {
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	l.home(filepath.Join(smallDisk(t, "512k"), "state"))
	o := l.want(5, "run", l.write(freeze(victim.PID, victim.URL(), "{during: 1%}")))
	if strings.Contains(o.stderr, "injected") || !strings.Contains(o.stderr, "FAULTLINE_HOME") {
		t.Errorf("want a refusal with what to do next: %s", o)
	}
}

func TestADiskThatFillsUpDuringARunHealsAndAborts(t *testing.T) {
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	disk := smallDisk(t, "4m")
	l.home(filepath.Join(disk, "state"))
	r := l.start("run", l.write(strings.Replace(freeze(victim.PID, victim.URL(), "{during: 1%}"), "for: 700ms", "for: 60s", 1)))
	r.until("in effect")
	filler, err := os.Create(filepath.Join(disk, "filler"))
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	if err := filler.Close(); err != nil && !strings.Contains(err.Error(), "no space") {
		t.Fatal(err)
	}
	o := r.wait()
	if o.code != 4 || frozen(victim.PID) {
		t.Errorf("want healed and exit 4, got %s", o)
	}
}

func TestAReadOnlyStateDirectoryIsRefused(t *testing.T) {
	l := newLab(t)
	disk := smallDisk(t, "4m")
	if err := syscall.Mount("", disk, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	l.home(filepath.Join(disk, "state"))
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	if o := l.want(5, "run", l.write(freeze(victim.PID, victim.URL(), "{during: 1%}"))); !strings.Contains(o.stderr, "FAULTLINE_HOME") {
		t.Errorf("want what to do next: %s", o)
	}
}

func TestAFaultThatOnlyTheJournalKeepsIsRefusedWhereTheJournalDoesNotLast(t *testing.T) {
	l := newLab(t)
	l.home(filepath.Join(smallDisk(t, "16m"), "state"))
	flag := filepath.Join(l.dir, "flag")
	document := fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: unkept
timeline: {before: 0s, after: 50ms}
faults:
  - for: 100ms
    exec: {inject: [touch, %[1]q], confirm: [test, -e, %[1]q], undo: [rm, %[1]q], timeout: 2s}
`, flag)
	if o := l.want(5, "run", l.write(document)); !strings.Contains(o.stderr, "unkept") || exists(flag) {
		t.Errorf("want the door named: %s", o)
	}
	l.want(3, "run", l.write(document+"    allow: [unkept]\n"))
}

func TestH7_UndoWithoutRightsIsNeverASuccess(t *testing.T) {
	testenv.Require(t, "root")
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	holder := r.holder()
	for _, pid := range []int{holder, r.cmd.Process.Pid} {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	for _, pid := range []int{holder, r.cmd.Process.Pid} {
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	within(t, time.Second, "the kernel takes back what it keeps", func() bool { return !frozen(target) })
	dead(t, holder, r.cmd.Process.Pid)
	// The same host as another user: their own state directory, the same shared place.
	exe := filepath.Join(t.TempDir(), "faultline")
	if out, err := exec.Command("cp", l.exe, exe).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	home := t.TempDir()
	for dir := filepath.Dir(exe); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(home, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "undo", "--all")
	cmd.Env = append(l.env, "FAULTLINE_HOME="+filepath.Join(home, "state"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	out, err := cmd.CombinedOutput()
	if code := cmd.ProcessState.ExitCode(); code != 6 || !exists(flag) {
		t.Errorf("exit %d (%v), want 6:\n%s", code, err, out)
	}
	l.want(0, "undo", "--all")
	if exists(flag) {
		t.Error("the owner's undo left the flag")
	}
}
