package scheduler

import (
	"fmt"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// defaultBlind is how long a guard may be unable to look when its author said nothing.
const defaultBlind = 10 * time.Second

// Guard is a live fold over the samples: it ends the run when a probe was bad
// too often in a row, or could not be looked at for too long. It has no clock of
// its own: every question that was due becomes a sample, also the unanswered one.
type Guard struct {
	start experiments.Boottime
	trip  func(why string)

	mu      sync.Mutex
	watches []watch
	over    bool
}

// watch is what the guard remembers of one probe.
type watch struct {
	name  string
	abort int
	blind time.Duration

	badInRow int
	darkness experiments.Boottime // when the first question since the last answer was due
	dark     bool
}

// NewGuard watches samples that are due from start on. It calls trip at most
// once, with a sentence that says why, from within Sample.
func NewGuard(ps []experiments.Probe, start experiments.Boottime, trip func(why string)) *Guard {
	g := &Guard{start: start, trip: trip, watches: make([]watch, len(ps))}
	for i, p := range ps {
		blind := p.Tolerate.Blind.Std()
		if blind <= 0 {
			blind = defaultBlind
		}
		g.watches[i] = watch{name: p.Name, abort: p.Tolerate.Abort, blind: blind}
	}
	return g
}

// Sample takes the next answer. Answers count in the order in which they come:
// a run that is to be ended must not wait for a slow one.
func (g *Guard) Sample(s experiments.Sample) {
	if why := g.fold(s); why != "" {
		g.trip(why)
	}
}

// Close ends the watch: later samples trip nothing.
func (g *Guard) Close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.over = true
}

func (g *Guard) fold(s experiments.Sample) (why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.over || s.Due < g.start {
		return ""
	}
	why = g.watches[s.Probe].fold(s)
	g.over = why != ""
	return why
}

func (w *watch) fold(s experiments.Sample) (why string) {
	if s.Outcome == experiments.OutcomeUnknown {
		return w.foldUnknown(s)
	}
	w.dark = false
	if s.Outcome == experiments.OutcomeGood {
		w.badInRow = 0
		return ""
	}
	w.badInRow++
	if w.abort > 0 && w.badInRow >= w.abort {
		return fmt.Sprintf("probe %q was bad %d times in a row, which is its limit (abort: %d); last: %s", w.name, w.badInRow, w.abort, s.Why)
	}
	return ""
}

// foldUnknown leaves the count of bad answers as it is: not having looked proves nothing.
func (w *watch) foldUnknown(s experiments.Sample) (why string) {
	if !w.dark {
		w.dark, w.darkness = true, s.Due
	}
	known := s.Due.Add(s.Late + s.Took)
	if blind := known.Sub(w.darkness); blind > w.blind {
		return fmt.Sprintf("probe %q could not be looked at for %s, longer than it may be blind (%s); last: %s", w.name, blind.Round(time.Millisecond), w.blind, s.Why)
	}
	return ""
}
