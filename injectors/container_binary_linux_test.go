package injectors

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// faultline is the built binary, with a state of its own.
type faultline struct {
	t      *testing.T
	binary string
	env    []string
	file   string
}

func newFaultline(t *testing.T, faults string) faultline {
	t.Helper()
	testenv.Require(t, "docker", "root", "pidfd")
	f := faultline{t: t, binary: testenv.Binary(t), env: append(os.Environ(), testenv.Home(t)...), file: filepath.Join(t.TempDir(), "experiment.yaml")}
	document := "apiVersion: faultline/v1\nkind: Experiment\nname: test\ntimeline: {before: 0s, after: 0s}\nfaults:\n" + faults
	if err := os.WriteFile(f.file, []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f faultline) command(args ...string) *exec.Cmd {
	cmd := exec.Command(f.binary, args...)
	cmd.Env = f.env
	return cmd
}

// do runs one command to its end.
func (f faultline) do(args ...string) (code int, output string) {
	f.t.Helper()
	cmd := f.command(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		f.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// children are the processes that a process has started.
func children(t *testing.T, parent int) []int {
	t.Helper()
	var found []int
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if fields := strings.Fields(after); len(fields) > 1 && fields[1] == strconv.Itoa(parent) {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, pid)
		}
	}
	return found
}

func TestH55_AKilledFaultlineLeavesNothingPaused(t *testing.T) {
	for _, row := range []struct {
		name       string
		holderToo  bool
		healedByUs bool // only after undo was called
	}{
		{name: "killed alone, its holder lets go"},
		{name: "killed with its holder, the next undo lets go", holderToo: true, healedByUs: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			ours, theirs := box(t), box(t)
			f := newFaultline(t, fmt.Sprintf("  - {name: pause, at: 0s, for: 5m, container.pause: {select: {name: %s}}}\n", ours.Name))
			run := f.command("run", "--no-input", f.file)
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			ours.WaitState(20*time.Second, "paused")
			dockerDo(t, "pause", theirs.ID)
			t.Cleanup(func() { dockerDo(t, "unpause", theirs.ID) })
			victims := []int{run.Process.Pid}
			if row.holderToo {
				// The holder first: its parent would let go at once.
				victims = append(children(t, run.Process.Pid), victims...)
				if len(victims) < 2 {
					t.Fatal("the run has no holder")
				}
				if err := run.Process.Signal(syscall.SIGSTOP); err != nil {
					t.Fatal(err)
				}
			}
			for _, pid := range victims {
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Fatal(err)
				}
			}
			_ = run.Wait() // it was killed
			if row.healedByUs {
				if code, out := f.do("status"); code != 6 || !strings.Contains(out, ours.Name) || ours.State() != "paused" {
					t.Errorf("status exits %d, want 6 and the container's name; it is %s\n%s", code, ours.State(), out)
				}
				if code, out := f.do("undo", "--all", "--no-input"); code != 0 {
					t.Errorf("undo exits %d\n%s", code, out)
				}
			}
			ours.WaitState(3*time.Second, "running")
			if theirs.State() != "paused" {
				t.Errorf("what others paused is %s", theirs.State())
			}
			testenv.Eventually(t, 5*time.Second, "nothing is left", func() bool {
				code, _ := f.do("status")
				return code == 0
			})
		})
	}
}

// A container with the engine's socket is where many run their tools: the pids
// that the engine names are not this container's, and this container is no target.
func TestFaultlineInAContainerNeitherHitsItselfNorTakesPidsForItsOwn(t *testing.T) {
	f := newFaultline(t, "")
	sibling := box(t)
	self := sibling.Name + "-self"
	document := fmt.Sprintf("apiVersion: faultline/v1\nkind: Experiment\nname: test\ntimeline: {before: 0s, during: 1s, after: 0s}\n"+
		"faults:\n  - {name: crash, container.crash: {select: {regexp: \"^%s\"}, pick: all}}\n", sibling.Name)
	if err := os.WriteFile(f.file, []byte(document), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct{ name, cgroupns string }{
		{"it sees its cgroups", "host"},
		{"its cgroup namespace hides them", "private"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Cleanup(func() { exec.Command("docker", "rm", "--force", self).Run() })
			out := dockerDo(t, "run", "--rm", "--name", self, "--network", "none", "--cgroupns", row.cgroupns, "--tmpfs", "/state:mode=700", "--tmpfs", "/tmp:mode=1777", "--env", "FAULTLINE_HOME=/state",
				"--volume", "/var/run/docker.sock:/var/run/docker.sock", "--volume", f.binary+":/faultline:ro", "--volume", f.file+":/experiment.yaml:ro",
				"--entrypoint", "/faultline", testenv.Image(t), "plan", "/experiment.yaml")
			if !strings.Contains(out, "engine API kill (remote)") || !strings.Contains(out, "1 of 1 matched") {
				t.Errorf("want the sibling alone, through the engine:\n%s", out)
			}
			if !strings.Contains(out, self) || !strings.Contains(out, "faultline itself runs in it") {
				t.Errorf("want that %s is skipped because it is ours:\n%s", self, out)
			}
		})
	}
}
