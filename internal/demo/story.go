package demo

import (
	"fmt"

	"github.com/faultline-sh/faultline/examples"
	"github.com/faultline-sh/faultline/experiments"
)

// Chapter is one experiment of the demo and how it is meant to end.
type Chapter struct {
	File   string
	Text   []byte
	Meant  experiments.Exit
	Told   string // before it, for people
	Lesson string // after it, when it ended as meant
}

// Chapters are the demo's experiments, in order; examples/demo has them to read.
func Chapters() []Chapter {
	return []Chapter{
		{
			File: "demo/kill.yaml", Text: examples.Demo("kill.yaml"), Meant: experiments.ExitPassed,
			Told:   "One of three replicas is killed. The balancer should ask another one, and nobody should notice.",
			Lesson: "It held: a killed replica refuses connections, so the balancer knows at once and asks the next one.",
		},
		{
			File: "demo/freeze.yaml", Text: examples.Demo("freeze.yaml"), Meant: experiments.ExitFailed,
			Told:   "One of three replicas is frozen: it takes requests and never answers. Is that noticed as fast? (It is not: this one is meant to fail.)",
			Lesson: fmt.Sprintf("It failed, as it was meant to: a frozen replica still takes connections, and the balancer's health check (every %s, out after %d that fail) is too slow. Until then every third reader waits in vain.", CheckEvery, CheckFall),
		},
	}
}
