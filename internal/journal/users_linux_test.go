package journal

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

const nobody = 65534

// Two real users, each with a state directory that the other one cannot read.
func TestTwoUsersSeeEachOther(t *testing.T) {
	testenv.Require(t, "root")
	dir, err := os.MkdirTemp("", "fl-users-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	exe := filepath.Join(dir, "other")
	if err := errors.Join(os.Chmod(dir, 0o755), copyExecutable(exe), os.Mkdir(filepath.Join(dir, "theirs"), 0o700), os.Chown(filepath.Join(dir, "theirs"), nobody, nobody)); err != nil {
		t.Fatal(err)
	}
	home := homeIn(t, filepath.Join(dir, "state"), filepath.Join(dir, "shared"))
	theirs := Home{State: filepath.Join(dir, "theirs"), Shared: home.Shared}
	mine := newRun(t, home)
	l := lock(t, mine)
	defer l.Unlock()
	if _, err := home.Lease(mine, []string{"x"}, noon.now, "network.latency"); err != nil {
		t.Fatal(err)
	}
	if err := home.Halt("root", "drill", time.Now()); err != nil {
		t.Fatal(err)
	}

	id := NewID(time.Now(), 7)
	cmd := exec.Command(exe, id)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	visitor := startCommand(t, theirs, "visit", cmd)
	if got := visitor.says(); !strings.Contains(got, "x is busy: run "+mine.ID) || !strings.Contains(got, "(0)") {
		t.Errorf("they are told %q", got)
	}
	if got := visitor.says(); got != "own lease: <nil>" {
		t.Error(got)
	}
	if got := visitor.says(); !strings.Contains(got, "root halted this host (drill)") {
		t.Errorf("their resume says %q", got)
	}
	if got := visitor.says(); got != "halted: root true <nil>" {
		t.Error(got)
	}
	var held *HeldError
	if err := home.CheckLeases([]string{"theirs"}); !errors.As(err, &held) || held.Run != id || held.Left {
		t.Errorf("we are told %v", err)
	}
	visitor.kill()
	if err := home.CheckLeases([]string{"theirs"}); !errors.As(err, &held) || !held.Left {
		t.Errorf("after their death we are told %v: only they can know what is left", err)
	}
}

func copyExecutable(to string) error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	content, err := os.ReadFile(exe)
	if err != nil {
		return err
	}
	return errors.Join(os.WriteFile(to, content, 0o755), os.Chmod(to, 0o755))
}
