package scheduler

import (
	"fmt"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
)

// Refusal is why nothing was started: every reason at once, and the exit code.
type Refusal struct {
	Code    experiments.Exit
	Reasons []string
}

func (r *Refusal) Error() string {
	if len(r.Reasons) == 1 {
		return r.Reasons[0]
	}
	return fmt.Sprintf("%d reasons:\n  - %s", len(r.Reasons), strings.Join(r.Reasons, "\n  - "))
}

// reasons gathers refusals; the worst code of them answers.
type reasons struct {
	codes []experiments.Exit
	texts []string
}

func (r *reasons) add(code experiments.Exit, format string, args ...any) {
	r.codes = append(r.codes, code)
	r.texts = append(r.texts, fmt.Sprintf(format, args...))
}

func (r *reasons) err() error {
	if len(r.texts) == 0 {
		return nil
	}
	return &Refusal{Code: experiments.WorstExit(r.codes...), Reasons: r.texts}
}
