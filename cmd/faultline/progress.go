package main

import (
	"fmt"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// lines is progress for a log: one line for each thing that happens.
type lines struct {
	a    *app
	plan experiments.Plan
	now  func() time.Time

	mu     sync.Mutex
	names  map[string]string // an injection's ID to its target's name
	once   map[string]bool   // injections that need no undoing
	closed bool
}

// progress shows a run while it goes on: live on a terminal, else in plain lines.
type progress interface {
	scheduler.Progress
	Close()
}

func (a *app) progress(plan experiments.Plan, host platform.Host) progress {
	if screen, ok := a.terminal(); ok {
		return a.live(plan, host, screen)
	}
	return a.lines(plan)
}

func (a *app) lines(plan experiments.Plan) *lines {
	return &lines{a: a, plan: plan, now: time.Now, names: map[string]string{}, once: map[string]bool{}}
}

// Close ends it; doing it again is fine.
func (l *lines) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
}

// Sample writes what was not good, when more was asked for; the live view counts all.
func (l *lines) Sample(s experiments.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.tellSample(s)
	}
}

func (l *lines) tellSample(s experiments.Sample) {
	if l.a.verbose && s.Outcome != experiments.OutcomeGood && s.Probe < len(l.plan.Experiment.Probes) {
		text := fmt.Sprintf("%s: %s: %s", l.plan.Experiment.Probes[s.Probe].Name, s.Outcome, s.Why)
		l.a.say("%s %s", l.now().Local().Format("15:04:05.000"), printable(l.a.secrets.Redact(text)))
	}
}

// Event writes its line.
func (l *lines) Event(e experiments.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.tell(e)
}

// tell writes one line; the lock is held.
func (l *lines) tell(e experiments.Event) {
	if e.Injection != nil {
		l.names[e.Target] = e.Injection.Description.Name
		l.once[e.Target] = e.Injection.Description.Keeper == experiments.KeeperNone
	}
	if text := l.text(e); text != "" {
		l.a.say("%s %s", e.At.Local().Format("15:04:05.000"), printable(l.a.secrets.Redact(text)))
	}
}

// verboseTexts are told only when more was asked for.
var verboseTexts = map[experiments.EventType]string{
	experiments.EventAimed: "aimed at", experiments.EventUndoing: "undoing", experiments.EventClosed: "record closed",
}

func (l *lines) text(e experiments.Event) string {
	what := orNothing("", l.names[e.Target])
	if e.Fault > 0 && e.Fault <= len(l.plan.Faults) {
		what = l.plan.Faults[e.Fault-1].Kind + orNothing(" on ", what)
	}
	failed := orNothing(": ", e.Error)
	if more, ok := verboseTexts[e.Type]; ok && l.a.verbose {
		return more + " " + what + failed
	}
	switch e.Type {
	case experiments.EventRun:
		return "run " + e.Header.Run
	case experiments.EventPhase:
		return "phase " + string(e.Phase)
	case experiments.EventBaseline:
		return "baseline " + orNothing("", e.Error) + orNothing(" ", e.Why)
	case experiments.EventInjected:
		return "injected " + what + failed
	case experiments.EventConfirmed, experiments.EventRestarted:
		if e.Effect == nil {
			return ""
		}
		return fmt.Sprintf("%s: %s%s", what, e.Effect.State, orNothing(": ", e.Effect.Why))
	case experiments.EventReturned:
		if e.Return == nil {
			return ""
		}
		return fmt.Sprintf("%s: target is %s%s", what, e.Return.State, orNothing(", by ", e.Return.By))
	case experiments.EventUndone:
		if l.once[e.Target] && e.Error == "" {
			return ""
		}
		return "undone " + what + failed
	case experiments.EventRefused, experiments.EventEndedEarly, experiments.EventAbort, experiments.EventFailed, experiments.EventNote:
		return string(e.Type) + " " + what + orNothing(" ", e.Why) + failed
	}
	return ""
}
