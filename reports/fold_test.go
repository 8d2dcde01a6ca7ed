package reports_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

// letters are a probe's answers, one a second: g good, b bad, u could not look.
type letters struct{ before, during, after string }

const boot experiments.Boottime = 5_000_000_000

// record is a run with one probe that is asked once a second, and one container
// that is frozen for the whole of During.
func record(tolerate experiments.Tolerance, l letters) ([]experiments.Event, []experiments.Sample) {
	plan := experiments.Plan{
		Schema: experiments.PlanSchema, Seed: 7,
		Experiment: experiments.Experiment{
			Name: "test", Hypothesis: "it holds",
			Timeline: experiments.Timeline{Before: seconds(len(l.before)), During: seconds(len(l.during)), After: seconds(len(l.after))},
			Probes:   []experiments.Probe{{Name: "answers", Kind: "http", Every: seconds(1), Tolerate: tolerate}},
			Faults:   []experiments.Fault{{Name: "freeze", Kind: "container.pause", For: seconds(len(l.during))}},
		},
		Faults: []experiments.PlannedFault{{
			Fault: 1, Name: "freeze", Kind: "container.pause", For: seconds(len(l.during)), Matched: 1,
			Victims: []experiments.Candidate{{Kind: "container", ID: "c0ffee", Name: "web-2"}},
		}},
	}
	during := time.Duration(len(l.before)) * time.Second
	after := during + time.Duration(len(l.during))*time.Second
	end := after + time.Duration(len(l.after))*time.Second
	undone := true
	r := &lines{}
	r.add(0, experiments.Event{Type: experiments.EventRun, Header: &experiments.Header{Schema: experiments.JournalSchema, Run: "r1", BootID: "b1", Started: wall, Plan: plan}})
	r.add(0, experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseBefore})
	r.add(during, experiments.Event{Type: experiments.EventBaseline})
	r.add(during, experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseDuring})
	r.add(during, experiments.Event{Type: experiments.EventAimed, Fault: 1, Target: "1.1", Injection: &experiments.Injection{
		ID: "1.1", Fault: 1, Kind: "container.pause", Description: experiments.Description{Kind: "container", ID: "c0ffee", Name: "web-2", Mechanism: "engine API", Keeper: experiments.KeeperJournal},
	}})
	r.add(during, experiments.Event{Type: experiments.EventInjected, Fault: 1, Target: "1.1"})
	r.add(during, experiments.Event{Type: experiments.EventConfirmed, Fault: 1, Target: "1.1", Effect: &experiments.Effect{State: experiments.EffectOn}})
	r.add(after, experiments.Event{Type: experiments.EventUndoing, Fault: 1, Target: "1.1"})
	r.add(after, experiments.Event{Type: experiments.EventUndone, Fault: 1, Target: "1.1"})
	r.add(after, experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseAfter})
	r.add(end, experiments.Event{Type: experiments.EventClosed, Close: &experiments.Close{By: "parent", Undone: &undone, Complete: true}})
	var samples []experiments.Sample
	for n, letter := range l.before + l.during + l.after {
		samples = append(samples, sample(time.Duration(n)*time.Second, letter))
	}
	return r.events, samples
}

var wall = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

type lines struct{ events []experiments.Event }

func (r *lines) add(at time.Duration, e experiments.Event) {
	e.Seq, e.At, e.Boot = uint64(len(r.events)+1), wall.Add(at), boot.Add(at)
	r.events = append(r.events, e)
}

func seconds(n int) experiments.Duration { return experiments.Duration(time.Duration(n) * time.Second) }

func sample(due time.Duration, letter rune) experiments.Sample {
	s := experiments.Sample{Due: boot.Add(due), Took: 10 * time.Millisecond, Outcome: experiments.OutcomeGood}
	switch letter {
	case 'b':
		s.Outcome, s.Why = experiments.OutcomeBad, "connection refused"
	case 'u':
		s.Outcome, s.Why = experiments.OutcomeUnknown, "no answer from the engine"
	}
	return s
}

func folded(t *testing.T, events []experiments.Event, samples []experiments.Sample) reports.Summary {
	t.Helper()
	return fold(t, canned.Run{Name: "test", Events: events, Every: samples})
}

func share(v float64) *experiments.Share { s := experiments.Share(v); return &s }

func within(n int) *experiments.Duration { d := seconds(n); return &d }

func verdicts(s reports.Summary) string {
	words := []string{}
	for _, a := range s.Axes {
		words = append(words, a.Verdict.String())
	}
	return strings.Join(words, " ")
}

func whys(s reports.Summary) string {
	text := ""
	for _, a := range s.Axes {
		text += strings.Join(a.Why, "\n") + "\n"
	}
	return text
}

func TestAVerdictFollowsFromTheAnswers(t *testing.T) {
	const ten = "gggggggggg"
	for _, row := range []struct {
		name     string
		tolerate experiments.Tolerance
		letters
		want string // valid, hypothesis, recovery
		exit experiments.Exit
		why  string
	}{
		{"all answers are good", experiments.Tolerance{}, letters{"ggg", ten, ten}, "passed passed passed", 0, "all 10 answers were good"},
		{"one bad answer is too many where nothing is tolerated", experiments.Tolerance{}, letters{"ggg", "ggggbggggg", ten}, "passed failed passed", 1, "1 of 10 answers was bad (90 % good; all were asked to be good)"},
		{"one bad answer of ten is within 90 %", experiments.Tolerance{During: share(0.9)}, letters{"ggg", "ggggbggggg", ten}, "passed passed passed", 0, "90 % good; at least 90 % was asked"},
		{"an outage longer than allowed fails though the share is enough", experiments.Tolerance{During: share(0.5), Outage: within(2)}, letters{"ggg", "gggbbbgggg", ten}, "passed failed passed", 1, "the longest outage was 3 s (2 s was allowed)"},
		{"an outage as long as allowed is allowed", experiments.Tolerance{During: share(0.5), Outage: within(3)}, letters{"ggg", "gggbbbgggg", ten}, "passed passed passed", 0, ""},
		{"an outage runs on into After", experiments.Tolerance{During: share(0.5), Outage: within(3)}, letters{"ggg", "ggggggggbb", "bbgggggggg"}, "passed failed passed", 1, "longest outage was 4 s"},
		{"an outage that never ends is at least as long as it was seen", experiments.Tolerance{During: share(0.5)}, letters{"ggg", ten, "ggggbbbbbb"}, "passed passed failed", 1, "was not good again within 10 s"},
		{"good again in time", experiments.Tolerance{During: share(0.5), Recover: within(3)}, letters{"ggg", ten, "bbbggggggg"}, "passed passed passed", 0, "good for good 3 s after"},
		{"good again too late", experiments.Tolerance{During: share(0.5), Recover: within(3)}, letters{"ggg", ten, "bbbbgggggg"}, "passed passed failed", 1, "good for good 4 s after the last fault was over (3 s was allowed)"},
		{"good for a while is not good for good", experiments.Tolerance{During: share(0.5), Recover: within(3)}, letters{"ggg", ten, "gggggggbgg"}, "passed passed failed", 1, "good for good 8 s after"},
		{"nobody could look at any answer during the faults", experiments.Tolerance{During: share(0.5)}, letters{"ggg", "uuuuuuuuuu", ten}, "passed inconclusive passed", 3, "depends on what could not be looked at"},
		{"unknown answers do not matter where the rest is enough", experiments.Tolerance{During: share(0.5)}, letters{"ggg", "gggggguuuu", ten}, "passed passed passed", 0, "4 could not be looked at"},
		{"unknown answers do not help where the bad ones are too many", experiments.Tolerance{During: share(0.5)}, letters{"ggg", "bbbbbbuuuu", ten}, "passed failed passed", 1, ""},
		{"unknown answers might be the outage", experiments.Tolerance{During: share(0.1), Outage: within(2)}, letters{"ggg", "gguuuugggg", ten}, "passed inconclusive passed", 3, ""},
		{"unknown answers at the end leave recovery open", experiments.Tolerance{}, letters{"ggg", ten, "gggggggggu"}, "passed passed inconclusive", 3, ""},
		{"an answer before the faults was bad after all", experiments.Tolerance{}, letters{"gbg", ten, ten}, "inconclusive passed passed", 3, "Before the faults, 1 of 3 answers was bad"},
		{"the baseline tolerates a share", experiments.Tolerance{Before: share(0.6)}, letters{"gbg", ten, ten}, "passed passed passed", 0, ""},
		{"no answer was taken after the faults", experiments.Tolerance{}, letters{"ggg", ten, ""}, "passed passed inconclusive", 3, "no answer was taken after the last fault"},
		{"too many bad answers in a row", experiments.Tolerance{Abort: 3}, letters{"ggg", "gggbbbgggg", ten}, "passed failed passed", 1, "3 bad answers came in a row"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := folded(t, first(record(row.tolerate, row.letters)), second(record(row.tolerate, row.letters)))
			if got := verdicts(s); got != row.want {
				t.Errorf("valid, hypothesis, recovery: got %s, want %s\n%s", got, row.want, whys(s))
			}
			if s.Exit != row.exit {
				t.Errorf("exit code: got %d, want %d", s.Exit, row.exit)
			}
			if !strings.Contains(whys(s), row.why) {
				t.Errorf("no sentence says %q:\n%s", row.why, whys(s))
			}
		})
	}
}

func first[A, B any](a A, _ B) A  { return a }
func second[A, B any](_ A, b B) B { return b }

func TestATimeThatNeverCameIsAtLeast(t *testing.T) {
	s := folded(t, first(record(experiments.Tolerance{}, letters{"ggg", "ggggg", "gbbbbb"})), second(record(experiments.Tolerance{}, letters{"ggg", "ggggg", "gbbbbb"})))
	p := s.Probes[0]
	if !p.Outage.AtLeast || p.Outage.Length != 4*time.Second {
		t.Errorf("outage: got %v, want at least 4 s: from the first bad answer to the last one seen", p.Outage)
	}
	if p.Recover == nil || !p.Recover.AtLeast || p.Recover.Length != 6*time.Second {
		t.Errorf("recovery: got %v, want at least 6 s: all of After", p.Recover)
	}
}

// change is one thing that happens to a good record.
type change func([]experiments.Event) []experiments.Event

func without(types ...experiments.EventType) change {
	return func(events []experiments.Event) []experiments.Event {
		kept := slices.DeleteFunc(slices.Clone(events), func(e experiments.Event) bool { return slices.Contains(types, e.Type) })
		for n := range kept { // they were never written: no line is missing
			kept[n].Seq = uint64(n + 1)
		}
		return kept
	}
}

func until(t experiments.EventType) change {
	return func(events []experiments.Event) []experiments.Event {
		return events[:slices.IndexFunc(events, func(e experiments.Event) bool { return e.Type == t })]
	}
}

// also puts an event before the end of the record, five seconds into it.
func also(e experiments.Event) change {
	return func(events []experiments.Event) []experiments.Event {
		last := len(events) - 1
		e.At, e.Boot = wall.Add(5*time.Second), boot.Add(5*time.Second)
		out := append(slices.Clone(events[:last]), e, events[last])
		for n := range out {
			out[n].Seq = uint64(n + 1)
		}
		return out
	}
}

func edit(t experiments.EventType, what func(*experiments.Event)) change {
	return func(events []experiments.Event) []experiments.Event {
		out := slices.Clone(events)
		for n := range out {
			if out[n].Type == t {
				what(&out[n])
			}
		}
		return out
	}
}

func header(what func(*experiments.Header)) change {
	return edit(experiments.EventRun, func(e *experiments.Event) {
		h := *e.Header
		h.Plan.Faults = slices.Clone(h.Plan.Faults)
		what(&h)
		e.Header = &h
	})
}

func TestAVerdictFollowsFromWhatWasDone(t *testing.T) {
	effect := func(state experiments.EffectState, why string) change {
		return edit(experiments.EventConfirmed, func(e *experiments.Event) { e.Effect = &experiments.Effect{State: state, Why: why} })
	}
	for _, row := range []struct {
		name   string
		change change
		want   string
		exit   experiments.Exit
		undone reports.Undone
		why    string
	}{
		{"nothing special", func(e []experiments.Event) []experiments.Event { return e }, "passed passed passed", 0, reports.UndoneYes, ""},
		{"the fault was never read back", without(experiments.EventConfirmed), "inconclusive passed passed", 3, reports.UndoneYes, "never read back"},
		{"the fault was read back as not there", effect(experiments.EffectOff, ""), "inconclusive passed passed", 3, reports.UndoneYes, `read back as "not"`},
		{"the fault was there only partly", effect(experiments.EffectPartly, "one of two rules"), "inconclusive passed passed", 3, reports.UndoneYes, "one of two rules"},
		{"nobody could look whether the fault was there", effect(experiments.EffectUnknown, "no right"), "inconclusive passed passed", 3, reports.UndoneYes, "no right"},
		{"the target vanished", effect(experiments.EffectGone, "no such container"), "inconclusive passed passed", 3, reports.UndoneYes, "no such container"},
		{"being gone is what a kill asks for", func(e []experiments.Event) []experiments.Event {
			return header(func(h *experiments.Header) { h.Plan.Faults[0].For = 0 })(effect(experiments.EffectGone, "")(e))
		}, "passed passed passed", 0, reports.UndoneYes, "leaves nothing behind"},
		{"the fault ended early", also(experiments.Event{Type: experiments.EventEndedEarly, Fault: 1, Target: "1.1", Why: "it restarted"}), "inconclusive passed passed", 3, reports.UndoneYes, "2 s after its start: it restarted"},
		{"the inject failed", edit(experiments.EventInjected, func(e *experiments.Event) { e.Error = "no such container" }), "inconclusive passed passed", 3, reports.UndoneYes, "could not be injected"},
		{"the undo failed", edit(experiments.EventUndone, func(e *experiments.Event) { e.Error = "still paused" }), "passed passed failed", 6, reports.UndoneNo, "still paused"},
		{"the undo failed, and somebody did it later", func(events []experiments.Event) []experiments.Event {
			r := lines{edit(experiments.EventUndone, func(e *experiments.Event) { e.Error = "still paused" })(events)}
			r.add(time.Minute, experiments.Event{Type: experiments.EventUndone, Fault: 1, Target: "1.1", By: "undo"})
			r.add(time.Minute, experiments.Event{Type: experiments.EventClosed, Close: &experiments.Close{By: "undo"}})
			return r.events
		}, "passed passed inconclusive", 3, reports.UndoneYes, "no answer was taken after the last fault"},
		{"no undo stands in the record", without(experiments.EventUndone), "passed passed inconclusive", 6, reports.UndoneUnknown, "no record says that web-2 was put back"},
		{"an inject lands after its undo", also(experiments.Event{Type: experiments.EventInjected, Fault: 1, Target: "1.1"}), "passed passed inconclusive", 6, reports.UndoneUnknown, ""},
		{"the run was killed in its middle", until(experiments.EventUndoing), "inconclusive inconclusive inconclusive", 6, reports.UndoneUnknown, "its record has no end"},
		{"the run was killed before it injected", until(experiments.EventAimed), "inconclusive inconclusive passed", 3, reports.UndoneYes, "nothing was injected"},
		{"the holder was lost", also(experiments.Event{Type: experiments.EventHolderLost, Why: "killed"}), "inconclusive inconclusive passed", 3, reports.UndoneYes, "process that held the faults was lost"},
		{"the parent was lost", also(experiments.Event{Type: experiments.EventParentLost}), "inconclusive inconclusive passed", 3, reports.UndoneYes, "command that watched the run was lost"},
		{"the tool itself failed", also(experiments.Event{Type: experiments.EventFailed, Error: "out of memory"}), "inconclusive inconclusive passed", 3, reports.UndoneYes, "out of memory"},
		{"a guard ended the run", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortGuard, Why: "50 in a row"}), "inconclusive inconclusive passed", 4, reports.UndoneYes, "50 in a row"},
		{"a halt ended the run", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortHalt}), "inconclusive inconclusive passed", 4, reports.UndoneYes, "halt"},
		{"the disk was full", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortDisk}), "inconclusive inconclusive passed", 4, reports.UndoneYes, ""},
		{"Ctrl-C ended the run", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortInt}), "inconclusive inconclusive passed", 130, reports.UndoneYes, ""},
		{"SIGTERM ended the run", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortTerm}), "inconclusive inconclusive passed", 143, reports.UndoneYes, ""},
		{"the terminal was closed", also(experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortHup}), "inconclusive inconclusive passed", 129, reports.UndoneYes, ""},
		{"an event is of a kind that this build does not know", also(experiments.Event{Type: "teleported"}), "inconclusive passed passed", 3, reports.UndoneYes, "teleported"},
		{"a line is missing", func(events []experiments.Event) []experiments.Event { return slices.Delete(slices.Clone(events), 6, 7) }, "inconclusive passed inconclusive", 6, reports.UndoneUnknown, "1 line of its record is missing"},
		{"the baseline was skipped", header(func(h *experiments.Header) { h.Plan.Experiment.Timeline.Before = 0 }), "inconclusive passed passed", 3, reports.UndoneYes, "before: 0s"},
		{"nothing says that the run got to its end", edit(experiments.EventClosed, func(e *experiments.Event) { e.Close = &experiments.Close{By: "parent"} }), "inconclusive passed passed", 3, reports.UndoneYes, "did not get to the end"},
	} {
		t.Run(row.name, func(t *testing.T) {
			events, samples := record(experiments.Tolerance{}, letters{"ggg", "gggggggggg", "gggggggggg"})
			s := folded(t, row.change(events), samples)
			if got := verdicts(s); got != row.want {
				t.Errorf("valid, hypothesis, recovery: got %s, want %s\n%s", got, row.want, whys(s))
			}
			if s.Exit != row.exit || s.Undone != row.undone {
				t.Errorf("got exit code %d and undone %s, want %d and %s", s.Exit, s.Undone, row.exit, row.undone)
			}
			if !strings.Contains(whys(s), row.why) {
				t.Errorf("no sentence says %q:\n%s", row.why, whys(s))
			}
		})
	}
}

func TestWhatCannotBeReadIsAnErrorOrInconclusive(t *testing.T) {
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "ggg", "ggg"})
	if _, err := reports.Fold(nil, nil); !errors.Is(err, reports.ErrNoHeader) {
		t.Errorf("a record without events: got %v, want ErrNoHeader", err)
	}
	if _, err := reports.Fold(events[1:], nil); !errors.Is(err, reports.ErrNoHeader) {
		t.Errorf("a record without its first line: got %v, want ErrNoHeader", err)
	}
	newer := header(func(h *experiments.Header) { h.Schema = "faultline/journal/v9" })(events)
	if _, err := reports.Fold(newer, nil); !errors.Is(err, reports.ErrSchema) {
		t.Errorf("a record of a newer format: got %v, want ErrSchema", err)
	}
	if s := fold(t, canned.Run{Events: events}); s.Exit != experiments.ExitInconclusive {
		t.Errorf("a run without samples: got exit code %d, want 3", s.Exit)
	}
	s, err := reports.Fold(events, func(yield func(experiments.Sample, error) bool) {
		for _, one := range samples {
			if !yield(one, nil) {
				return
			}
		}
		yield(experiments.Sample{}, errors.New("a block is damaged"))
	})
	if err != nil || s.Axes[0].Verdict != experiments.Inconclusive || !strings.Contains(whys(s), "a block is damaged") {
		t.Errorf("damaged samples: got %v, %s; want an inconclusive run that says so", err, verdicts(s))
	}
	stranger := append(slices.Clone(samples), experiments.Sample{Probe: 9, Due: boot})
	if s := folded(t, events, stranger); s.Axes[0].Verdict != experiments.Inconclusive {
		t.Errorf("a sample of an unknown probe: got %s, want inconclusive", s.Axes[0].Verdict)
	}
}

func TestAnEventOfAnotherBootIsPlacedByTheWallClock(t *testing.T) {
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "ggg", "ggg"})
	r := lines{edit(experiments.EventUndone, func(e *experiments.Event) { e.Error = "still paused" })(events)}
	r.add(time.Hour, experiments.Event{Type: experiments.EventUndone, Fault: 1, Target: "1.1", By: "undo", BootID: "b2"})
	r.events[len(r.events)-1].Boot = boot + 1 // this boot has only just begun
	got := folded(t, r.events, samples).Faults[0].Targets[0].Undone
	if got == nil || got.Off != time.Hour {
		t.Errorf("undone at %v, want an hour after the start", got)
	}
}

func TestSlowAnswersThatComeLateFindTheirPlace(t *testing.T) {
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "ggbbbggggg", "gggggggggg"})
	want := folded(t, events, samples).Probes[0].Outage
	slices.Reverse(samples)
	if got := folded(t, events, samples).Probes[0].Outage; got != want || got.Length != 3*time.Second {
		t.Errorf("outage of samples in another order: got %v, want %v", got, want)
	}
}

// H70: flapping, slow, failing and unanswerable: each is told apart, and the
// same samples give the same verdict and the same bytes, a hundred times.
func TestH70_AFlappingTargetIsJudgedTheSameEveryTime(t *testing.T) {
	tolerate := experiments.Tolerance{During: share(0.6), Outage: within(1)}
	events, samples := record(tolerate, letters{"ggg", "ggbggbggbggbu", "gggggggggg"})
	s := folded(t, events, samples)
	p := s.Probes[0]
	if p.During.Good != 8 || p.During.Bad != 4 || p.During.Unknown != 1 {
		t.Errorf("good, bad, unknown: got %d, %d, %d, want 8, 4, 1", p.During.Good, p.During.Bad, p.During.Unknown)
	}
	if p.Outages != 4 || p.Outage.Length != 2*time.Second {
		t.Errorf("got %d stretches of bad answers, the longest %v; want 4, and 2 s to the next known good one", p.Outages, p.Outage)
	}
	var seen uint32
	for _, pixel := range p.Pixels.Each {
		seen += pixel.Samples()
	}
	if int(seen) != len(samples) {
		t.Errorf("the picture stands for %d samples, want all %d", seen, len(samples))
	}
	for _, f := range reports.Formats() {
		want := rendered(t, s, f.Name)
		for range 100 {
			if got := rendered(t, folded(t, events, samples), f.Name); string(got) != string(want) {
				t.Fatalf("%s: the same samples gave other bytes", f.Name)
			}
		}
	}
}

// H72: worst wins, and never 0.
func TestH72_TheWorstWins(t *testing.T) {
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "ggg", "ggg"})
	twenty := header(func(h *experiments.Header) {
		for n := 2; n <= 20; n++ {
			h.Plan.Faults[0].Victims = append(slices.Clone(h.Plan.Faults[0].Victims), experiments.Candidate{Name: "web-x"})
		}
	})(events)
	if s := folded(t, twenty, samples); s.Verdict != experiments.Inconclusive || s.Exit != 3 {
		t.Errorf("1 of 20 targets hit: got %s and exit code %d, want inconclusive and 3", s.Verdict, s.Exit)
	}
	fifteen := header(func(h *experiments.Header) {
		for n := 1; n < 15; n++ {
			h.Plan.Experiment.Probes = append(slices.Clone(h.Plan.Experiment.Probes), experiments.Probe{Name: "other", Every: seconds(1)})
		}
	})(events)
	var all []experiments.Sample
	for n := range 15 {
		for _, one := range samples {
			one.Probe = n
			if n == 0 && one.Due == boot.Add(4*time.Second) {
				one.Outcome = experiments.OutcomeBad
			}
			all = append(all, one)
		}
	}
	if s := folded(t, fifteen, all); s.Verdict != experiments.Failed || s.Exit != 1 {
		t.Errorf("the first of 15 probes failed: got %s and exit code %d, want failed and 1", s.Verdict, s.Exit)
	}
	broken := edit(experiments.EventUndone, func(e *experiments.Event) { e.Error = "still paused" })(events)
	if s := folded(t, broken, samples); s.Exit != 6 {
		t.Errorf("the undo failed after a pass: got exit code %d, want 6", s.Exit)
	}
}

// H74: no targets, or none that could be hit, is never a pass.
func TestH74_NoTargetIsNeverAPass(t *testing.T) {
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "ggg", "ggg"})
	untouched := without(experiments.EventAimed, experiments.EventInjected, experiments.EventConfirmed, experiments.EventUndoing, experiments.EventUndone)(events)
	for name, changed := range map[string]change{
		"no fault":             header(func(h *experiments.Header) { h.Plan.Faults = nil }),
		"no target":            header(func(h *experiments.Header) { h.Plan.Faults[0].Victims = nil }),
		"refused at the start": also(experiments.Event{Type: experiments.EventRefused, Fault: 1, Error: "the last healthy replica"}),
		"refused by name":      also(experiments.Event{Type: experiments.EventRefused, Fault: 1, Why: "web-2", Error: "aim: the target is gone"}),
		"never reached":        func(e []experiments.Event) []experiments.Event { return e },
	} {
		t.Run(name, func(t *testing.T) {
			s := folded(t, changed(untouched), samples)
			if s.Verdict != experiments.Inconclusive || s.Exit != 3 {
				t.Errorf("got %s and exit code %d, want inconclusive and 3", s.Verdict, s.Exit)
			}
			if s.Undone != reports.UndoneYes {
				t.Errorf("undone: got %s, want true: nothing was injected", s.Undone)
			}
		})
	}
}

// H75: no score is shown, and no probes is no pass.
func TestH75_NoScoreIsShownAndNoProbesProveNothing(t *testing.T) {
	r, _ := canned.Find("no-probes")
	s := fold(t, r)
	if s.Axes[1].Verdict != experiments.Inconclusive || s.Exit != 3 {
		t.Errorf("a run without probes: got %s and exit code %d, want inconclusive and 3", s.Axes[1].Verdict, s.Exit)
	}
	for _, f := range reports.Formats() {
		if text := strings.ToLower(string(rendered(t, s, f.Name))); strings.Contains(text, "score") {
			t.Errorf("%s shows a score", f.Name)
		}
	}
}

// H76: a probe has a result for each phase, and two probes of one name stay two.
func TestH76_EveryPhaseHasItsOwnResult(t *testing.T) {
	events, samples := record(experiments.Tolerance{During: share(0.5)}, letters{"ggg", "gbgg", "gggg"})
	events = header(func(h *experiments.Header) {
		h.Plan.Experiment.Probes = append(slices.Clone(h.Plan.Experiment.Probes), h.Plan.Experiment.Probes[0])
	})(events)
	for _, one := range slices.Clone(samples) {
		one.Probe, one.Outcome, one.Why = 1, experiments.OutcomeGood, ""
		samples = append(samples, one)
	}
	var d reports.Document
	if err := json.Unmarshal(rendered(t, folded(t, events, samples), "json"), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Probes) != 2 || d.Probes[0].During.Bad != 1 || d.Probes[1].During.Bad != 0 {
		t.Fatalf("two probes of one name: got %+v", d.Probes)
	}
	p := d.Probes[0]
	if p.Before.Samples != 3 || p.During.Samples != 4 || p.After.Samples != 4 || p.Before.Bad != 0 || p.After.Bad != 0 {
		t.Errorf("before, during, after: got %+v, %+v, %+v", p.Before, p.During, p.After)
	}
}
