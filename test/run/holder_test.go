//go:build unix

package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// jobGroup makes a cgroup such as a service manager puts a job in.
func jobGroup(t *testing.T) string {
	t.Helper()
	testenv.Require(t, "root")
	for _, root := range []string{"/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified", "/sys/fs/cgroup"} {
		if !exists(filepath.Join(root, "cgroup.procs")) {
			continue
		}
		dir := filepath.Join(root, fmt.Sprintf("faultline-test-%d", os.Getpid()))
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Skipf("this machine lets nobody make a cgroup: %v", err)
		}
		t.Cleanup(func() {
			if err := os.Remove(dir); err != nil {
				t.Errorf("remove the test's cgroup: %v", err)
			}
		})
		return dir
	}
	t.Skip("this machine mounts no cgroup hierarchy")
	return ""
}

func TestTheHolderLeavesTheCgroupOfItsParentsJob(t *testing.T) {
	l := newLab(t)
	job := jobGroup(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	r := l.startWith(func(exe string, args []string) []string {
		return append([]string{"sh", "-c", `echo $$ > "$0/cgroup.procs" && exec "$@"`, job, exe}, args...)
	}, "run", l.write(strings.Replace(freeze(victim.PID, victim.URL(), "{during: 1%}"), "for: 700ms", "for: 60s", 1)))
	r.until("in effect")
	groups := func(pid int) string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if own, of := groups(r.cmd.Process.Pid), groups(r.holder()); !strings.Contains(own, filepath.Base(job)) || strings.Contains(of, filepath.Base(job)) {
		t.Errorf("the tool is in\n%s\nand its holder in\n%s", own, of)
	}
	r.signal(15)
	r.wait()
	if exists(filepath.Join(filepath.Dir(job), "faultline-holders")) {
		t.Error("the holders' group was left behind")
	}
}
