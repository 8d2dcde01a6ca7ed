package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Leaser gives a run the things that it touches, or says who has them.
type Leaser interface {
	Lease(things []string, until time.Time, what string) error
}

// Engine carries out During: aim, write down, lease, inject, confirm, heal. It
// lives in the holder.
type Engine struct {
	World  *platform.World
	Faults func(kind string) (injectors.Fault, bool)
	Run    string
	Plan   experiments.Plan
	Leases Leaser

	record *recorder

	mu   sync.Mutex
	live []*injection // everything injected, in order

	returns     sync.WaitGroup // who watches targets come back by themselves
	noReturns   context.Context
	stopReturns context.CancelFunc
}

// NewEngine makes an engine that writes to record.
func NewEngine(w *platform.World, faults func(string) (injectors.Fault, bool), plan experiments.Plan, run string, leases Leaser, record *recorder) *Engine {
	ctx, stop := context.WithCancel(context.Background())
	return &Engine{World: w, Faults: faults, Plan: plan, Run: run, Leases: leases, record: record, noReturns: ctx, stopReturns: stop}
}

// Close stops watching how targets come back. Call it after During.
func (e *Engine) Close() {
	e.stopReturns()
	e.returns.Wait()
}

// Undone says whether every injection was healed and verified; nil when there was none.
func (e *Engine) Undone() *bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.live) == 0 {
		return nil
	}
	all := !slices.ContainsFunc(e.live, func(i *injection) bool { return !i.undone })
	return &all
}

// Aborted is the cause with which During's context ends early.
type Aborted struct {
	By  experiments.AbortBy
	Why string
}

func (a *Aborted) Error() string { return fmt.Sprintf("aborted by %s: %s", a.By, a.Why) }

// During carries out the timeline and returns when every injection is closed:
// healed and verified, or recorded as not. Ending ctx with an *Aborted heals at once.
func (e *Engine) During(ctx context.Context) {
	host := e.World.Host
	start := host.Boottime()
	ctx, cancel := e.limit(ctx)
	defer cancel()
	var faults sync.WaitGroup
	for _, f := range e.Plan.Faults {
		faults.Go(func() {
			if sleepUntil(ctx, host, start.Add(f.At.Std()), time.Time{}) {
				e.carry(ctx, f)
			}
		})
	}
	faults.Wait()
	sleepUntil(ctx, host, start.Add(e.Plan.Experiment.Timeline.During.Std()), time.Time{})
}

// limit ends the run when it lasts longer than its author allowed, whatever the reason.
func (e *Engine) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	length := e.Plan.Experiment.Limits.Duration.Std()
	if length <= 0 {
		return context.WithCancel(ctx)
	}
	// The limit itself plus what healing may take: a plan exactly as long as its limit is not aborted.
	return context.WithTimeoutCause(ctx, length+time.Second, &Aborted{experiments.AbortLimit, fmt.Sprintf("limits.duration (%s) is over", length)})
}

// carry is one fault from its start to its last undo.
func (e *Engine) carry(ctx context.Context, f experiments.PlannedFault) {
	if err := e.recount(ctx, f); err != nil {
		e.record.Note(experiments.Event{Type: experiments.EventRefused, Fault: f.Fault, Error: err.Error()})
		return
	}
	deadline := e.deadline(f.For.Std())
	var g errgroup.Group
	g.SetLimit(atOnce)
	var waiting sync.WaitGroup
	for victim := range f.Victims {
		g.Go(func() error {
			for _, i := range e.hit(ctx, f, victim, deadline) {
				waiting.Go(func() { e.hold(ctx, f, victim, i) })
			}
			return nil
		})
	}
	_ = g.Wait() // hit records its own errors
	waiting.Wait()
}

// limits is a fault's end by both clocks.
type limits struct {
	boot experiments.Boottime
	wall time.Time
}

func (e *Engine) deadline(length time.Duration) limits {
	if length == 0 {
		return limits{}
	}
	return limits{boot: e.World.Host.Boottime().Add(length), wall: e.World.Host.Now().Add(length).Round(0)}
}

// hit aims at one victim, writes down each target, and injects. It gives what must be healed.
func (e *Engine) hit(ctx context.Context, f experiments.PlannedFault, victim int, until limits) []*injection {
	if ctx.Err() != nil {
		return nil
	}
	aimed, err := e.aim(ctx, f, victim, until, "")
	if err != nil {
		e.refuse(f, f.Victims[victim].Name, err)
		return nil
	}
	return e.injectAll(ctx, f, aimed)
}

// aim only reads: it decides what of one victim would be touched.
func (e *Engine) aim(ctx context.Context, f experiments.PlannedFault, victim int, until limits, again string) ([]*injection, error) {
	fault, ok := e.Faults(f.Kind)
	if !ok {
		return nil, fmt.Errorf("this build knows no fault %q", f.Kind)
	}
	order := orderFor(e.Plan, f, victim)
	order.Run, order.Deadline, order.Wall = e.Run, until.boot, until.wall
	targets, err := fault.Aim(ctx, e.World, e.settings(f), order)
	if err != nil {
		return nil, fmt.Errorf("aim: %w", err)
	}
	var aimed []*injection
	for n, a := range targets {
		aimed = append(aimed, &injection{
			fault: fault, done: make(chan struct{}),
			Injection: experiments.Injection{
				ID: targetID(f.Fault, victim, n, len(targets), again), Fault: f.Fault, Kind: f.Kind,
				Target: a.Target, Description: a.Description, Deadline: until.boot, Wall: until.wall,
			},
		})
	}
	return aimed, nil
}

// injectAll gives those of aimed that must be healed.
func (e *Engine) injectAll(ctx context.Context, f experiments.PlannedFault, aimed []*injection) []*injection {
	return slices.DeleteFunc(aimed, func(i *injection) bool { return !e.inject(ctx, f, i) })
}

func targetID(fault, victim, n, of int, again string) string {
	if of == 1 {
		return fmt.Sprintf("%d.%d%s", fault, victim+1, again)
	}
	return fmt.Sprintf("%d.%d.%d%s", fault, victim+1, n+1, again)
}

func (e *Engine) settings(f experiments.PlannedFault) []byte {
	return e.Plan.Experiment.Faults[f.Fault-1].Settings
}

func (e *Engine) refuse(f experiments.PlannedFault, name string, err error) {
	e.record.Note(experiments.Event{Type: experiments.EventRefused, Fault: f.Fault, Why: name, Error: err.Error()})
}

// inject makes the injection durable, takes its leases and only then acts.
// From the moment it is durable it will be healed, whatever happens here.
// It is false when nothing was done and nothing needs healing.
func (e *Engine) inject(ctx context.Context, f experiments.PlannedFault, i *injection) bool {
	if err := e.record.Write(experiments.Event{Type: experiments.EventAimed, Fault: f.Fault, Target: i.ID, Injection: &i.Injection}); err != nil {
		return false
	}
	until := i.Wall
	if until.IsZero() {
		until = e.World.Host.Now().Add(time.Minute)
	}
	if err := e.Leases.Lease(i.Description.Leases, until, f.Kind); err != nil {
		e.record.Note(experiments.Event{Type: experiments.EventRefused, Fault: f.Fault, Target: i.ID, Error: fmt.Sprintf("lease %s: %v", i.Description.Name, err)})
		return false
	}
	if ctx.Err() != nil { // aborted while we wrote: nothing was done
		e.record.Note(experiments.Event{Type: experiments.EventRefused, Fault: f.Fault, Target: i.ID, Error: context.Cause(ctx).Error()})
		return false
	}
	e.mu.Lock()
	i.place = len(e.live)
	e.live = append(e.live, i)
	e.mu.Unlock()
	i.act(ctx, e)
	return true
}

// hold watches one injection until its time is over, then heals it.
func (e *Engine) hold(ctx context.Context, f experiments.PlannedFault, victim int, i *injection) {
	next := e.watch(ctx, f, i)
	e.heal(ctx, f, i)
	if i.fault.Return != nil && !i.fault.About.Undoable {
		e.returns.Go(func() { e.watchReturn(f, i) })
	}
	if next == injectAgain {
		e.again(ctx, f, victim, i)
	}
}

// heal closes one injection: what was injected after it on the same thing goes first.
func (e *Engine) heal(run context.Context, f experiments.PlannedFault, i *injection) {
	defer close(i.done)
	for _, later := range e.laterOnSame(i, run.Err() != nil) {
		<-later.done
	}
	i.joinAct()
	e.record.Note(experiments.Event{Type: experiments.EventUndoing, Fault: f.Fault, Target: i.ID})
	err := e.undo(i)
	if i.acting() { // what the act landed after our undo must go as well
		i.waitAct()
		err = e.undo(i)
		if i.acting() {
			err = errors.Join(err, fmt.Errorf("undo %s of %s: its inject has still not returned and may land yet", i.Kind, i.Description.Name))
		}
	}
	e.mu.Lock()
	i.undone = err == nil
	e.mu.Unlock()
	e.record.Note(experiments.Event{Type: experiments.EventUndone, Fault: f.Fault, Target: i.ID, Error: errText(err)})
}

// undo never ends because the run does: it has a context of its own.
func (e *Engine) undo(i *injection) error {
	released := i.release()
	if err := undo(context.Background(), e.World, e.Faults, i.Injection); err != nil {
		return errors.Join(err, released)
	}
	// The state was read back and is clean: how the socket closed no longer matters.
	return nil
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// laterOnSame are the injections made after i on a thing of its, which end no later than it.
func (e *Engine) laterOnSame(i *injection, all bool) []*injection {
	e.mu.Lock()
	defer e.mu.Unlock()
	var later []*injection
	for _, other := range e.live[i.place+1:] {
		ends := other.Deadline != 0 && (i.Deadline == 0 || other.Deadline <= i.Deadline)
		if (all || ends) && shareAny(i.Description.Leases, other.Description.Leases) {
			later = append(later, other)
		}
	}
	return later
}

func shareAny(a, b []string) bool {
	return slices.ContainsFunc(a, func(thing string) bool { return slices.Contains(b, thing) })
}
