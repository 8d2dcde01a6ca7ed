package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// stillHost is a host on which no time passes.
type stillHost struct{ platform.Host }

func (stillHost) Boottime() experiments.Boottime { return 0 }

// liveOn paints on a file; its size cannot be asked, so it is 80 by 24.
func liveOn(t *testing.T, noColor string, plan experiments.Plan) (*live, func() string) {
	t.Helper()
	screen, err := os.Create(filepath.Join(t.TempDir(), "screen"))
	if err != nil {
		t.Fatal(err)
	}
	a := &app{out: new(bytes.Buffer), err: screen, getenv: func(name string) string {
		return map[string]string{"NO_COLOR": noColor}[name]
	}}
	l := a.live(plan, stillHost{}, screen)
	t.Cleanup(func() {
		l.Close()
		screen.Close()
	})
	return l, func() string {
		text, err := os.ReadFile(screen.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
}

func livePlan() experiments.Plan {
	return experiments.Plan{
		Experiment: experiments.Experiment{
			Timeline: experiments.Timeline{Before: experiments.Duration(9 * time.Second)},
			Probes:   []experiments.Probe{{Name: "evil \x1b[2J\nname"}, {Name: strings.Repeat("wide", 100)}},
		},
		Faults: []experiments.PlannedFault{{Fault: 1, Kind: "process.pause", For: experiments.Duration(5 * time.Second)}},
	}
}

func TestTheLiveViewShowsWhatStandsNow(t *testing.T) {
	l, screen := liveOn(t, "", livePlan())
	l.Event(experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseDuring})
	l.Event(experiments.Event{Type: experiments.EventAimed, Target: "1.1", Injection: &experiments.Injection{ID: "1.1", Description: experiments.Description{Name: "redis"}}})
	l.Event(experiments.Event{Type: experiments.EventInjected, Fault: 1, Target: "1.1"})
	for range 3 {
		l.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeGood, Took: 12 * time.Millisecond})
	}
	l.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeBad, Took: 12 * time.Millisecond})
	l.Sample(experiments.Sample{Probe: 1, Outcome: experiments.OutcomeUnknown})
	l.Sample(experiments.Sample{Probe: 7})
	before := len(screen())
	l.Event(experiments.Event{Type: experiments.EventNote, Why: "look"})
	now := screen()[before:]
	for _, want := range []string{"during, 5s left", "Ctrl-C", "on: process.pause on redis", " 75.00% of 4 good, median 12ms", "no answer yet, could not look 1 times", "look", "\x1b[31m"} {
		if !strings.Contains(now, want) {
			t.Errorf("there is no %q in\n%q", want, now)
		}
	}
	if strings.Contains(now, "\x1b[2J") || strings.Contains(now, "evil \n") {
		t.Errorf("a name steers the terminal: %q", now)
	}
	for _, line := range strings.Split(now, "\n") {
		if bare := strings.NewReplacer("\x1b[31m", "", "\x1b[32m", "", "\x1b[0m", "").Replace(line); len([]rune(bare)) > 100 {
			t.Errorf("a line of %d letters: %q", len(bare), line)
		}
	}
	before = len(screen())
	l.Event(experiments.Event{Type: experiments.EventUndone, Fault: 1, Target: "1.1"})
	if strings.Contains(screen()[before:], "on: process.pause") {
		t.Error("what was undone still stands there")
	}
	l.Close()
	if text := screen(); !strings.HasSuffix(text, "\x1b[J") {
		t.Errorf("the painted lines stay: %q", text[len(text)-100:])
	}
}

func TestNoColourWhereNoneIsWanted(t *testing.T) {
	l, screen := liveOn(t, "1", livePlan())
	l.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeBad})
	l.Event(experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseBefore})
	l.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeBad})
	l.Event(experiments.Event{Type: experiments.EventNote, Why: "x"})
	if text := screen(); strings.Contains(text, "\x1b[31m") || strings.Contains(text, "\x1b[0m") {
		t.Errorf("there is colour in %q", text)
	}
}

func TestALogHasPlainLinesOnly(t *testing.T) {
	var log bytes.Buffer
	a := &app{err: &log, verbose: true, getenv: func(string) string { return "" }}
	if _, ok := a.terminal(); ok {
		t.Fatal("a buffer is taken for a terminal")
	}
	p := a.progress(livePlan(), stillHost{})
	p.Event(experiments.Event{Type: experiments.EventNote, Why: "evil \x1b[2J name"})
	p.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeGood})
	p.Sample(experiments.Sample{Probe: 0, Outcome: experiments.OutcomeBad, Why: "refused"})
	p.Close()
	p.Event(experiments.Event{Type: experiments.EventNote, Why: "too late"})
	if text := log.String(); strings.Contains(text, "\x1b") || strings.Count(text, "\n") != 2 || !strings.Contains(text, "name: bad: refused") {
		t.Errorf("wrote %q", text)
	}
}
