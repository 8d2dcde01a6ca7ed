package experiments

import "time"

// Outcome is how one sample is judged. OutcomeUnknown is our own inability to look.
type Outcome uint8

// The outcomes.
const (
	OutcomeUnknown Outcome = iota
	OutcomeGood
	OutcomeBad
)

func (o Outcome) String() string { return [...]string{"unknown", "good", "bad"}[o] }

// Sample is one answer of one probe. It belongs to the phase in which it was
// due, whatever the phase in which its answer came.
type Sample struct {
	Probe   int           // 0-based place in the experiment
	Due     Boottime      // by the open schedule
	Late    time.Duration // how much after Due the question was really asked
	Took    time.Duration // from the question to the answer
	Outcome Outcome
	Why     string // why it is bad or unknown, short; "" when good
}
