package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// next is what follows a healed injection.
type next int

const (
	injectNoMore next = iota
	injectAgain
)

const (
	lookOften  = 25 * time.Millisecond  // until the fault is seen in effect
	lookSeldom = 500 * time.Millisecond // after that, for changes
	settle     = 3 * time.Second        // how long a fault without a length may take until it is seen
	mostAgain  = 3                      // reinjections of one victim
)

// watch reads a fault's state back until its time is over, and records each change.
func (e *Engine) watch(ctx context.Context, f experiments.PlannedFault, i *injection) next {
	if i.acting() || i.injectFailure() != nil {
		return injectNoMore
	}
	host := e.World.Host
	end, wall := i.Deadline, i.Wall
	if !i.fault.About.Undoable {
		end, wall = host.Boottime().Add(settle), time.Time{}
	}
	var last experiments.Effect
	every, seen, gone := lookOften, false, false
	stop := end - experiments.Boottime(lead(end.Sub(host.Boottime())))
	for ctx.Err() == nil && !over(host, stop, wall) {
		look := i.confirm(ctx, e.World, end)
		if ctx.Err() != nil || look.cut {
			break
		}
		effect := look.Effect
		if effect.State == experiments.EffectOn {
			every, seen = lookSeldom, true
		}
		if effect.State != last.State && (seen || settled(effect.State)) {
			e.confirmed(f, i, effect)
		}
		last = effect
		if !i.fault.About.Undoable && settled(effect.State) {
			return injectNoMore
		}
		if effect.State == experiments.EffectGone && !gone {
			gone = true
			if what, done := e.restarted(f, i, effect); done {
				return what
			}
		}
		sleepUntil(ctx, host, min(stop, host.Boottime().Add(every)), wall)
	}
	e.lastLook(ctx, f, i, last, seen, end)
	sleepUntil(ctx, host, end, wall)
	return injectNoMore
}

// lead is how long before its end a fault is looked at for the last time: the
// look must not make the fault longer.
func lead(length time.Duration) time.Duration { return min(200*time.Millisecond, length/5) }

// settled are the states that another look will not soon change.
func settled(s experiments.EffectState) bool {
	return s == experiments.EffectOn || s == experiments.EffectGone
}

func over(host platform.Host, boot experiments.Boottime, wall time.Time) bool {
	return host.Boottime() >= boot || !wall.IsZero() && !host.Now().Before(wall)
}

// lastLook records the effect at the end, with its figures. After an abort, or
// where the look is not done in time, only what needs no looking is added:
// healing is not to wait.
func (e *Engine) lastLook(ctx context.Context, f experiments.PlannedFault, i *injection, last experiments.Effect, seen bool, end experiments.Boottime) {
	effect := i.joinMeasure(last)
	if ctx.Err() == nil && i.fault.About.Undoable {
		if looked := i.confirm(ctx, e.World, end); !looked.cut {
			effect = looked.Effect
		}
	}
	if effect.State == "" {
		effect = experiments.Effect{State: experiments.EffectUnknown, Why: "it ended before it could be read back"}
	}
	if !seen || effect.State != last.State || len(effect.Measured) > 0 {
		e.confirmed(f, i, effect)
	}
}

func (e *Engine) confirmed(f experiments.PlannedFault, i *injection, effect experiments.Effect) {
	e.record.Note(experiments.Event{Type: experiments.EventConfirmed, Fault: f.Fault, Target: i.ID, Effect: &effect})
}

// restarted applies the policy to a target that is no more; done ends the watch.
func (e *Engine) restarted(f experiments.PlannedFault, i *injection, effect experiments.Effect) (next, bool) {
	if !i.fault.About.Undoable {
		return injectNoMore, true // being gone is what was asked
	}
	event := experiments.Event{Type: experiments.EventRestarted, Fault: f.Fault, Target: i.ID, Effect: &effect}
	switch f.OnRestart {
	case experiments.OnRestartIgnore:
		event.Why = "on_restart: ignore"
		e.record.Note(event)
		return injectNoMore, false
	case experiments.OnRestartReinject:
		event.Why = "on_restart: reinject"
		e.record.Note(event)
		return injectAgain, true
	default:
		event.Type, event.Why = experiments.EventEndedEarly, effect.Why
		e.record.Note(event)
		return injectNoMore, true
	}
}

// again reinjects a victim that came back, by the same door as the first time,
// with what is left of its time.
func (e *Engine) again(ctx context.Context, f experiments.PlannedFault, victim int, old *injection) {
	if old.tries >= mostAgain {
		e.record.Note(experiments.Event{Type: experiments.EventEndedEarly, Fault: f.Fault, Target: old.ID, Why: fmt.Sprintf("restarted more than %d times", mostAgain)})
		return
	}
	host := e.World.Host
	until := limits{old.Deadline, old.Wall}
	late := errors.New("it did not come back in time")
	for ctx.Err() == nil && !over(host, old.Deadline, old.Wall) {
		aimed, back, err := e.aimAgain(ctx, f, victim, until, old.tries+1)
		if err == nil && len(aimed) > 0 {
			e.reinject(ctx, back, victim, aimed, old.tries+1)
			return
		}
		if err != nil { // who lists it may not know yet that it has ended: it is looked for again
			late = fmt.Errorf("it did not come back in time: %w", err)
		}
		sleepUntil(ctx, host, host.Boottime().Add(lookOften*4), old.Wall)
	}
	e.record.Note(experiments.Event{Type: experiments.EventEndedEarly, Fault: f.Fault, Target: old.ID, Why: late.Error()})
}

// aimAgain finds the victim as it is now, and aims at it; nothing where it is not there.
func (e *Engine) aimAgain(ctx context.Context, f experiments.PlannedFault, victim int, until limits, try int) ([]*injection, experiments.PlannedFault, error) {
	found, ok := e.find(ctx, f, victim)
	if !ok {
		return nil, f, nil
	}
	f.Victims = slices.Clone(f.Victims)
	f.Victims[victim] = found
	f.For = experiments.Duration(until.boot.Sub(e.World.Host.Boottime()))
	aimed, err := e.aim(ctx, f, victim, until, fmt.Sprintf("r%d", try))
	return aimed, f, err
}

// reinject hits what came back, if its replica group can still bear it.
func (e *Engine) reinject(ctx context.Context, f experiments.PlannedFault, victim int, aimed []*injection, try int) {
	if err := e.recount(ctx, f); err != nil {
		e.refuse(f, f.Victims[victim].Name, err)
		return
	}
	for _, i := range e.injectAll(ctx, f, aimed) {
		i.tries = try
		e.hold(ctx, f, victim, i)
	}
}

// find looks for the victim after its restart: the same one by its identity, or
// else one of the same name that was not there when the plan was made.
func (e *Engine) find(ctx context.Context, f experiments.PlannedFault, victim int) (experiments.Candidate, bool) {
	fault, _ := e.Faults(f.Kind)
	choice, err := fault.Choose(ctx, e.World, e.settings(f))
	if err != nil {
		return experiments.Candidate{}, false // asked again until its time is over
	}
	was := f.Victims[victim]
	for _, c := range choice.Matched {
		if c.ID == was.ID {
			return c, true
		}
	}
	for _, c := range choice.Matched {
		known := slices.ContainsFunc(f.Victims, func(v experiments.Candidate) bool { return v.ID == c.ID })
		if !known && c.Name == was.Name {
			return c, true
		}
	}
	return experiments.Candidate{}, false
}

// recount looks at the replica groups again, under their leases: the world may
// have lost members since the plan was made.
func (e *Engine) recount(ctx context.Context, f experiments.PlannedFault) error {
	if len(f.Groups) == 0 || e.Plan.Experiment.Faults[f.Fault-1].Allows(experiments.DoorLastReplica) {
		return nil
	}
	var things []string
	for _, g := range f.Groups {
		things = append(things, "group/"+g.Name)
	}
	if err := e.Leases.Lease(things, e.World.Host.Now().Add(f.For.Std()+time.Minute), f.Kind); err != nil {
		return fmt.Errorf("lease the replica groups: %w", err)
	}
	fault, ok := e.Faults(f.Kind)
	if !ok {
		return fmt.Errorf("this build knows no fault %q", f.Kind)
	}
	choice, err := fault.Choose(ctx, e.World, e.settings(f))
	if err != nil {
		return fmt.Errorf("count the healthy replicas again: %w", err)
	}
	hit := map[string]bool{}
	for _, v := range f.Victims {
		hit[v.ID] = true
	}
	for _, g := range choice.Groups {
		if anyIn(g.Members, hit) && spared(g, hit) == 0 {
			return fmt.Errorf("%s would be left without a healthy member (%d healthy now): nothing was injected", g.Name, len(g.Healthy))
		}
	}
	return nil
}

// watchReturn asks how a target that was hit comes back by itself, until it is
// healthy or the run is over.
func (e *Engine) watchReturn(f experiments.PlannedFault, i *injection) {
	ctx := e.noReturns
	var last experiments.ReturnState
	for began := e.World.Host.Boottime(); ctx.Err() == nil; {
		back, err := i.fault.Return(ctx, e.World, i.Target)
		if err != nil {
			back = experiments.Return{State: experiments.ReturnUnknown, Why: err.Error()}
		}
		if ctx.Err() != nil {
			return
		}
		if back.State != last {
			last = back.State
			e.record.Note(experiments.Event{Type: experiments.EventReturned, Fault: f.Fault, Target: i.ID, Return: &back})
		}
		if back.State == experiments.ReturnHealthy {
			return
		}
		every := lookOften * 2
		if e.World.Host.Boottime().Sub(began) > 5*time.Second {
			every = lookSeldom
		}
		pause(ctx, every)
	}
}
