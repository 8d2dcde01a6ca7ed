package injectors

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ProcessKillSettings is what an author may ask of process.kill.
type ProcessKillSettings struct {
	Select ProcessSelect    `json:"select"`
	Pick   experiments.Pick `json:"pick,omitzero"`
	Signal Signal           `json:"signal,omitempty"` // default SIGKILL
}

// pausing are signals that end nothing and would need undoing.
var pausing = []Signal{"SIGSTOP", "SIGTSTP", "SIGTTIN", "SIGTTOU"}

// Check gives every problem at once.
func (s ProcessKillSettings) Check() []experiments.FieldProblem {
	problems := checkProcessFault(s.Select, s.Pick)
	if slices.Contains(pausing, s.Signal) {
		problems = append(problems, experiments.FieldProblem{Field: "signal", Problem: fmt.Sprintf("%s stops a process and nothing would let it go on: use process.pause", s.Signal)})
	}
	return problems
}

func (s ProcessKillSettings) signal() Signal {
	if s.Signal == "" {
		return "SIGKILL"
	}
	return s.Signal
}

// KillTarget is one process to be sent a signal.
type KillTarget struct {
	Process platform.ProcessID   `json:"process"`
	Name    string               `json:"name"`
	Signal  Signal               `json:"signal"`
	Exe     string               `json:"exe,omitempty"`
	Args    string               `json:"args,omitempty"` // a digest: command lines hold passwords
	Parent  int                  `json:"parent"`         // for the report only
	Unit    string               `json:"unit,omitempty"`
	Aimed   experiments.Boottime `json:"aimed"`
}

// Describe says what is done to the process.
func (t KillTarget) Describe() experiments.Description {
	return experiments.Description{
		Kind: "process", ID: t.Process.String(), Name: t.Name,
		Mechanism: "signal through a pidfd", Keeper: experiments.KeeperNone,
		Undo:   "nothing: a signal cannot be taken back; whoever supervises the process starts it again, and the report says whether",
		Leases: []string{processLease(t.Process)}, Asked: map[string]string{"signal": string(t.Signal)},
		Restart: supervisedBy(t.Unit),
	}
}

func supervisedBy(unit string) string {
	if unit == "" {
		return ""
	}
	return "systemd unit " + unit
}

type processKill struct{}

var processKillAbout = About{
	Kind: "process.kill", Summary: "send a signal (SIGKILL if unsaid) to processes of this host",
	Platforms: []string{"linux", "darwin"},
	Example: `- name: kill one worker
  at: 0s
  process.kill:
    select: {port: 6379} # it listens there; or pid, exe, arg, cmdline, pidfile, port, user, cgroup, unit; all must hold
    pick: 1        # a count, 50% or all
    signal: KILL   # or TERM, SIGTERM, 15
`,
}

func (processKill) Choose(ctx context.Context, w World, s ProcessKillSettings) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

// Preflight refuses a length: nobody can promise that what was killed stays down.
func (processKill) Preflight(ctx context.Context, w World, _ ProcessKillSettings, o experiments.Order) error {
	if o.Length != 0 {
		return fmt.Errorf("a kill has no length, and whoever supervises the process may start it again at once: for a process that is down for %s use process.pause; "+
			"to watch that long leave `for` out and write timeline.during: %w", o.Length, ErrRefused)
	}
	return maySignal(ctx, w, o)
}

// maySignal asks the kernel whether a signal could be sent, without sending one.
func maySignal(ctx context.Context, w World, o experiments.Order) error {
	id, p, err := aimProcess(ctx, w, o)
	if err != nil {
		return err
	}
	defer w.Processes.Release(id)
	if err := w.Processes.MaySignal(ctx, id); err != nil {
		return fmt.Errorf("signal %s: %w", processName(p), err)
	}
	return nil
}

func (processKill) Aim(ctx context.Context, w World, s ProcessKillSettings, o experiments.Order) ([]KillTarget, error) {
	id, p, err := aimProcess(ctx, w, o)
	if err != nil {
		return nil, err
	}
	return []KillTarget{{
		Process: id, Name: processName(p), Signal: s.signal(), Exe: p.Exe, Args: digest(p.Args),
		Parent: p.PPID, Unit: p.Unit, Aimed: w.Host.Boottime(),
	}}, nil
}

func digest(args []string) string {
	sum := sha256.Sum256([]byte(strings.Join(args, "\x00")))
	return hex.EncodeToString(sum[:])
}

func (processKill) Inject(ctx context.Context, w World, t KillTarget) (Held, error) {
	if err := w.Processes.Signal(ctx, t.Process, t.Signal.number()); err != nil {
		w.Processes.Release(t.Process)
		if errors.Is(err, platform.ErrGone) {
			err = fmt.Errorf("%s: the target vanished before the signal: %w: %w", t.Name, ErrGone, err)
		}
		return nil, err
	}
	return unpin{w.Processes, t.Process}, nil
}

// Confirm: that a signal was sent leaves no trace but its effect.
func (processKill) Confirm(ctx context.Context, w World, t KillTarget) (experiments.Effect, error) {
	_, err := w.Processes.State(ctx, t.Process)
	switch {
	case errors.Is(err, platform.ErrGone):
		return experiments.Effect{State: experiments.EffectOn, Why: "the process has ended"}, nil
	case err != nil:
		return experiments.Effect{}, err
	case t.Signal == "SIGKILL":
		return experiments.Effect{State: experiments.EffectOff, Why: "the process still runs"}, nil
	case slices.Contains(ending, t.Signal):
		return experiments.Effect{State: experiments.EffectPartly, Why: fmt.Sprintf("the process took %s and still runs", t.Signal)}, nil
	}
	return experiments.Effect{State: experiments.EffectOn, Why: fmt.Sprintf("the process took %s; what it made of it cannot be read back", t.Signal)}, nil
}

// ending are signals that are sent to end a process.
var ending = []Signal{"SIGTERM", "SIGINT", "SIGQUIT", "SIGABRT", "SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE"}

// Undo has nothing to do and that is right: what was killed is not ours to start,
// its supervisor may be doing so this moment, and a second one would be worse than none.
func (processKill) Undo(context.Context, World, KillTarget) error { return nil }

// Return looks for a younger process of the same program with the same arguments.
func (processKill) Return(ctx context.Context, w World, t KillTarget) (experiments.Return, error) {
	switch _, err := w.Processes.State(ctx, t.Process); {
	case err == nil && t.Signal == "SIGKILL": // it cannot but end
		return experiments.Return{State: experiments.ReturnDown}, nil
	case err == nil:
		return experiments.Return{State: experiments.ReturnUp, By: "it was never gone", As: t.Name}, nil
	case !errors.Is(err, platform.ErrGone):
		return experiments.Return{}, err
	}
	all, err := w.Processes.List(ctx, false)
	if err != nil {
		return experiments.Return{}, err
	}
	for _, p := range all {
		if p.Exe != "" && p.Exe == t.Exe && digest(p.Args) == t.Args && p.Born.Add(slackOfStart) > t.Aimed && (p.PID != t.Process.PID || p.Start != t.Process.Start) {
			return experiments.Return{State: experiments.ReturnUp, By: starter(t, p, all), As: processName(p)}, nil
		}
	}
	return experiments.Return{State: experiments.ReturnDown}, nil
}

// slackOfStart is how exact the start of a process is known.
const slackOfStart = 20 * time.Millisecond

// starter says who brought the process back, as far as it can be seen.
func starter(t KillTarget, p platform.Process, all []platform.Process) string {
	who := fmt.Sprintf("pid %d", p.PPID)
	for _, parent := range all {
		if parent.PID == p.PPID {
			who = processName(parent)
		}
	}
	switch {
	case t.Unit != "" && p.Unit == t.Unit:
		return fmt.Sprintf("systemd unit %s (by %s)", p.Unit, who)
	case p.PPID == t.Parent:
		return "its supervisor " + who
	}
	return who
}
