package scheduler

import (
	"fmt"
	"sync"

	"github.com/faultline-sh/faultline/experiments"
)

// leastBaseline is how many samples a baseline needs: fewer say nothing about a steady state.
const leastBaseline = 3

// BaselineFold judges the samples of Before as they come and keeps only counts:
// its memory does not grow with the length of the phase. The order of the
// samples does not matter.
type BaselineFold struct {
	probes []experiments.Probe

	mu    sync.Mutex
	taken []tally
}

// NewBaselineFold begins a baseline of these probes.
func NewBaselineFold(ps []experiments.Probe) *BaselineFold {
	return &BaselineFold{probes: ps, taken: make([]tally, len(ps))}
}

// Sample takes the next answer.
func (f *BaselineFold) Sample(s experiments.Sample) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.taken[s.Probe].add(s)
}

// Verdict says whether the baseline held: whether every probe kept its share of
// good answers. It is unknown when it neither held nor was broken for certain:
// then the answers that never came decide.
func (f *BaselineFold) Verdict() (held, unknown bool, why []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	broken, unclear, samples := false, false, 0
	for i, p := range f.probes {
		samples += f.taken[i].all()
		verdict, because := f.taken[i].baseline(p)
		broken = broken || verdict == experiments.OutcomeBad
		unclear = unclear || verdict == experiments.OutcomeUnknown
		if verdict != experiments.OutcomeGood {
			why = append(why, because)
		}
	}
	if broken || unclear {
		return false, !broken, why
	}
	if len(f.probes) == 0 {
		return true, false, []string{"there is no probe, so nothing was asked"}
	}
	return true, false, []string{fmt.Sprintf("the steady state held (probes: %d, samples: %d)", len(f.probes), samples)}
}

// tally counts samples by outcome.
type tally struct {
	good, bad, unknown int
	whyBad, whyUnknown string
}

func (t *tally) add(s experiments.Sample) {
	switch s.Outcome {
	case experiments.OutcomeGood:
		t.good++
	case experiments.OutcomeBad:
		t.bad++
		t.whyBad = worded(t.whyBad, s.Why)
	default:
		t.unknown++
		t.whyUnknown = worded(t.whyUnknown, s.Why)
	}
}

// worded keeps one reason, the same one whatever the order of the samples.
func worded(kept, why string) string {
	if kept == "" {
		return why
	}
	return min(kept, why)
}

func (t tally) all() int { return t.good + t.bad + t.unknown }

// within says whether the share of good answers is at least need, whether the
// unknown ones were all good or all bad; unknown when that makes a difference.
func (t tally) within(need experiments.Share) experiments.Outcome {
	const lastBit = 1e-9 // keeps 99 of 100 from missing 99% by a float's last bit
	least := float64(need)*float64(t.all()) - lastBit
	switch {
	case float64(t.good) >= least:
		return experiments.OutcomeGood
	case float64(t.good+t.unknown) < least:
		return experiments.OutcomeBad
	}
	return experiments.OutcomeUnknown
}

func (t tally) baseline(p experiments.Probe) (experiments.Outcome, string) {
	need := experiments.Share(1)
	if p.Tolerate.Before != nil {
		need = *p.Tolerate.Before
	}
	if t.all() < leastBaseline {
		return experiments.OutcomeUnknown, fmt.Sprintf("probe %q has %d samples from before the faults and a baseline needs %d: make timeline.before longer, or every shorter", p.Name, t.all(), leastBaseline)
	}
	outcome := t.within(need)
	if outcome == experiments.OutcomeBad {
		return outcome, fmt.Sprintf("probe %q was good %d times of %d before anything was done, and %s is needed: %s", p.Name, t.good, t.all(), need, t.whyBad)
	}
	return outcome, fmt.Sprintf("probe %q could not be looked at %d times of %d, and %d good answers do not decide whether %s is kept: %s", p.Name, t.unknown, t.all(), t.good, need, t.whyUnknown)
}
