package experiments

import "fmt"

// Catalog is what the parser may meet: the kinds of faults and probes of this
// build. The tables of the injectors and probes packages make it; the parser
// itself knows no kind by name.
type Catalog struct {
	Faults []FaultKind
	Probes []ProbeKind
}

// FaultKind is what the parser must know of a fault.
type FaultKind struct {
	Kind     string     // "container.crash"
	Summary  string     // one line for `list faults`
	Settings func() any // a pointer to the zero settings; `json` tags name the keys, Checker checks them
	Undoable bool       // true: `for` is required
}

// ProbeKind is what the parser must know of a probe.
type ProbeKind struct {
	Kind     string
	Summary  string
	Settings func() any
	Expect   string  // the expectation when the author wrote none
	Reading  Reading // a sample reading: names and types for CEL, and what `validate` evaluates on
	MaxRate  float64 // most samples a second over all probes of this kind; 0: no bound
}

// Reading is what a probe saw: names to values (bool, int64, float64, string,
// time.Duration, map[string]string).
type Reading map[string]any

// Checker is settings that can check themselves beyond their types.
type Checker interface {
	// Check gives every problem at once; Field is the path below the settings, as "select.port".
	Check() []FieldProblem
}

// FieldProblem is what is wrong with one field, and what was meant.
type FieldProblem struct {
	Field   string
	Problem string
}

// Problem is something wrong in a document, at its place.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Problem string `json:"problem"`
}

func (p Problem) String() string {
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Problem)
}
