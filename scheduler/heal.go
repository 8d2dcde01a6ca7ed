package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Undoing has its own time: the run's context may be long over.
const (
	undoTries = 5
	undoLimit = 30 * time.Second // for one try, and for an engine to come back
	undoPause = 2 * time.Second  // between two tries, at most
)

// undo heals one injection and verifies it, with retries. It is the only way by
// which faults are taken back, in the holder and in any process after it.
func undo(ctx context.Context, w *platform.World, find func(string) (injectors.Fault, bool), i experiments.Injection) error {
	fault, ok := find(i.Kind)
	if !ok {
		return fmt.Errorf("undo %s of %s: this build knows no fault %q: use the version that made it; nothing was touched", i.ID, i.Description.Name, i.Kind)
	}
	var err error
	began := w.Host.Boottime()
	// What cannot be reached may be restarting: it is asked for longer.
	for try := 0; try < undoTries || errors.Is(err, platform.ErrUnreachable) && w.Host.Boottime().Sub(began) < undoLimit; try++ {
		if try > 0 && !pause(ctx, min(undoPause, time.Duration(try*try)*100*time.Millisecond)) {
			break
		}
		if err = undoOnce(ctx, w, fault, i); err == nil || errors.Is(err, injectors.ErrForeign) || errors.Is(err, platform.ErrDenied) {
			break // nobody's rights or property change by asking again
		}
	}
	if err != nil {
		return fmt.Errorf("undo %s of %s: %w", i.Kind, i.Description.Name, err)
	}
	return nil
}

func undoOnce(ctx context.Context, w *platform.World, fault injectors.Fault, i experiments.Injection) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, undoLimit+i.Description.Lands.Std(), fmt.Errorf("no answer within %s", undoLimit))
	defer cancel()
	defer recoverInto(&err, "undo")
	return fault.Undo(ctx, w, i.Target)
}

// recoverInto turns a fault's panic into an error: one fault's bug must not keep the others from being healed.
func recoverInto(err *error, doing string) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%s: the fault's own code failed: %v", doing, r)
	}
}

// Healer takes back what a dead run left, from any process.
type Healer struct {
	World  *platform.World
	Faults func(kind string) (injectors.Fault, bool)
	Home   journal.Home
	By     string // "undo by root (pid 12)", for the record
	Lookup func(reference string) (string, bool)
}

// Healed is what healing one run came to.
type Healed struct {
	Run    string   `json:"run"`
	Undone []string `json:"undone"` // what was verified as undone now
	Left   []string `json:"left"`   // what could not be verified, and why
}

// Heal takes the run's lock, undoes every open injection, newest first, and
// closes the record. With nothing open it writes nothing. first is written ahead, if it has a type.
func (h Healer) Heal(ctx context.Context, run journal.Run, first experiments.Event) (healed Healed, err error) {
	healed.Run = run.ID
	lock, err := run.TryLock()
	if err != nil {
		return healed, fmt.Errorf("take the lock of run %s: %w", run.ID, err)
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	record, err := run.Read()
	if err != nil {
		return healed, err
	}
	damaged := record.Actionable()
	if errors.Is(damaged, journal.ErrSchema) {
		return healed, damaged
	}
	if len(record.Lines) == 0 && damaged == nil {
		return healed, nil // killed before its first line: nothing was done, and a record begins with its header
	}
	// What can be read of a damaged record is healed, and success is never claimed.
	state := journal.Fold(record.Events)
	if err := h.ours(state); err != nil {
		return healed, err
	}
	if state.Done() && state.Closed != nil && first.Type == "" {
		return healed, damaged
	}
	writer, writerErr := lock.Writer(h.World.Host)
	if writerErr == nil {
		defer writer.Close()
	}
	note := func(e experiments.Event) { // heal first, then record: a record that cannot be written is an error at the end
		if writerErr == nil {
			e.By = h.By
			if boot := h.World.Host.BootID(); state.Header != nil && state.Header.BootID != boot {
				e.BootID = boot // Boot then does not compare with the run's own readings
			}
			_, writerErr = writer.Append(e)
		}
	}
	if first.Type != "" {
		note(first)
	}
	h.undoAll(ctx, run, state, &healed, note)
	c := experiments.Close{By: h.By}
	if state.Hit > 0 || len(healed.Undone)+len(healed.Left) > 0 {
		undone := len(healed.Left) == 0
		c.Undone = &undone
	}
	note(experiments.Event{Type: experiments.EventClosed, Close: &c})
	if writerErr != nil {
		return healed, errors.Join(damaged, fmt.Errorf("write the journal of run %s: %w", run.ID, writerErr))
	}
	return healed, damaged
}

// ours refuses a record of another machine: its targets are not here. One of
// another boot is ours: containers outlive a boot, and targets carry the boot's id.
func (h Healer) ours(state journal.State) error {
	if state.Header == nil {
		return nil // nothing was done in a run that has no first line
	}
	if state.Header.Machine != h.World.Host.MachineID() {
		return fmt.Errorf("run %s was made on another machine (%s): heal it there; nothing was touched", state.Header.Run, state.Header.Host)
	}
	return nil
}

func (h Healer) undoAll(ctx context.Context, run journal.Run, state journal.State, healed *Healed, note func(experiments.Event)) {
	secrets := h.secrets(state.Header)
	for _, open := range slices.Backward(state.Open) {
		i := open.Injection
		if other := h.neverLeased(run, open); other != nil {
			note(experiments.Event{Type: experiments.EventRefused, Fault: i.Fault, Target: i.ID, Error: fmt.Sprintf("never injected: %v", other)})
			continue
		}
		err := h.restoreSecrets(state.Header, &i)
		if err == nil {
			err = undo(ctx, h.World, h.Faults, i)
		}
		text := secrets.Redact(errText(err)) // a command's output may say what it was given
		if err != nil {
			healed.Left = append(healed.Left, text)
		} else {
			healed.Undone = append(healed.Undone, fmt.Sprintf("%s of %s", i.Kind, i.Description.Name))
		}
		note(experiments.Event{Type: experiments.EventUndone, Fault: i.Fault, Target: i.ID, Error: text})
	}
}

// healTime is for how long a healer says that it needs what it heals.
const healTime = time.Minute

// neverLeased says who has the injection's things when it was written down and
// cannot have been injected: what another run has now, this one was never given.
// Healing it would heal what the other run broke. The lease that this takes ends with the record.
func (h Healer) neverLeased(run journal.Run, open journal.Open) *journal.HeldError {
	if open.Acted {
		return nil
	}
	_, err := h.Home.Lease(run, open.Injection.Description.Leases, h.World.Host.Now().Add(healTime), "undo of "+open.Injection.Kind)
	var held *journal.HeldError
	if errors.As(err, &held) {
		return held
	}
	return nil // healing does not wait for the host-wide place to be well
}

// secrets are the values that the run used, as far as they can be read here.
func (h Healer) secrets(header *experiments.Header) experiments.Secrets {
	var known experiments.Secrets
	if header == nil {
		return nil
	}
	for _, name := range header.Secrets {
		if value, ok := h.Lookup(name); ok {
			known = append(known, experiments.Secret{Name: name, Value: value})
		}
	}
	return known
}

func (h Healer) restoreSecrets(header *experiments.Header, i *experiments.Injection) error {
	if header == nil || len(header.Secrets) == 0 {
		return nil
	}
	target, missing := experiments.Restore(i.Target, header.Secrets, h.Lookup)
	if len(missing) > 0 {
		return fmt.Errorf("undo %s of %s: it needs %s, which cannot be read here: set it and run undo again", i.Kind, i.Description.Name, strings.Join(missing, ", "))
	}
	i.Target = target
	return nil
}
