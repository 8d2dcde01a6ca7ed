package probes

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

const (
	maxOutput = 64 << 10 // kept of each of stdout and stderr
	// pipesClose is how long a command that has ended may leave its output open:
	// a child that left the process group can hold it for ever.
	pipesClose = 500 * time.Millisecond
)

// Exec asks by running a command of the user's: argv, never a shell line. It
// runs in a process group of its own, and what it leaves running in that group
// ends with it, so that a thousand questions leave nothing behind.
type Exec struct {
	Command []string             `json:"command"`
	Timeout experiments.Duration `json:"timeout,omitempty"`
}

// Check gives every problem of the settings at once.
func (s Exec) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	if len(s.Command) == 0 || s.Command[0] == "" {
		problems = append(problems, experiments.FieldProblem{Field: "command", Problem: `no command: write its words as a list, as ["pg_isready", "-h", "127.0.0.1"]`})
	}
	return append(problems, checkTimeout(s.Timeout)...)
}

func execKind() Kind {
	return Kind{
		ProbeKind: experiments.ProbeKind{
			Kind: "exec", Summary: "runs a command of yours: code, stdout, stderr, latency",
			Settings: func() any { return &Exec{Timeout: DefaultTimeout} },
			Expect:   "code == 0",
			Reading: experiments.Reading{
				"code": int64(0), "stdout": "ok\n", "stderr": "", "latency": 20 * time.Millisecond, "error": "",
			},
			MaxRate: 200,
		},
		Open: openExec,
		Example: `# Runs a command: its words as a list, no shell. All exec probes together may ask 200 times a second.
- name: queue is short
  exec: {command: ["redis-cli", "-h", "127.0.0.1", "LLEN", "jobs"], timeout: 2s}
  # What a good answer is: CEL over code, stdout, stderr, latency and error.
  expect: code == 0 && int(stdout.trim()) < 100
  every: 1s
  tolerate: {during: 90%, recover: 20s}
`,
	}
}

type execProbe struct {
	command []string
	timeout time.Duration
}

func openExec(_ *platform.World, raw json.RawMessage) (Probe, error) {
	var s Exec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of an exec probe: %w", err)
	}
	if len(s.Command) == 0 {
		return nil, errors.New("open exec probe: it has no command")
	}
	return execProbe{s.Command, orDefault(s.Timeout)}, nil
}

// Look runs the command once. A command that does not start is our own
// inability; one that does not end in time is what a user would have suffered.
func (p execProbe) Look(ctx context.Context) (experiments.Reading, error) {
	cmd := exec.Command(p.command[0], p.command[1:]...) //nolint:gosec // the author's own command
	var stdout, stderr firstBytes
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, pipesClose
	start := time.Now()
	timeout := time.NewTimer(p.timeout)
	defer timeout.Stop()
	g, err := startGroup(cmd)
	if err != nil {
		return nil, fmt.Errorf("run %s: %w", p.command[0], err)
	}
	reading := func(code int, problem string) experiments.Reading {
		return experiments.Reading{
			"code": int64(code), "stdout": stdout.text(), "stderr": stderr.text(), "latency": time.Since(start), "error": problem,
		}
	}
	ended := make(chan error, 1)
	go func() { ended <- g.wait() }()
	select {
	case err := <-ended:
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
			return nil, fmt.Errorf("wait for %s: %w", p.command[0], err)
		}
		return reading(exitCode(cmd.ProcessState), ""), nil
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("wait for %s: %w", p.command[0], context.Cause(ctx)), g.end(ended))
	case <-timeout.C:
	}
	late := reading(-1, fmt.Sprintf("timeout: %s did not end within %s", p.command[0], p.timeout))
	if err := g.end(ended); err != nil {
		return nil, fmt.Errorf("end %s, which did not end within %s: %w", p.command[0], p.timeout, err)
	}
	return late, nil
}

func (execProbe) Close() error { return nil }

// firstBytes keeps the beginning of what is written and lets the rest pass, so
// that a command that talks for ever neither blocks nor fills the memory.
type firstBytes struct {
	mu   sync.Mutex
	kept bytes.Buffer
}

func (f *firstBytes) Write(b []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.kept.Write(b[:min(len(b), maxOutput-f.kept.Len())])
	return len(b), nil
}

func (f *firstBytes) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.ToValidUTF8(f.kept.String(), "\uFFFD")
}
