package main

import (
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

func TestSeveralRunsAnswerByTheWorstOfThem(t *testing.T) {
	for _, c := range []struct {
		name  string
		codes []experiments.Exit
		want  experiments.Exit
	}{
		{"all passed", []experiments.Exit{0, 0}, experiments.ExitPassed},
		{"one failed", []experiments.Exit{0, experiments.ExitFailed}, experiments.ExitFailed},
		{"all were refused: nothing was started", []experiments.Exit{experiments.ExitRefused, experiments.ExitRefused}, experiments.ExitRefused},
		{"the first was refused and another one started", []experiments.Exit{experiments.ExitRefused, 0}, experiments.ExitInconclusive},
		{"a later one was refused", []experiments.Exit{0, experiments.ExitRefused}, experiments.ExitInconclusive},
		{"something still broken beats all", []experiments.Exit{experiments.ExitRefused, experiments.ExitStillBroken, experiments.ExitInt}, experiments.ExitStillBroken},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := worstOfRuns(c.codes); got != c.want {
				t.Errorf("got %d, want %d", got, c.want)
			}
		})
	}
}
