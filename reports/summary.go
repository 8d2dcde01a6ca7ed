package reports

import (
	"iter"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Summary is all that a report says of one run: the one value that every
// format renders. Offsets are since the run's start.
type Summary struct {
	Header   experiments.Header
	Verdict  experiments.Verdict
	Exit     experiments.Exit
	Axes     []Axis  // valid, hypothesis, recovery
	Checks   []Check // what the axes were folded from
	Undone   Undone
	Headline string   // what came out, in a sentence or two
	Because  string   // the headline without its first sentence
	Story    []string // what happened, in the order of time

	Complete bool // the timeline ran to its end
	Closed   bool // the record has an end
	Zero     time.Duration
	From, To time.Duration // what a picture shows
	Ended    time.Time     // the last thing that is known

	Phases []PhaseSpan
	Faults []Fault
	Probes []Probe
	Aborts []Abort
	Log    []Line // what was done, in the order of time
}

// Undone says whether everything was taken back.
type Undone string

// The answers.
const (
	UndoneYes     Undone = "true"
	UndoneNo      Undone = "false"
	UndoneUnknown Undone = "unknown"
)

// AxisName is one of the three questions of a verdict.
type AxisName string

// The axes.
const (
	AxisValid      AxisName = "valid"
	AxisHypothesis AxisName = "hypothesis"
	AxisRecovery   AxisName = "recovery"
)

// Axis is the answer to one of the three questions.
type Axis struct {
	Name AxisName
	experiments.Finding
}

// Check is one question with its answer; the worst of an axis's checks is the axis.
type Check struct {
	Axis    AxisName
	Name    string
	Verdict experiments.Verdict
	Skipped bool // there was nothing to ask
	Why     string
	Took    time.Duration // how long it was looked at
}

// Line is something that happened.
type Line struct {
	Off  time.Duration
	At   time.Time
	Text string
}

// PhaseSpan is when a phase was.
type PhaseSpan struct {
	Phase    experiments.Phase
	From, To time.Duration
	At       time.Time
}

// Abort is one reason for which the run was ended early.
type Abort struct {
	Off time.Duration
	At  time.Time
	By  experiments.AbortBy
	Why string
}

// Moment is when something happened: since the run's start, and by the wall clock.
type Moment struct {
	Off time.Duration
	At  time.Time
}

// Fault is one fault as it was asked for and as it went.
type Fault struct {
	Number       int
	Name, Kind   string
	Mechanism    string
	Keeper       experiments.Keeper
	At, For      time.Duration
	Asked        map[string]string
	Matched      int
	Skipped      []experiments.Skipped
	Refused      string
	Spread       time.Duration // from the first target's start to the last one's
	Hit          int           // how many targets were injected
	Irreversible bool          // nothing undoes it and nothing needs to
	Targets      []Target
}

// Target is one target as it was asked for and as it went.
type Target struct {
	ID          string
	Name        string
	Victim      experiments.Candidate
	Description experiments.Description
	State       string // an EffectState, or "not injected", "not confirmed", "failed to inject"
	Why         string
	Measured    map[string]string
	Injected    *Moment
	Undone      *Moment // verified
	InjectError string
	UndoError   string
	UndoneBy    string
	Open        bool // has to be healed, and no record says that it was
	EndedEarly  *Line
	Again       bool // injected again after a restart
	Return      *Return
}

// Return is how a target came back by itself.
type Return struct {
	State       experiments.ReturnState
	By, As, Why string
	Up, Healthy *Span // since the inject; nil: was not asked, or could not be read
}

// Probe is one probe's figures.
type Probe struct {
	Name, Kind, Expect    string
	Every                 time.Duration
	Tolerate              experiments.Tolerance
	Before, During, After Figures
	Outage                Span          // over During and After
	OutageMost            Span          // if all that could not be looked at was bad
	Outages               int           // how many stretches
	BadFrom, BadTo        time.Duration // from the first bad answer to the good one after the last; with BadEnded
	BadEnded              bool
	Recover               *Span // nil: nothing was seen after the last undo
	RecoverMost           *Span // if all that could not be looked at was bad
	BadReasons            []Reason
	UnknownReasons        []Reason
	Hypothesis, Recovery  experiments.Verdict
	Story                 string // what its longest outage looked like beside the faults
	Pixels                Pixels
}

// Fold makes the summary of a run's record. It reads the samples once, with
// memory that does not grow with their number. Samples may be nil. An error of
// samples makes the run inconclusive; only a record that is none is an error here.
func Fold(events []experiments.Event, samples iter.Seq2[experiments.Sample, error]) (Summary, error) {
	r, err := read(events)
	if err != nil {
		return Summary{}, err
	}
	s := foldSamples(r, samples)
	sum := Summary{
		Header: r.header,
		Closed: r.closed != nil, Complete: r.closed != nil && r.closed.Complete,
		Ended:  r.last.at,
		Phases: r.phases, Aborts: r.aborts, Log: r.log,
		From: r.from(), To: pictureEnd(r, s), Zero: r.zero(),
		Faults: faultsOf(r), Probes: probesOf(r, s),
	}
	if !sum.Closed && len(sum.Phases) > 0 { // nobody ended its last phase
		last := &sum.Phases[len(sum.Phases)-1]
		last.To = max(last.To, s.last)
	}
	judge(&sum, r, s)
	tell(&sum, r)
	return sum, nil
}

// samplesFold is all probes' samples.
type samplesFold struct {
	probes    []*probeFold
	last      time.Duration
	any       bool
	strangers uint64 // samples of probes that the plan does not name
	errors    uint64
	firstErr  string
}

func foldSamples(r *record, samples iter.Seq2[experiments.Sample, error]) *samplesFold {
	s := &samplesFold{}
	for range r.header.Plan.Experiment.Probes {
		s.probes = append(s.probes, newProbeFold(r))
	}
	if samples != nil {
		for sample, err := range samples {
			s.take(r, sample, err)
		}
	}
	for _, p := range s.probes {
		p.finish()
	}
	return s
}

func (s *samplesFold) take(r *record, sample experiments.Sample, err error) {
	if err != nil {
		s.errors++
		s.firstErr = firstOf(s.firstErr, err.Error())
		return
	}
	if sample.Probe < 0 || sample.Probe >= len(s.probes) {
		s.strangers++
		return
	}
	due := bounded(sample.Due.Sub(r.start.Boot))
	s.last, s.any = max(s.last, due), true
	s.probes[sample.Probe].add(r.phaseAt(due), due, sample)
}

// pictureEnd is the end of what can be seen: a fault that was healed by somebody
// hours later must not squeeze the samples into one pixel.
func pictureEnd(r *record, s *samplesFold) time.Duration {
	end := r.to()
	if s.any && (r.closed == nil || !r.closed.Complete) {
		most := s.last + max((s.last-r.from())/4, 2*time.Second)
		end = max(min(end, most), s.last)
	}
	return max(end, s.last, r.from()+time.Second)
}

// zero is the moment from which people count: the start of During.
func (r *record) zero() time.Duration {
	for _, p := range r.phases {
		if p.Phase == experiments.PhaseDuring {
			return p.From
		}
	}
	return 0
}

func faultsOf(r *record) []Fault {
	var faults []Fault
	for _, f := range r.faults {
		faults = append(faults, f.summary(r))
	}
	return faults
}

func (f *faultRecord) summary(r *record) Fault {
	out := Fault{
		Number: f.plan.Fault, Name: f.plan.Name, Kind: f.plan.Kind, At: f.plan.At.Std(), For: f.plan.For.Std(),
		Matched: f.plan.Matched, Skipped: f.plan.Skipped, Refused: f.refused, Irreversible: f.plan.For == 0,
	}
	var mechanisms []string
	var first, last *moment
	for _, t := range f.all() {
		target := t.summary(f, r)
		out.Targets = append(out.Targets, target)
		if d := t.description; d.Mechanism != "" {
			if !slices.Contains(mechanisms, d.Mechanism) {
				mechanisms = append(mechanisms, d.Mechanism)
			}
			out.Keeper = firstKeeper(out.Keeper, d.Keeper)
			out.Asked = firstMap(out.Asked, d.Asked)
		}
		if t.injected == nil || t.injectError != "" || t.again {
			continue
		}
		out.Hit++
		first, last = earlier(first, t.injected), later(last, t.injected)
	}
	if first != nil {
		out.Spread = last.off - first.off
	}
	out.Mechanism = list(mechanisms, len(mechanisms))
	out.Irreversible = out.Irreversible || out.Keeper == experiments.KeeperNone
	return out
}

func firstKeeper(a, b experiments.Keeper) experiments.Keeper {
	if a != "" {
		return a
	}
	return b
}

func firstMap(a, b map[string]string) map[string]string {
	if a != nil {
		return a
	}
	return b
}

func earlier(a, b *moment) *moment {
	if a == nil || b.off < a.off {
		return b
	}
	return a
}

func later(a, b *moment) *moment {
	if a == nil || b.off > a.off {
		return b
	}
	return a
}

// all gives the targets in the plan's order, with those that were never reached.
func (f *faultRecord) all() []*targetRecord {
	var all []*targetRecord
	for n, v := range f.plan.Victims {
		if f.latest(n) == nil {
			all = append(all, f.neverReached(n, v))
			continue
		}
		for _, t := range f.targets {
			if t.victim == n {
				all = append(all, t)
			}
		}
	}
	for _, t := range f.targets {
		if t.victim < 0 || t.victim >= len(f.plan.Victims) {
			all = append(all, t)
		}
	}
	return all
}

func (f *faultRecord) neverReached(n int, v experiments.Candidate) *targetRecord {
	t := &targetRecord{
		id: targetName(f.plan.Fault, n), name: v.Name, victim: n,
		refused: firstOf(f.refused, "the run ended before it was reached"),
	}
	if n < len(f.plan.Descriptions) && len(f.plan.Descriptions) == len(f.plan.Victims) {
		t.description = f.plan.Descriptions[n]
	}
	return t
}

func (t *targetRecord) summary(f *faultRecord, r *record) Target {
	out := Target{
		ID: t.id, Name: t.name, Description: t.description, Again: t.again,
		InjectError: t.injectError, UndoError: t.undoError, UndoneBy: t.undoneBy, EndedEarly: t.early,
		Open: t.open(), Return: t.comeback(r),
	}
	if t.victim >= 0 && t.victim < len(f.plan.Victims) {
		out.Victim = f.plan.Victims[t.victim]
	}
	if t.injected != nil && t.injectError == "" {
		out.Injected = &Moment{t.injected.off, t.injected.at}
	}
	if t.undone != nil && t.undoError == "" {
		out.Undone = &Moment{t.undone.off, t.undone.at}
	}
	out.State, out.Why = t.state()
	for _, e := range t.effects {
		if len(e.Measured) > 0 {
			out.Measured = e.Measured
		}
	}
	return out
}

// comeback is how far the target came back by itself, and how fast.
func (t *targetRecord) comeback(r *record) *Return {
	if len(t.returns) == 0 || t.injected == nil {
		return nil
	}
	last := t.returns[len(t.returns)-1]
	out := &Return{State: last.State, Why: last.Why}
	for _, b := range t.returns {
		out.By, out.As = firstOf(b.By, out.By), firstOf(b.As, out.As)
		since := Span{Length: b.off - t.injected.off}
		switch {
		case b.State == experiments.ReturnUp && out.Up == nil:
			out.Up = &since
		case b.State == experiments.ReturnHealthy && out.Healthy == nil:
			out.Healthy = &since
			if out.Up == nil {
				out.Up = &since
			}
		}
	}
	if out.Up == nil && out.State == experiments.ReturnDown {
		out.Up = &Span{Length: max(r.to()-t.injected.off, 0), AtLeast: true}
	}
	return out
}

func probesOf(r *record, s *samplesFold) []Probe {
	var probes []Probe
	for n, p := range r.header.Plan.Experiment.Probes {
		f := s.probes[n]
		probes = append(probes, Probe{
			Name: p.Name, Kind: p.Kind, Expect: p.Expect, Every: p.Every.Std(), Tolerate: p.Tolerate,
			Before: f.figures(experiments.PhaseBefore), During: f.figures(experiments.PhaseDuring), After: f.figures(experiments.PhaseAfter),
			Outage: f.seen.outage(), OutageMost: f.worst.outage(), Outages: f.seen.stretches, BadFrom: f.seen.whole.from, BadTo: f.seen.whole.to, BadEnded: f.seen.whole.ended, Recover: f.seen.recovery(), RecoverMost: f.worst.recovery(),
			BadReasons: f.reasons[experiments.OutcomeBad].sorted(), UnknownReasons: f.reasons[experiments.OutcomeUnknown].sorted(),
			Pixels: *f.pixels,
		})
	}
	return probes
}
