package scheduler

import (
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
)

// leastBaseline is how many samples a baseline needs: fewer say nothing about a steady state.
const leastBaseline = 3

// Baseline judges the samples of Before, given by probe. It held when every
// probe kept its share of good answers. It is unknown when it neither held nor
// was broken for certain: the answers that never came decide. Only counts
// matter, so the order of the samples does not.
func Baseline(byProbe [][]experiments.Sample, ps []experiments.Probe) (held, unknown bool, why []string) {
	broken, unclear, samples := false, false, 0
	for i, p := range ps {
		var taken tally
		if i < len(byProbe) {
			taken = count(byProbe[i])
		}
		samples += taken.all()
		verdict, because := taken.baseline(p)
		broken = broken || verdict == experiments.OutcomeBad
		unclear = unclear || verdict == experiments.OutcomeUnknown
		if verdict != experiments.OutcomeGood {
			why = append(why, because)
		}
	}
	if broken || unclear {
		return false, !broken, why
	}
	return true, false, []string{fmt.Sprintf("the steady state held (probes: %d, samples: %d)", len(ps), samples)}
}

// tally counts samples by outcome.
type tally struct {
	good, bad, unknown int
	whyBad, whyUnknown string
}

func count(samples []experiments.Sample) tally {
	var t tally
	for _, s := range samples {
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
	return t
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
