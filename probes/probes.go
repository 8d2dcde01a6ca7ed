// Package probes holds the questions that are asked of a system: one file per
// probe, one explicit table.
//
// A probe looks and says what it saw. It refuses to judge (package experiments
// evaluates `expect`, the scheduler keeps time), to retry, and to take its own
// inability for an answer: what the service's user would have suffered is a
// reading; what kept us from looking is an error.
package probes

import (
	"context"
	"encoding/json"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Probe is one open question. Look answers within the probe's own timeout, is
// safe for concurrent use, and gives an error only when it could not look.
type Probe interface {
	Look(ctx context.Context) (experiments.Reading, error)
	Close() error
}

// Kind is one line of the table.
type Kind struct {
	experiments.ProbeKind
	// Open makes a probe of its settings; it does not look yet.
	Open func(w *platform.World, settings json.RawMessage) (Probe, error)
	// Example is a document's `probes:` item for `init`, YAML, commented.
	Example string
}
