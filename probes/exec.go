package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Exec asks by running a command of the user's: argv, never a shell line. One
// that takes longer than its timeout is ended with everything in its process group.
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
- name: database says it is ready
  exec: {command: ["pg_isready", "-h", "127.0.0.1"], timeout: 2s}
  # What a good answer is: CEL over code, stdout, stderr, latency and error.
  expect: code == 0 && stdout.contains("accepting connections")
  every: 1s
  tolerate: {during: 90%, recover: 20s}
`,
	}
}

type execProbe struct {
	commands platform.Commands
	command  platform.Command
}

func openExec(w *platform.World, raw json.RawMessage) (Probe, error) {
	var s Exec
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of an exec probe: %w", err)
	}
	return execProbe{w.Commands, platform.Command{Argv: s.Command, Timeout: orDefault(s.Timeout)}}, nil
}

// Look runs the command once. A command that does not start is our own
// inability; one that does not end in time is what a user would have suffered.
func (p execProbe) Look(ctx context.Context) (experiments.Reading, error) {
	result, err := p.commands.Run(ctx, p.command)
	if err == nil && ctx.Err() != nil {
		err = fmt.Errorf("run %s: %w", p.command.Argv[0], context.Cause(ctx))
	}
	if err != nil {
		return nil, err
	}
	reading := experiments.Reading{
		"code": int64(result.Code), "latency": result.Took, "error": "",
		"stdout": strings.ToValidUTF8(result.Stdout, "\uFFFD"), "stderr": strings.ToValidUTF8(result.Stderr, "\uFFFD"),
	}
	switch {
	case result.TimedOut:
		reading["error"] = fmt.Sprintf("timeout: %s did not end within %s", p.command.Argv[0], p.command.Timeout)
	case result.Signal != "":
		reading["error"] = fmt.Sprintf("killed: %s ended by %s", p.command.Argv[0], result.Signal)
	}
	return reading, nil
}

func (execProbe) Close() error { return nil }
