package scheduler

import (
	"errors"
	"fmt"
	"sync"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Journal is where events become durable; *journal.Writer is one.
type Journal interface {
	// Append makes the event durable before it returns. A zero At and Boot are filled in.
	Append(experiments.Event) (experiments.Event, error)
}

// recorder gives the journal one writer, in the order of the calls. Write waits
// until the event is durable; Note does not, since undo never waits for the journal.
type recorder struct {
	journal Journal
	host    platform.Host
	emit    func(experiments.Event) // news of what is durable; may be nil
	queue   chan entry
	done    chan struct{}

	onBroken func(error) // called once, at the first failure; may be nil

	mu     sync.Mutex
	broken error
	closed bool
}

type entry struct {
	event   experiments.Event
	durable chan error
}

var errRecorderClosed = errors.New("the record is closed")

func newRecorder(j Journal, host platform.Host, emit func(experiments.Event)) *recorder {
	r := &recorder{journal: j, host: host, emit: emit, queue: make(chan entry, 65536), done: make(chan struct{})}
	go r.run()
	return r
}

func (r *recorder) run() {
	defer close(r.done)
	for e := range r.queue {
		stamped, err := r.journal.Append(e.event)
		if err != nil {
			err = fmt.Errorf("write %q to the journal: %w", e.event.Type, err)
			r.fail(err)
		} else if r.emit != nil {
			r.emit(stamped)
		}
		if e.durable != nil {
			e.durable <- err
		}
	}
}

// fail remembers; a journal that failed once is not written again.
func (r *recorder) fail(err error) {
	r.mu.Lock()
	first := r.broken == nil
	r.broken = errors.Join(r.broken, err)
	r.mu.Unlock()
	if first && r.onBroken != nil {
		go r.onBroken(err) // it may write: never from within the writer itself
	}
}

// Write makes the event durable; after an error nothing may be injected any more.
func (r *recorder) Write(e experiments.Event) error {
	durable := make(chan error, 1)
	if !r.enqueue(e, durable) {
		return errRecorderClosed
	}
	return <-durable
}

// Note hands the event over, stamped with the time of this call.
func (r *recorder) Note(e experiments.Event) { r.enqueue(e, nil) }

func (r *recorder) enqueue(e experiments.Event, durable chan error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	e.At, e.Boot = r.host.Now().UTC(), r.host.Boottime()
	r.queue <- entry{e, durable}
	return true
}

// Broken is why the record is not whole; nil while it is.
func (r *recorder) Broken() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken
}

// Close writes what is queued and ends.
func (r *recorder) Close() error {
	r.mu.Lock()
	if !r.closed {
		r.closed = true
		close(r.queue)
	}
	r.mu.Unlock()
	<-r.done
	return r.Broken()
}
