//go:build unix

// Package run_test tries faultline as its users do: the built binary, real
// documents, real targets, and everything that can happen to the tool itself.
package run_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// lab is a state directory of its own with the binary under test.
type lab struct {
	t    *testing.T
	exe  string
	dir  string
	env  []string
	docs int
}

func newLab(t *testing.T) *lab {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the built binary on real targets")
	}
	return &lab{t: t, exe: testenv.Binary(t), dir: t.TempDir(), env: append(os.Environ(), testenv.Home(t)...)}
}

// write puts a document on the disk and gives its path.
func (l *lab) write(text string) string {
	l.t.Helper()
	l.docs++
	path := filepath.Join(l.dir, fmt.Sprintf("experiment-%d.yaml", l.docs))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// outcome is how one command ended.
type outcome struct {
	code           int
	stdout, stderr string
	took           time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %d after %s\nstdout:\n%s\nstderr:\n%s", o.code, o.took, o.stdout, o.stderr)
}

// run carries a command to its end.
func (l *lab) run(args ...string) outcome {
	l.t.Helper()
	return l.start(args...).wait()
}

// want runs a command and fails when its exit code is another one.
func (l *lab) want(code int, args ...string) outcome {
	l.t.Helper()
	o := l.run(args...)
	if o.code != code {
		l.t.Fatalf("faultline %s: want exit %d, got %s", strings.Join(args, " "), code, o)
	}
	return o
}

// running is a command that has not ended yet.
type running struct {
	l              *lab
	cmd            *exec.Cmd
	began          time.Time
	stdout, stderr buffer
	ended          chan struct{}
	err            error
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func (l *lab) start(args ...string) *running {
	l.t.Helper()
	return l.startWith(func(exe string, args []string) []string { return append([]string{exe}, args...) }, args...)
}

// startWith starts the command wrapped in another one.
func (l *lab) startWith(wrap func(exe string, args []string) []string, args ...string) *running {
	l.t.Helper()
	command := wrap(l.exe, args)
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	r := &running{l: l, cmd: exec.CommandContext(ctx, command[0], command[1:]...), ended: make(chan struct{}), began: time.Now()}
	r.cmd.Env, r.cmd.Stdout, r.cmd.Stderr = l.env, &r.stdout, &r.stderr
	r.cmd.WaitDelay = time.Second // a holder never keeps our pipes: that would be a bug of its own
	if err := r.cmd.Start(); err != nil {
		l.t.Fatalf("start faultline: %v", err)
	}
	go func() {
		defer cancel()
		r.err = r.cmd.Wait()
		close(r.ended)
	}()
	l.t.Cleanup(func() {
		_ = r.cmd.Process.Kill() // it has ended already, or the test has failed
		<-r.ended
	})
	return r
}

func (r *running) wait() outcome {
	r.l.t.Helper()
	<-r.ended
	o := outcome{stdout: r.stdout.String(), stderr: r.stderr.String(), took: time.Since(r.began), code: r.cmd.ProcessState.ExitCode()}
	var exit *exec.ExitError
	if r.err != nil && !errors.As(r.err, &exit) {
		r.l.t.Fatalf("run faultline: %v\n%s", r.err, o)
	}
	return o
}

func (r *running) signal(s syscall.Signal) {
	r.l.t.Helper()
	if err := r.cmd.Process.Signal(s); err != nil {
		r.l.t.Fatalf("signal faultline: %v\n%s", err, r.stderr.String())
	}
}

// until waits until the progress says so.
func (r *running) until(text string) {
	r.l.t.Helper()
	testenv.Eventually(r.l.t, 20*time.Second, fmt.Sprintf("%q in the progress of\n%s", text, r.stderr.String()), func() bool {
		return strings.Contains(r.stderr.String(), text)
	})
}

// holder is the pid of the run's holder.
func (r *running) holder() int {
	r.l.t.Helper()
	found := 0
	testenv.Eventually(r.l.t, 10*time.Second, "the holder", func() bool {
		children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", r.cmd.Process.Pid, r.cmd.Process.Pid))
		if err == nil {
			for _, pid := range strings.Fields(string(children)) {
				if line, err := os.ReadFile("/proc/" + pid + "/cmdline"); err == nil && bytes.Contains(line, []byte("__holder")) {
					found, _ = strconv.Atoi(pid)
				}
			}
		}
		return found != 0 || r.scanHolder(&found)
	})
	return found
}

// scanHolder looks through all processes: the holder is the child of one of the tool's threads.
func (r *running) scanHolder(found *int) bool {
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return false
	}
	for _, path := range dirs {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline"))
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(r.cmd.Process.Pid) && bytes.Contains(line, []byte("__holder")) {
			*found, _ = strconv.Atoi(filepath.Base(filepath.Dir(path)))
			return true
		}
	}
	return false
}

// state is the letter of proc(5) for a process: R or S runs, T is stopped, t is traced, "" is gone.
func state(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))[0]
}

func frozen(pid int) bool { s := state(pid); return s == "T" || s == "t" }

// dead waits until a killed process has let go of everything: its locks go
// with its last thread, which is a moment after the signal.
func dead(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		testenv.Eventually(t, 10*time.Second, fmt.Sprintf("the end of process %d", pid), func() bool {
			threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
			return err != nil || len(threads) <= 1 && strings.Contains("ZX", state(pid))
		})
	}
}

// report is the part of report.json that the tests look at.
type report struct {
	Run      string `json:"run"`
	Verdict  string `json:"verdict"`
	ExitCode int    `json:"exit_code"`
	Undone   any    `json:"undone"`
	Seed     uint64 `json:"seed"`
	Axes     map[string]struct {
		Verdict string
		Why     any
	} `json:"axes"`
	Faults []struct {
		Name, Kind, Mechanism, Keeper string
		Targets                       []struct {
			ID, State string
		}
	} `json:"faults"`
}

func (l *lab) report(run string) report {
	l.t.Helper()
	o := l.want(0, "report", run, "--format", "json")
	var r report
	if err := json.Unmarshal([]byte(o.stdout), &r); err != nil {
		l.t.Fatalf("read the report: %v\n%s", err, o)
	}
	return r
}

// within fails when the condition does not come true in time; it gives how long it took.
func within(t *testing.T, limit time.Duration, what string, look func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	testenv.Eventually(t, limit, what, look)
	return time.Since(began)
}

// lastRun is the folder of the latest run.
func (l *lab) lastRun() string {
	l.t.Helper()
	var runs []struct{ ID string }
	o := l.want(0, "list", "runs", "--json")
	if err := json.Unmarshal([]byte(o.stdout), &runs); err != nil || len(runs) == 0 {
		l.t.Fatalf("list the runs: %v\n%s", err, o)
	}
	for _, kv := range l.env {
		if home, ok := strings.CutPrefix(kv, "FAULTLINE_HOME="); ok {
			return filepath.Join(home, "runs", runs[0].ID)
		}
	}
	l.t.Fatal("the lab has no FAULTLINE_HOME")
	return ""
}
