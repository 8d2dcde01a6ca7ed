package journal

import (
	"slices"

	"github.com/faultline-sh/faultline/experiments"
)

// State is what a record says of its run so far.
type State struct {
	Header *experiments.Header // nil: nothing was written yet
	Open   []Open              // what must still be healed, in the order of injection; heal in reverse
	Hit    int                 // injections that were acted on, healed or not
	Closed *experiments.Close  // how the run's own processes ended it; nil: they did not (yet)

	Aborted    experiments.AbortBy // first way by which the run was made to end early, "" for none
	AbortWhy   string
	Failed     string // the tool itself failed: first such error
	HolderLost bool
	ParentLost bool
}

// Open is one injection that is not known to be healed.
type Open struct {
	Injection  experiments.Injection
	Acted      bool // Inject returned, or something was seen of it; false: it may still have happened
	Undoing    bool // somebody has begun to undo it
	LastError  string
	LastEffect *experiments.Effect
}

// Done says that nothing is left to heal.
func (s State) Done() bool { return len(s.Open) == 0 }

// Fold is what the events amount to. An injection is open from `aimed` until a
// verified `undone`, or a `refused` of that target before anything was done to it.
func Fold(events []experiments.Event) State {
	f := folding{open: map[string]*Open{}}
	for _, e := range events {
		if step, ok := steps[e.Type]; ok {
			step(&f, e)
		}
	}
	for _, id := range f.order {
		if o := f.open[id]; o != nil {
			f.state.Open = append(f.state.Open, *o)
		}
	}
	return f.state
}

type folding struct {
	state State
	open  map[string]*Open
	order []string // IDs in the order in which they were aimed, each once
}

var steps = map[experiments.EventType]func(*folding, experiments.Event){
	experiments.EventRun:        (*folding).run,
	experiments.EventAimed:      (*folding).aimed,
	experiments.EventRefused:    (*folding).refused,
	experiments.EventInjected:   (*folding).injected,
	experiments.EventConfirmed:  (*folding).seen,
	experiments.EventReturned:   (*folding).seen,
	experiments.EventUndoing:    (*folding).undoing,
	experiments.EventUndone:     (*folding).undone,
	experiments.EventAbort:      (*folding).abort,
	experiments.EventFailed:     (*folding).failed,
	experiments.EventHolderLost: func(f *folding, _ experiments.Event) { f.state.HolderLost = true },
	experiments.EventParentLost: func(f *folding, _ experiments.Event) { f.state.ParentLost = true },
	experiments.EventClosed:     func(f *folding, e experiments.Event) { f.state.Closed = e.Close },
}

func (f *folding) run(e experiments.Event) {
	if f.state.Header == nil {
		f.state.Header = e.Header
	}
}

func (f *folding) aimed(e experiments.Event) {
	o := Open{LastError: "the record does not say what was aimed at: heal it by hand"}
	o.Injection.ID, o.Injection.Fault = e.Target, e.Fault
	if e.Injection != nil {
		o = Open{Injection: *e.Injection}
	}
	// The last one aimed is the last one to be listed, also under an ID that was used before.
	f.order = append(slices.DeleteFunc(f.order, func(id string) bool { return id == o.Injection.ID }), o.Injection.ID)
	f.open[o.Injection.ID] = &o
}

func (f *folding) refused(e experiments.Event) {
	if o := f.open[e.Target]; o != nil && !o.Acted {
		delete(f.open, e.Target)
	}
}

func (f *folding) injected(e experiments.Event) {
	if o := f.open[e.Target]; o != nil {
		o.Acted, o.LastError = true, e.Error
		f.state.Hit++
	}
}

func (f *folding) seen(e experiments.Event) {
	if o := f.open[e.Target]; o != nil {
		o.Acted = true
		if e.Effect != nil {
			o.LastEffect = e.Effect
		}
	}
}

func (f *folding) undoing(e experiments.Event) {
	if o := f.open[e.Target]; o != nil {
		o.Undoing = true
	}
}

func (f *folding) undone(e experiments.Event) {
	o := f.open[e.Target]
	if o == nil {
		return
	}
	if e.Error == "" {
		delete(f.open, e.Target)
		return
	}
	o.Undoing, o.LastError = true, e.Error
	if e.Effect != nil {
		o.LastEffect = e.Effect
	}
}

func (f *folding) abort(e experiments.Event) {
	if f.state.Aborted == "" {
		f.state.Aborted, f.state.AbortWhy = e.Abort, e.Why
	}
}

func (f *folding) failed(e experiments.Event) {
	if f.state.Failed == "" {
		f.state.Failed = e.Error
	}
}
