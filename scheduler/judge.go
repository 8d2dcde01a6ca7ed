package scheduler

import (
	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/probes"
)

func judgeOf(p experiments.Probe, kind probes.Kind) (func(experiments.Reading) (experiments.Outcome, string), error) {
	return func(r experiments.Reading) (experiments.Outcome, string) {
		if e, _ := r["error"].(string); e != "" {
			return experiments.OutcomeBad, e
		}
		return experiments.OutcomeGood, ""
	}, nil
}
