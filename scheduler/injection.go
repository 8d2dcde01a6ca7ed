package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/platform"
)

// injection is one durable target while this process carries it.
type injection struct {
	experiments.Injection
	fault injectors.Fault
	place int           // in the order of injecting
	done  chan struct{} // closed when it is healed, or could not be
	tries int           // how many reinjections led here

	undone bool // healed and verified; guarded by the engine

	acted chan struct{} // closed when Inject has returned

	mu      sync.Mutex
	held    injectors.Held
	failure error // of Inject
}

// act injects. It returns when Inject has, or at once when ctx ends; what was
// started may then still land, and joinAct reckons with that.
func (i *injection) act(ctx context.Context, e *Engine) {
	i.acted = make(chan struct{})
	go func() {
		defer close(i.acted)
		held, err := i.inject(ctx, e.World)
		i.mu.Lock()
		i.held, i.failure = held, err
		i.mu.Unlock()
		e.record.Note(experiments.Event{Type: experiments.EventInjected, Fault: i.Fault, Target: i.ID, Error: errText(err)})
	}()
	select {
	case <-i.acted:
	case <-ctx.Done():
	}
}

func (i *injection) inject(ctx context.Context, w *platform.World) (held injectors.Held, err error) {
	defer recoverInto(&err, "inject")
	return i.fault.Inject(ctx, w, i.Target)
}

// acting says whether Inject has not returned yet.
func (i *injection) acting() bool {
	select {
	case <-i.acted:
		return false
	default:
		return true
	}
}

// joinLimit is how long an undo waits for an act that was told to end.
const joinLimit = 50 * time.Millisecond

// joinAct gives a running Inject a moment to notice that its context has ended.
func (i *injection) joinAct() {
	timer := time.NewTimer(joinLimit)
	defer timer.Stop()
	select {
	case <-i.acted:
	case <-timer.C:
	}
}

// waitAct waits for an Inject that outlived its undo, as long as its fault says that it can.
func (i *injection) waitAct() {
	timer := time.NewTimer(i.Description.Lands.Std() + undoLimit)
	defer timer.Stop()
	select {
	case <-i.acted:
	case <-timer.C:
	}
}

func (i *injection) injectFailure() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.failure
}

// release closes what this process holds for the fault.
func (i *injection) release() error {
	i.mu.Lock()
	held := i.held
	i.held = nil
	i.mu.Unlock()
	if held == nil {
		return nil
	}
	if err := held.Close(); err != nil {
		return fmt.Errorf("release %s of %s: %w", i.Kind, i.Description.Name, err)
	}
	return nil
}

// confirmLimit bounds one reading back; a command of the user's may take its time.
const confirmLimit = 15 * time.Second

// looked is one reading back; cut says that it was not waited for.
type looked struct {
	experiments.Effect
	cut bool
}

// confirm reads the state back; not being able to look is unknown, with the
// reason. Neither an abort nor the fault's end waits for it.
func (i *injection) confirm(ctx context.Context, w *platform.World, end experiments.Boottime) looked {
	limit := min(confirmLimit, max(end.Sub(w.Host.Boottime()), time.Millisecond))
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	answer := make(chan experiments.Effect, 1)
	go func() { answer <- i.look(ctx, w) }()
	select {
	case effect := <-answer:
		if ctx.Err() == nil {
			return looked{Effect: effect}
		}
	case <-ctx.Done():
	}
	return looked{cut: true, Effect: experiments.Effect{State: experiments.EffectUnknown, Why: "reading the state back was not done in time"}}
}

func (i *injection) look(ctx context.Context, w *platform.World) (effect experiments.Effect) {
	var err error
	func() {
		defer recoverInto(&err, "confirm")
		effect, err = i.fault.Confirm(ctx, w, i.Target)
	}()
	switch {
	case errors.Is(err, injectors.ErrGone), errors.Is(err, platform.ErrGone):
		return experiments.Effect{State: experiments.EffectGone, Why: err.Error()}
	case err != nil:
		return experiments.Effect{State: experiments.EffectUnknown, Why: err.Error()}
	}
	return i.joinMeasure(effect)
}

// joinMeasure adds what the holder's own end of the fault has seen. Where that
// says less than the reading back ("no packet met it"), the lesser one stands.
func (i *injection) joinMeasure(effect experiments.Effect) experiments.Effect {
	i.mu.Lock()
	m, ok := i.held.(injectors.Measurer)
	i.mu.Unlock()
	if !ok {
		return effect
	}
	seen := m.Measure()
	if len(seen.Measured) > 0 {
		measured := maps.Clone(seen.Measured)
		maps.Copy(measured, effect.Measured)
		effect.Measured = measured
	}
	if effect.State == experiments.EffectOn && seen.State != "" && seen.State != experiments.EffectOn {
		effect.State, effect.Why = seen.State, seen.Why
	}
	return effect
}
