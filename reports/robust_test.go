package reports_test

import (
	"encoding/json"
	"io"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

// A run can be killed after any line of its record: it has a report all the
// same, and it never passes.
func TestARecordThatEndsAnywhereHasAReportAndNeverPasses(t *testing.T) {
	for _, r := range canned.Runs() {
		for end := 1; end < len(r.Events); end++ {
			cut := canned.Run{Name: r.Name, Events: r.Events[:end], Every: r.Every}
			s := fold(t, cut)
			if s.Exit == experiments.ExitPassed || s.Verdict == experiments.Passed {
				t.Errorf("%s cut after line %d of %d (%s): got %s and exit code %d", r.Name, end, len(r.Events), r.Events[end-1].Type, s.Verdict, s.Exit)
			}
			if open := stillOpen(cut.Events); open != (s.Undone != reports.UndoneYes) {
				t.Errorf("%s cut after line %d (%s): undone is %s, and a target is open: %v", r.Name, end, r.Events[end-1].Type, s.Undone, open)
			}
			for _, f := range reports.Formats() {
				if len(rendered(t, s, f.Name)) == 0 {
					t.Errorf("%s cut after line %d: %s is empty", r.Name, end, f.Name)
				}
			}
		}
	}
}

// stillOpen counts anew, and simply: aimed, and not undone since.
func stillOpen(events []experiments.Event) bool {
	open := map[string]bool{}
	for _, e := range events {
		switch {
		case e.Type == experiments.EventAimed:
			open[e.Target] = true
		case e.Type == experiments.EventUndone && e.Error == "":
			delete(open, e.Target)
		}
	}
	return len(open) > 0
}

// records writes a run's events as a journal does, all but the first one changed.
func records(t testing.TB, r canned.Run, change func(*experiments.Event)) string {
	t.Helper()
	var text strings.Builder
	encoder := json.NewEncoder(&text)
	for n, e := range r.Events {
		if n > 0 {
			change(&e)
		}
		if err := encoder.Encode(e); err != nil {
			t.Fatal(err)
		}
	}
	return text.String()
}

// FuzzFold: whatever stands in a record, there is a report or an error, and no panic.
func FuzzFold(f *testing.F) {
	for _, r := range canned.Runs() {
		f.Add(records(f, r, func(*experiments.Event) {}), int64(0), int64(1), byte(1))
	}
	for _, r := range canned.Runs()[:1] {
		f.Add(records(f, r, func(e *experiments.Event) { e.At = time.Time{} }), int64(math.MaxInt64), int64(math.MaxInt64), byte(2))
		f.Add(records(f, r, func(e *experiments.Event) { e.Boot *= -5_000 }), int64(math.MinInt64), int64(math.MinInt64), byte(1))
		f.Add(records(f, r, func(e *experiments.Event) { e.BootID, e.At = "other", time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC) }), int64(math.MaxInt64/2), int64(5), byte(2))
		f.Add(records(f, r, func(e *experiments.Event) { e.Fault, e.Target = -7, "" }), int64(1), int64(-5), byte(0))
		f.Add(records(f, r, func(e *experiments.Event) {
			e.Fault, e.Target, e.Injection, e.Effect, e.Close = 1<<40, "x", nil, nil, nil
		}), int64(1), int64(-5), byte(0))
	}
	f.Fuzz(func(t *testing.T, text string, due, took int64, outcome byte) {
		var events []experiments.Event
		for decoder := json.NewDecoder(strings.NewReader(text)); ; {
			var e experiments.Event
			if decoder.Decode(&e) != nil {
				break
			}
			events = append(events, e)
		}
		s, err := reports.Fold(events, func(yield func(experiments.Sample, error) bool) {
			for n := range int64(3) {
				if !yield(experiments.Sample{Due: experiments.Boottime(due * n), Took: experiments.Duration(took).Std(), Outcome: experiments.Outcome(outcome % 3)}, nil) {
					return
				}
			}
		})
		if err != nil {
			return
		}
		for _, f := range reports.Formats() {
			if err := f.Render(io.Discard, s); err != nil {
				t.Errorf("%s: %v", f.Name, err)
			}
		}
	})
}
