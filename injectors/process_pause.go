package injectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ProcessPauseSettings is what an author may ask of process.pause.
type ProcessPauseSettings struct {
	Select ProcessSelect    `json:"select"`
	Pick   experiments.Pick `json:"pick,omitzero"`
}

// Check gives every problem at once.
func (s ProcessPauseSettings) Check() []experiments.FieldProblem {
	return checkProcessFault(s.Select, s.Pick)
}

// pauseBy is how a process is made to stand still; chosen at Aim.
type pauseBy string

const (
	// pauseByTrace: the kernel lets the process go on when its tracer is no more, however that comes.
	pauseByTrace pauseBy = "ptrace"
	// pauseBySignal: SIGSTOP, which stays until somebody sends SIGCONT.
	pauseBySignal pauseBy = "SIGSTOP"
)

// PauseTarget is one process to be stopped.
type PauseTarget struct {
	Process platform.ProcessID `json:"process"`
	Name    string             `json:"name"`
	By      pauseBy            `json:"by"`
	Why     string             `json:"why,omitempty"`    // why not the better mechanism
	Tracer  platform.ProcessID `json:"tracer,omitempty"` // who traces it, where it is traced
	Unit    string             `json:"unit,omitempty"`
}

// Describe says what is done to the process.
func (t PauseTarget) Describe() experiments.Description {
	d := experiments.Description{
		Kind: "process", ID: t.Process.String(), Name: t.Name, Leases: []string{processLease(t.Process)}, Restart: supervisedBy(t.Unit),
		Mechanism: "ptrace (seize and interrupt every thread)", Keeper: experiments.KeeperKernel,
		Undo: "detach from every thread; the kernel does it as well when the holder dies",
	}
	if t.By == pauseBySignal {
		d.Mechanism, d.Keeper, d.Undo = "SIGSTOP", experiments.KeeperJournal, "SIGCONT"
		d.Notes = []string{"ptrace is not to be had: " + t.Why}
	}
	return d
}

type processPause struct{}

var processPauseAbout = About{
	Kind: "process.pause", Summary: "stop processes of this host from running, and let them go on", Undoable: true,
	Doors: []string{string(experiments.DoorUnkept)}, Platforms: []string{"linux", "darwin"},
	Example: `- name: freeze one worker
  at: 0s
  for: 10s
  process.pause:
    select: {port: 6379} # it listens there; or pid, exe, arg, cmdline, pidfile, port, user, cgroup, unit; all must hold
    pick: 1        # a count, 50% or all
`,
}

func (processPause) Choose(ctx context.Context, w World, s ProcessPauseSettings) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

func (processPause) Preflight(ctx context.Context, w World, _ ProcessPauseSettings, o experiments.Order) error {
	return maySignal(ctx, w, o)
}

func (processPause) Aim(ctx context.Context, w World, _ ProcessPauseSettings, o experiments.Order) ([]PauseTarget, error) {
	id, p, err := aimProcess(ctx, w, o)
	if err != nil {
		return nil, err
	}
	t := PauseTarget{Process: id, Name: processName(p), By: pauseByTrace, Unit: p.Unit}
	if err := t.choose(ctx, w); err != nil {
		w.Processes.Release(id)
		return nil, err
	}
	return []PauseTarget{t}, nil
}

// choose finds the mechanism, and refuses a process that somebody else has stopped or traces.
func (t *PauseTarget) choose(ctx context.Context, w World) error {
	if err := t.foreign(ctx, w); err != nil {
		return err
	}
	err := w.Processes.CanFreeze(ctx, t.Process)
	switch {
	case errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrDenied):
		t.By, t.Why = pauseBySignal, err.Error()
		return nil
	case err != nil:
		return fmt.Errorf("pause %s: %w", t.Name, err)
	}
	tracer, err := w.Processes.Pin(ctx, os.Getpid())
	if errors.Is(err, platform.ErrGone) { // a world that we are no part of
		return nil
	}
	w.Processes.Release(tracer)
	t.Tracer = tracer
	return err
}

// foreign says that the process stands still already, by somebody else: that is not ours to end.
func (t PauseTarget) foreign(ctx context.Context, w World) error {
	threads, err := w.Processes.Threads(ctx, t.Process)
	if err != nil {
		return asGone(err)
	}
	for _, thread := range threads {
		switch {
		case thread.Tracer != 0:
			return fmt.Errorf("pause %s: process %d traces it (a debugger?): %w", t.Name, thread.Tracer, ErrForeign)
		case thread.State == "T":
			return fmt.Errorf("pause %s: it is stopped already (state T), and not by us: %w", t.Name, ErrForeign)
		}
	}
	return nil
}

// asGone gives the engine's word for a target that is no more.
func asGone(err error) error {
	if errors.Is(err, platform.ErrGone) {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	return err
}

func (processPause) Inject(ctx context.Context, w World, t PauseTarget) (Held, error) {
	held, err := t.stop(ctx, w)
	if err != nil {
		w.Processes.Release(t.Process)
		return nil, fmt.Errorf("pause %s: %w", t.Name, asGone(err))
	}
	return held, nil
}

func (t PauseTarget) stop(ctx context.Context, w World) (Held, error) {
	if err := t.foreign(ctx, w); err != nil {
		return nil, err
	}
	pin := unpin{w.Processes, t.Process}
	if t.By == pauseBySignal {
		return pin, w.Processes.Signal(ctx, t.Process, platform.SignalStop)
	}
	frozen, err := w.Processes.Freeze(ctx, t.Process)
	if err != nil {
		return nil, err
	}
	return frozenProcess{frozen, pin}, nil
}

// frozenProcess holds the traces and the pin.
type frozenProcess struct {
	frozen platform.Frozen
	pin    unpin
}

func (f frozenProcess) Close() error { return errors.Join(f.frozen.Close(), f.pin.Close()) }

// Confirm reads the state of every thread.
func (processPause) Confirm(ctx context.Context, w World, t PauseTarget) (experiments.Effect, error) {
	threads, err := w.Processes.Threads(ctx, t.Process)
	if err != nil {
		return experiments.Effect{}, asGone(err)
	}
	still, all := 0, 0
	for _, thread := range threads {
		if thread.State == "Z" || thread.State == "X" { // ended
			continue
		}
		all++
		if t.holds(thread) {
			still++
		}
	}
	effect := experiments.Effect{Measured: map[string]string{"threads stopped": fmt.Sprintf("%d of %d", still, all)}}
	switch still {
	case all:
		effect.State = experiments.EffectOn
	case 0:
		effect.State, effect.Why = experiments.EffectOff, "every thread of the process runs"
	default:
		effect.State, effect.Why = experiments.EffectPartly, fmt.Sprintf("%d of %d threads stand still", still, all)
	}
	return effect, nil
}

// holds says whether the thread stands still by our doing.
func (t PauseTarget) holds(thread platform.Thread) bool {
	if t.By == pauseBySignal {
		return thread.State == "T"
	}
	return thread.Tracer != 0 && (t.Tracer.PID == 0 || thread.Tracer == t.Tracer.PID) && (thread.State == "t" || thread.State == "T")
}

// undoPatience is how long a thread may take to run again before the engine is told that it does not.
const undoPatience = time.Second

// Undo lets the process go on and reads that it does. Its traces end with the
// holder or when Held is closed, before this; a stop by somebody else stays.
func (processPause) Undo(ctx context.Context, w World, t PauseTarget) error {
	defer w.Processes.Release(t.Process)
	limit := w.Host.Boottime().Add(undoPatience)
	if t.By == pauseBySignal {
		// Also where no thread stands still: a SIGSTOP that was sent is on its way
		// until each thread has run, and only SIGCONT takes it back.
		if err := t.resume(ctx, w); err != nil {
			return err
		}
	}
	for {
		threads, err := w.Processes.Threads(ctx, t.Process)
		if errors.Is(err, platform.ErrGone) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read whether %s runs again: %w", t.Name, err)
		}
		stuck, err := t.stuck(ctx, w, threads)
		if err != nil || stuck == 0 {
			return err
		}
		if !soon(ctx) || w.Host.Boottime() > limit {
			return fmt.Errorf("let %s go on: %d of %d threads still stand still by %s", t.Name, stuck, len(threads), t.By)
		}
	}
}

// stuck counts the threads that still stand still by our doing.
func (t PauseTarget) stuck(ctx context.Context, w World, threads []platform.Thread) (int, error) {
	n := 0
	for _, thread := range threads {
		if t.holds(thread) {
			n++
		}
	}
	if n == 0 || t.By == pauseBySignal || t.Tracer.PID == 0 || t.Tracer.PID == os.Getpid() {
		return n, nil
	}
	// Another process holds it: the run's holder, or one that got the number of the dead one.
	_, err := w.Processes.State(ctx, t.Tracer)
	switch {
	case errors.Is(err, platform.ErrGone):
		return 0, nil
	case err != nil:
		return n, fmt.Errorf("tell who holds %s: %w", t.Name, err)
	}
	return n, fmt.Errorf("let %s go on: the holder (pid %d) still holds it: end the holder first: %w", t.Name, t.Tracer.PID, ErrForeign)
}

func (t PauseTarget) resume(ctx context.Context, w World) error {
	err := w.Processes.Signal(ctx, t.Process, platform.SignalCont)
	switch {
	case err == nil, errors.Is(err, platform.ErrGone):
		return nil
	case errors.Is(err, platform.ErrDenied):
		return fmt.Errorf("let %s go on: needs root, or the user whose process it is: run `faultline undo` as one of them: %w", t.Name, err)
	}
	return fmt.Errorf("let %s go on: %w", t.Name, err)
}

// soon waits a moment for the kernel to carry out what it was told; false when ctx has ended.
func soon(ctx context.Context) bool {
	timer := time.NewTimer(2 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
