package reports

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// What keeps a record from being reported at all.
var (
	ErrNoHeader = errors.New("the record has no first line that says which run it is")
	ErrSchema   = errors.New("this build cannot read such a record")
)

// moment is when something happened: since the run's start, by the wall clock,
// and by its place in the record.
type moment struct {
	off   time.Duration
	at    time.Time
	place int
}

// record is the fold over a run's events alone; the samples come after it.
type record struct {
	header experiments.Header
	start  experiments.Event
	last   moment

	phases   []PhaseSpan
	faults   []*faultRecord
	baseline *experiments.Event
	closed   *experiments.Close
	aborts   []Abort
	lost     []Line // parent or holder lost, the tool failed
	unknown  []string
	holes    uint64 // lines that are missing between others
	seq      uint64
	lines    int
	log      []Line
}

// faultRecord is one planned fault and what happened to its targets.
type faultRecord struct {
	plan    experiments.PlannedFault
	refused string // the whole fault was, and why
	targets []*targetRecord
}

// targetRecord is one aimed target.
type targetRecord struct {
	id          string
	name        string
	victim      int // 0-based place in the plan, -1 when it cannot be told
	again       bool
	description experiments.Description

	aimed, injected, undoing, undone *moment
	injectError, undoError, undoneBy string
	refused                          string
	effects                          []effectAt
	early                            *Line
	restarted                        bool
	returns                          []returnAt
}

type effectAt struct {
	moment
	experiments.Effect
}

type returnAt struct {
	moment
	experiments.Return
}

// irreversible says that nothing undoes this fault and nothing needs to.
func (f *faultRecord) irreversible(t *targetRecord) bool {
	return t.description.Keeper == experiments.KeeperNone || f.plan.For == 0
}

// open says that the target has to be healed and that no record of it is there.
func (t *targetRecord) open() bool {
	if t.aimed == nil || t.refused != "" && t.injected == nil {
		return false
	}
	return t.undone == nil || t.injected != nil && t.injected.place > t.undone.place
}

// read folds the events. An event that this build does not know is kept and shown, never acted on.
func read(events []experiments.Event) (*record, error) {
	if len(events) == 0 || events[0].Type != experiments.EventRun || events[0].Header == nil {
		return nil, fmt.Errorf("read the events of a run: %w", ErrNoHeader)
	}
	r := &record{header: *events[0].Header, start: events[0]}
	if r.header.Schema != experiments.JournalSchema {
		return nil, fmt.Errorf("read a record of format %q (this build reads %q; use the version of faultline that made it, %q): %w",
			r.header.Schema, experiments.JournalSchema, r.header.Version, ErrSchema)
	}
	for _, f := range r.header.Plan.Faults {
		r.faults = append(r.faults, &faultRecord{plan: f})
	}
	for _, e := range events {
		r.take(e)
	}
	r.closePhases()
	return r, nil
}

// when places an event on the run's own clock. Another boot has another clock:
// then the wall clock must do.
func (r *record) when(e experiments.Event) moment {
	if e.BootID != "" && e.BootID != r.header.BootID || e.Boot < r.start.Boot {
		return moment{bounded(e.At.Sub(r.start.At)), e.At, r.lines}
	}
	return moment{bounded(e.Boot.Sub(r.start.Boot)), e.At, r.lines}
}

// farthest is how far from its start a run can reach: some seventy years. What
// a damaged record says beyond that would overflow every sum with it.
const farthest = time.Duration(1 << 61)

func bounded(off time.Duration) time.Duration { return min(max(off, -farthest), farthest) }

// takers is what each type of event does to the record.
var takers = map[experiments.EventType]func(*record, experiments.Event, moment){
	experiments.EventRun:        func(r *record, _ experiments.Event, m moment) { r.say(m, "the run began") },
	experiments.EventPhase:      (*record).takePhase,
	experiments.EventBaseline:   (*record).takeBaseline,
	experiments.EventAimed:      (*record).takeAimed,
	experiments.EventRefused:    (*record).takeRefused,
	experiments.EventInjected:   (*record).takeInjected,
	experiments.EventConfirmed:  (*record).takeConfirmed,
	experiments.EventReturned:   (*record).takeReturned,
	experiments.EventRestarted:  (*record).takeRestarted,
	experiments.EventEndedEarly: (*record).takeEndedEarly,
	experiments.EventAbort:      (*record).takeAbort,
	experiments.EventUndoing:    (*record).takeUndoing,
	experiments.EventUndone:     (*record).takeUndone,
	experiments.EventParentLost: (*record).takeLost,
	experiments.EventHolderLost: (*record).takeLost,
	experiments.EventNote:       func(r *record, e experiments.Event, m moment) { r.say(m, "note: %s", short(e.Why, longestLine)) },
	experiments.EventFailed:     (*record).takeLost,
	experiments.EventClosed:     (*record).takeClosed,
}

func (r *record) take(e experiments.Event) {
	r.lines++
	m := r.when(e)
	if e.Seq > r.seq+1 && r.seq > 0 {
		r.holes += e.Seq - r.seq - 1
	}
	r.seq = max(r.seq, e.Seq)
	r.last.off, r.last.at = max(r.last.off, m.off), e.At
	if taker, ok := takers[e.Type]; ok {
		taker(r, e, m)
		return
	}
	r.unknown = append(r.unknown, short(string(e.Type), 40))
	r.say(m, "an event of a kind that this version does not know: %s", short(string(e.Type), 40))
}

func (r *record) say(m moment, format string, args ...any) {
	r.log = append(r.log, Line{Off: m.off, At: m.at, Text: fmt.Sprintf(format, args...)})
}

func (r *record) takePhase(e experiments.Event, m moment) {
	r.closePhaseAt(m)
	r.phases = append(r.phases, PhaseSpan{Phase: e.Phase, From: m.off, To: m.off, At: m.at})
	r.say(m, "%s", phaseBegan(e.Phase))
}

func phaseBegan(p experiments.Phase) string {
	switch p {
	case experiments.PhaseBefore:
		return "before: the steady state is measured"
	case experiments.PhaseDuring:
		return "during: the faults begin"
	case experiments.PhaseAfter:
		return "after: recovery is watched"
	}
	return "phase " + short(string(p), 40)
}

func (r *record) closePhaseAt(m moment) {
	if n := len(r.phases); n > 0 {
		r.phases[n-1].To = m.off
	}
}

// closePhases ends the last phase of a run that did not end itself.
func (r *record) closePhases() {
	if r.closed == nil {
		r.closePhaseAt(moment{off: r.last.off})
	}
}

func (r *record) takeBaseline(e experiments.Event, m moment) {
	r.baseline = &e
	if e.Error != "" {
		r.say(m, "the steady state could not be relied on, so nothing was injected: %s%s", short(e.Error, longestLine), because(e.Why))
		return
	}
	r.say(m, "the steady state holds")
}

// fault gives the fault of an event; one that the plan does not name is added, so that nothing is lost.
func (r *record) fault(number int) *faultRecord {
	if number < 1 || number > len(r.faults)+1 {
		number = len(r.faults) + 1
	}
	if number > len(r.faults) {
		r.faults = append(r.faults, &faultRecord{plan: experiments.PlannedFault{Fault: number, Name: "not in the plan"}})
		r.unknown = append(r.unknown, "a fault that is not in the plan")
	}
	return r.faults[number-1]
}

// target finds the target of an event by its ID, or makes it.
func (r *record) target(e experiments.Event) (*faultRecord, *targetRecord) {
	for _, f := range r.faults {
		for _, t := range f.targets {
			if t.id == e.Target {
				return f, t
			}
		}
	}
	f := r.fault(e.Fault)
	t := &targetRecord{id: e.Target, name: e.Target}
	t.victim, t.again = placeOf(e.Target)
	if t.victim >= 0 && t.victim < len(f.plan.Victims) {
		t.name = f.plan.Victims[t.victim].Name
	}
	f.targets = append(f.targets, t)
	return f, t
}

var targetID = regexp.MustCompile(`^\d+\.(\d+)(?:\.\d+)?(r\d+)?$`)

// placeOf reads "2.3r1": the third victim, injected again.
func placeOf(id string) (victim int, again bool) {
	m := targetID.FindStringSubmatch(id)
	if m == nil {
		return -1, false
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1, false
	}
	return n - 1, m[2] != ""
}

func (r *record) takeAimed(e experiments.Event, m moment) {
	_, t := r.target(e)
	t.aimed = &m
	if e.Injection != nil {
		t.description = e.Injection.Description
		t.name = t.description.Name
	}
}

func (r *record) takeRefused(e experiments.Event, m moment) {
	why := firstOf(e.Error, e.Why, "no reason was recorded")
	if e.Target != "" {
		_, t := r.target(e)
		t.refused = why
		r.say(m, "%s was not touched: %s", named(t.name), short(why, longestLine))
		return
	}
	f := r.fault(e.Fault)
	for n, v := range f.plan.Victims {
		if e.Why == "" || v.Name != e.Why {
			continue
		}
		if t := f.latest(n); t != nil {
			t.early = &Line{Off: m.off, At: m.at, Text: "it could not be injected again: " + why}
		} else {
			f.targets = append(f.targets, &targetRecord{id: fmt.Sprintf("%d.%d", f.plan.Fault, n+1), name: v.Name, victim: n, refused: why})
		}
		r.say(m, "%s was not touched: %s", named(v.Name), short(why, longestLine))
		return
	}
	f.refused = why
	r.say(m, "fault %s was not injected: %s", named(f.plan.Name), short(why, longestLine))
}

// latest is the newest target of a victim; nil when it was never reached.
func (f *faultRecord) latest(victim int) *targetRecord {
	for n := len(f.targets) - 1; n >= 0; n-- {
		if f.targets[n].victim == victim {
			return f.targets[n]
		}
	}
	return nil
}

func (r *record) takeInjected(e experiments.Event, m moment) {
	f, t := r.target(e)
	t.injected, t.injectError = &m, e.Error
	if e.Error != "" {
		r.say(m, "%s could not be hit: %s", named(t.name), short(e.Error, longestLine))
		return
	}
	r.say(m, "%s %s (%s)", named(t.name), whatHappened(f.plan.Kind), named(f.plan.Name))
}

func (r *record) takeConfirmed(e experiments.Event, m moment) {
	if e.Effect == nil {
		return
	}
	_, t := r.target(e)
	changed := len(t.effects) == 0 || t.effects[len(t.effects)-1].State != e.Effect.State
	t.effects = append(t.effects, effectAt{m, *e.Effect})
	if changed {
		r.say(m, "%s read back: %s%s", named(t.name), e.Effect.State, because(e.Effect.Why))
	}
}

func because(why string) string {
	if why == "" {
		return ""
	}
	return " (" + short(why, longestLine) + ")"
}

func (r *record) takeReturned(e experiments.Event, m moment) {
	if e.Return == nil {
		return
	}
	_, t := r.target(e)
	t.returns = append(t.returns, returnAt{m, *e.Return})
	r.say(m, "%s is %s%s", named(t.name), returnWords[e.Return.State], because(firstOf(e.Return.By, e.Return.Why)))
}

var returnWords = map[experiments.ReturnState]string{
	experiments.ReturnDown:    "down",
	experiments.ReturnUp:      "up again",
	experiments.ReturnHealthy: "healthy again",
	experiments.ReturnUnknown: "in a state that could not be read",
	"":                        "in a state that was not recorded",
}

func (r *record) takeRestarted(e experiments.Event, m moment) {
	_, t := r.target(e)
	t.restarted = true
	r.say(m, "%s is another one now%s", named(t.name), because(e.Why))
}

func (r *record) takeEndedEarly(e experiments.Event, m moment) {
	_, t := r.target(e)
	t.early = &Line{Off: m.off, At: m.at, Text: firstOf(e.Why, e.Error, "no reason was recorded")}
	r.say(m, "the fault on %s ended early: %s", named(t.name), short(t.early.Text, longestLine))
}

func (r *record) takeAbort(e experiments.Event, m moment) {
	r.aborts = append(r.aborts, Abort{Off: m.off, At: m.at, By: e.Abort, Why: firstOf(e.Why, e.Error)})
	r.say(m, "the run was ended early by %s%s", abortedBy(e.Abort), because(firstOf(e.Why, e.Error)))
}

func (r *record) takeUndoing(e experiments.Event, m moment) {
	_, t := r.target(e)
	t.undoing = &m
}

func (r *record) takeUndone(e experiments.Event, m moment) {
	f, t := r.target(e)
	t.undone, t.undoError, t.undoneBy = &m, e.Error, e.By
	switch {
	case e.Error != "":
		r.say(m, "%s could not be put back: %s", named(t.name), short(e.Error, longestLine))
	case !f.irreversible(t):
		r.say(m, "%s was put back, and this was verified%s", named(t.name), because(e.By))
	}
}

func (r *record) takeLost(e experiments.Event, m moment) {
	line := Line{Off: m.off, At: m.at, Text: lostWords[e.Type] + because(firstOf(e.Error, e.Why))}
	r.lost = append(r.lost, line)
	r.log = append(r.log, line)
}

var lostWords = map[experiments.EventType]string{
	experiments.EventParentLost: "the command that watched the run was lost; its holder healed everything and ended",
	experiments.EventHolderLost: "the process that held the faults was lost; faultline took over and healed what was left",
	experiments.EventFailed:     "faultline itself failed",
}

func (r *record) takeClosed(e experiments.Event, m moment) {
	if r.closed != nil { // somebody healed what was left; how the run itself ended stands
		r.say(m, "what was left of the run was closed%s", because(firstOf(e.By, closer(e.Close))))
		return
	}
	r.closePhaseAt(m) // what is healed later, by somebody else, belongs to no phase
	r.closed = &experiments.Close{By: e.By}
	if e.Close != nil {
		r.closed = e.Close
	}
	r.say(m, "the run ended")
}

func closer(c *experiments.Close) string {
	if c == nil {
		return ""
	}
	return c.By
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// from and to bound the picture: the phases, or else all events.
func (r *record) from() time.Duration {
	if len(r.phases) > 0 {
		return r.phases[0].From
	}
	return 0
}

func (r *record) to() time.Duration {
	if len(r.phases) > 0 {
		return r.phases[len(r.phases)-1].To
	}
	return r.last.off
}

// phaseAt is the phase in which something was due.
func (r *record) phaseAt(due time.Duration) experiments.Phase {
	phase := experiments.PhaseBefore
	for _, p := range r.phases {
		if due < p.From {
			break
		}
		phase = p.Phase
	}
	return phase
}

// recoveryOrigin is from when recovery counts: the last undo, or the inject of
// what has none, if that is later. It is unknown while something is open.
func (r *record) recoveryOrigin() (time.Duration, bool) {
	var origin time.Duration
	known := false
	for _, f := range r.faults {
		for _, t := range f.targets {
			switch {
			case f.irreversible(t) && t.injected != nil:
				origin, known = max(origin, t.injected.off), true
			case t.undone != nil && t.injected != nil:
				origin, known = max(origin, t.undone.off), true
			case t.open() && !f.irreversible(t):
				return 0, false
			}
		}
	}
	return origin, known
}
