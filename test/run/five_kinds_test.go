//go:build unix

package run_test

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// engineState asks the engine itself, not faultline.
func engineState(t *testing.T, id string) string {
	t.Helper()
	out, err := exec.Command("docker", "inspect", "--format", "{{.State.Status}}", id).Output()
	if err != nil {
		t.Fatalf("docker inspect: %v", err)
	}
	return strings.TrimSpace(string(out))
}

// connects measures one TCP connect, as a user would see it; 0 when it failed.
func connects(address string) time.Duration {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", address, 3*time.Second)
	if err != nil {
		return 0
	}
	conn.Close()
	return time.Since(began)
}

// startTime is what the engine itself needs to start the container, here and
// now: a second is ours, this is its own.
func startTime(t *testing.T, id string) time.Duration {
	t.Helper()
	for _, args := range [][]string{{"stop", "--time", "1", id}, {"start", id}} {
		began := time.Now()
		if out, err := exec.Command("docker", args...).CombinedOutput(); err != nil {
			t.Fatalf("docker %v: %v: %s", args, err, out)
		}
		if args[0] == "start" {
			return time.Since(began)
		}
	}
	return 0
}

func TestH1_FiveKindsOfFaultAreHealedWithinASecondOfAKill(t *testing.T) {
	testenv.Require(t, "docker", "netns", "pidfd")
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	paused, stopped := testenv.Container(t), testenv.Container(t)
	slow := testenv.Container(t, testenv.Args("-http", ":8080"))
	ownStart := startTime(t, stopped.ID)
	flag := filepath.Join(l.dir, "flag")
	address := net.JoinHostPort(slow.IP, "8080")
	r := l.start("run", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: five-kinds
timeline: {before: 0s, after: 100ms}
faults:
  - for: 60s
    process.pause: {select: {pid: %[1]d}}
  - for: 60s
    container.pause: {select: {id: %[2]s}}
  - for: 60s
    container.stop: {select: {id: %[3]s}, grace: 1s}
  - for: 60s
    allow: [all-traffic]
    network.latency: {select: {container: {id: %[4]s}}, direction: both, delay: 100ms}
  - for: 60s
    exec: {inject: [touch, %[5]q], confirm: [test, -e, %[5]q], undo: [rm, -f, %[5]q], timeout: 5s}
`, victim.PID, paused.ID, stopped.ID, slow.ID, flag)))
	within(t, 20*time.Second, "all five in effect", func() bool {
		return frozen(victim.PID) && exists(flag) && engineState(t, paused.ID) == "paused" && engineState(t, stopped.ID) == "exited" &&
			connects(address) > 190*time.Millisecond
	})
	r.signal(syscall.SIGKILL)
	took := within(t, time.Second+ownStart, "all five healed", func() bool {
		return !frozen(victim.PID) && !exists(flag) && engineState(t, paused.ID) == "running" && engineState(t, stopped.ID) == "running" &&
			connects(address) < 50*time.Millisecond
	})
	t.Logf("five kinds healed %s after kill -9; the engine itself takes %s to start a container", took, ownStart)
	within(t, 5*time.Second, "the holder closes the record", func() bool { return l.run("status").code == 0 })
}
