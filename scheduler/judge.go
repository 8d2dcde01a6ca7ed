package scheduler

import (
	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/probes"
)

// judges compiles expectations. A thousand probes often share a few, and
// compiling one takes longer than evaluating it a thousand times.
type judges map[expected]*experiments.Expectation

type expected struct{ kind, source string }

func (j judges) of(p experiments.Probe, kind probes.Kind) (func(experiments.Reading) (experiments.Outcome, string), error) {
	key := expected{p.Kind, p.Expect}
	if key.source == "" {
		key.source = kind.Expect
	}
	e, known := j[key]
	if !known {
		var err error
		if e, err = experiments.CompileExpect(key.source, kind.Reading); err != nil {
			return nil, err
		}
		j[key] = e
	}
	return func(r experiments.Reading) (experiments.Outcome, string) { return experiments.Judge(r, e) }, nil
}
