package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
)

// Process asks which processes of this host are alive. The selector's keys stand
// under `select`, as a fault's do, or beside it. This process and its ancestors
// are never meant: `faultline run redis.yaml` is no redis.
type Process struct {
	Select *selector.Process `json:"select,omitempty"`
	selector.Process
	Timeout experiments.Duration `json:"timeout,omitempty"`
}

func (s Process) selected() selector.Process {
	if s.Select != nil {
		return *s.Select
	}
	return s.Process
}

// Check gives every problem of the settings at once.
func (s Process) Check() []experiments.FieldProblem {
	return append(checkSelect(s.Select != nil, s.Process.IsZero(), s.selected().Check()), checkTimeout(s.Timeout)...)
}

// checkSelect places a selector's problems where its author wrote it.
func checkSelect(nested, flatIsZero bool, of []experiments.FieldProblem) []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	if nested && !flatIsZero {
		problems = append(problems, experiments.FieldProblem{Field: "select", Problem: "has keys beside it that belong into it: write all of them under select"})
	}
	for _, p := range of {
		if nested {
			p.Field = strings.TrimSuffix("select."+p.Field, ".")
		}
		problems = append(problems, p)
	}
	return problems
}

func processKind() Kind {
	return Kind{
		ProbeKind: experiments.ProbeKind{
			Kind: "process", Summary: "looks for processes of this host: alive, count",
			Settings: func() any { return &Process{Timeout: DefaultTimeout} },
			Expect:   "alive",
			Reading:  experiments.Reading{"alive": true, "count": int64(1)},
		},
		Open: openProcess,
		Example: `# Looks whether processes are alive; a zombie is not. Keys of select: pid, exe, arg, cmdline, pidfile, port, user, cgroup, unit.
- name: workers are up
  process: {select: {exe: worker}}
  # What a good answer is: CEL over alive and count.
  expect: count >= 2
  every: 1s
  tolerate: {during: 80%, recover: 15s}
`,
	}
}

type processProbe struct {
	world    *platform.World
	selected selector.Process
	timeout  time.Duration
}

func openProcess(w *platform.World, raw json.RawMessage) (Probe, error) {
	var s Process
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of a process probe: %w", err)
	}
	return processProbe{w, s.selected(), orDefault(s.Timeout)}, nil
}

// Look reads the process table once. A process that could not be told apart is
// no match; when none but such were found, nothing is known.
func (p processProbe) Look(ctx context.Context) (experiments.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	m, err := p.selected.Matcher(p.world.Host)
	if err != nil {
		return nil, err
	}
	if m.Nobody != "" {
		return experiments.Reading{"alive": false, "count": int64(0)}, nil
	}
	all, err := p.world.Processes.List(ctx, p.selected.Port != 0)
	if err != nil {
		return nil, err
	}
	own, err := p.world.Processes.Ancestors(ctx)
	if err != nil {
		return nil, err
	}
	count, untold := 0, ""
	for _, one := range all {
		// A pattern also matches the command line that holds it; a pid means what it says.
		if p.selected.PID == 0 && slices.Contains(own, one.PID) || isDead(one) {
			continue
		}
		matches, unread, _ := m.Match(one)
		if matches {
			count++
		} else if len(unread) > 0 {
			untold = fmt.Sprintf("the %s of pid %d could not be read: run as root, or as its user", strings.Join(unread, " and "), one.PID)
		}
	}
	if count == 0 && untold != "" {
		return nil, fmt.Errorf("tell which processes are meant: %s: %w", untold, platform.ErrDenied)
	}
	return experiments.Reading{"alive": count > 0, "count": int64(count)}, nil
}

// isDead says that only the process's exit code is left.
func isDead(p platform.Process) bool { return p.State == "Z" || p.State == "X" }

func (processProbe) Close() error { return nil }
