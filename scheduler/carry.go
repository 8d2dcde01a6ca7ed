package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/holder"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Order is all that a holder needs to carry a run. It crosses the pipe, never
// the disk: it holds the values of secrets.
type Order struct {
	Home    journal.Home        `json:"home"`
	Run     string              `json:"run"`
	Header  experiments.Header  `json:"header"`
	Plan    experiments.Plan    `json:"plan"`
	Secrets experiments.Secrets `json:"secrets"`
}

// reserved is disk space taken before the first Inject, so that a disk that
// fills up during the run does not keep its end from being written down.
const reserved = 1 << 20

// Carrier is a holder's side of a run.
type Carrier struct {
	World  *platform.World
	Faults func(kind string) (injectors.Fault, bool)
	Link   *holder.Link

	order  Order
	record *recorder
	engine *Engine
	leases *runLeases
	lock   *journal.Lock
	writer *journal.Writer

	abort  context.CancelCauseFunc
	ending sync.Once
	during chan struct{} // closed when During is over; nil before it began
}

// Carry lives the holder's whole life. Its exit code says healed (0) or not (6).
func (c *Carrier) Carry() experiments.Exit {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, endSignals...)
	ctx, abort := context.WithCancelCause(context.Background())
	c.abort = abort // before open: a journal that breaks at its first line calls it
	defer abort(nil)
	if err := c.open(); err != nil {
		if c.lock != nil {
			err = errors.Join(err, c.lock.Unlock())
		}
		c.Link.Send(holder.Message{Type: holder.MessageRefused, Why: err.Error()})
		c.Link.Close()
		return experiments.ExitRefused
	}
	halts := c.order.Home.WatchHalt(context.WithoutCancel(ctx))
	c.Link.Send(holder.Message{Type: holder.MessageReady})
	complete, by := c.obey(ctx, signals, halts)
	return c.close(complete, by)
}

// open takes the run's lock and its record; until it succeeds nothing is done.
func (c *Carrier) open() error {
	if err := c.receive(); err != nil {
		return err
	}
	run, err := c.order.Home.Find(c.order.Run)
	if err != nil {
		return err
	}
	if c.lock, err = run.TryLock(); err != nil {
		return fmt.Errorf("take the lock of run %s: %w", run.ID, err)
	}
	if c.writer, err = c.lock.Writer(c.World.Host); err != nil {
		return fmt.Errorf("open the journal of run %s: %w", run.ID, err)
	}
	if err := c.writer.Reserve(reserved); err != nil {
		return fmt.Errorf("reserve space for the journal of run %s: %w: free some, or set FAULTLINE_HOME to another disk", run.ID, err)
	}
	c.record = newRecorder(redacting{c.writer, c.order.Secrets}, c.World.Host, c.news)
	c.record.onBroken = func(err error) { c.end(experiments.AbortDisk, err.Error()) }
	c.leases = &runLeases{home: c.order.Home, run: run}
	// A lease of nothing: from now on every user of this host sees that the run is active.
	until := c.World.Host.Now().Add(c.order.Plan.Duration.Std())
	if err := c.leases.Lease(nil, until, c.order.Plan.Experiment.Name); err != nil {
		return fmt.Errorf("enter run %s in the host-wide list: %w", run.ID, err)
	}
	c.engine = NewEngine(c.World, c.Faults, c.order.Plan, run.ID, c.leases, c.record)
	header := c.order.Header
	if err := c.record.Write(experiments.Event{Type: experiments.EventRun, Header: &header}); err != nil {
		return err
	}
	return c.record.Write(experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseBefore})
}

func (c *Carrier) receive() error {
	m, ok := <-c.Link.Messages()
	if !ok || m.Type != holder.MessageOrder {
		return fmt.Errorf("wait for the parent's order: got %q: %w", m.Type, errors.Join(c.Link.Lost(), errors.New("a holder is started by faultline itself, not by hand")))
	}
	if err := json.Unmarshal(m.Order, &c.order); err != nil {
		return fmt.Errorf("read the parent's order: %w", err)
	}
	return nil
}

func (c *Carrier) news(e experiments.Event) {
	c.Link.Send(holder.Message{Type: holder.MessageEvent, Event: &e})
}

// obey does what the parent says until it has nothing more to say, has died, or
// somebody ends the run. It returns with every injection closed.
func (c *Carrier) obey(ctx context.Context, signals <-chan os.Signal, halts <-chan journal.HaltInfo) (complete bool, by string) {
	messages := c.Link.Messages()
	var healed <-chan struct{}
	for {
		select {
		case m, open := <-messages:
			switch {
			case !open:
				c.lost()
				return false, "holder"
			case m.Type == holder.MessageFinish:
				c.end("", "the parent has finished")
				c.wait()
				return m.Complete, "parent"
			default:
				healed = c.do(ctx, m, healed)
			}
		case <-healed:
			healed = nil
			c.record.Note(experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseAfter})
			c.Link.Send(holder.Message{Type: holder.MessageHealed})
		case s := <-signals:
			by, why := c.signalled(s)
			c.end(by, why)
		case h, open := <-halts:
			if !open {
				halts = nil
				continue
			}
			c.end(experiments.AbortHalt, fmt.Sprintf("halt by %s: %s", h.Who, h.Why))
		}
	}
}

func (c *Carrier) do(ctx context.Context, m holder.Message, healed <-chan struct{}) <-chan struct{} {
	switch m.Type {
	case holder.MessageInject:
		if c.during == nil && ctx.Err() == nil {
			c.during = make(chan struct{})
			c.record.Note(experiments.Event{Type: experiments.EventPhase, Phase: experiments.PhaseDuring})
			go func() {
				defer close(c.during)
				c.engine.During(ctx)
			}()
		}
		if c.during == nil { // aborted before it began
			c.Link.Send(holder.Message{Type: holder.MessageHealed})
			return healed
		}
		return c.during
	case holder.MessageAbort:
		c.end(m.Abort, m.Why)
	case holder.MessageRecord:
		if m.Event != nil {
			c.record.Note(*m.Event)
		}
	}
	return healed
}

// end makes During leave by its door; only the first reason counts. The undo
// begins before anything is written.
func (c *Carrier) end(by experiments.AbortBy, why string) {
	first := false
	c.ending.Do(func() { first = true })
	c.abort(&Aborted{by, why})
	if first && by != "" {
		c.record.Note(experiments.Event{Type: experiments.EventAbort, Abort: by, Why: why, By: "holder"})
	}
}

// lost: the parent is no more, or does not run. Heal everything, then go.
func (c *Carrier) lost() {
	c.abort(&Aborted{"", "the parent is lost"})
	c.record.Note(experiments.Event{Type: experiments.EventParentLost, Why: errText(c.Link.Lost())})
	c.wait()
}

func (c *Carrier) wait() {
	if c.during != nil {
		<-c.during
	}
}

// close ends the returns, writes the last line and gives the lock back.
func (c *Carrier) close(complete bool, by string) experiments.Exit {
	c.engine.Close()
	undone := c.engine.Undone()
	c.record.Note(experiments.Event{Type: experiments.EventClosed, Close: &experiments.Close{By: by, Undone: undone, Complete: complete}})
	err := c.record.Close()
	clean := err == nil && (undone == nil || *undone)
	if clean {
		err = c.leases.release()
	}
	err = errors.Join(err, c.writer.Close(), c.lock.Unlock())
	if err != nil {
		fmt.Fprintf(os.Stderr, "close run %s: %v\n", c.order.Run, err) // holder.log
	}
	c.Link.Send(holder.Message{Type: holder.MessageDone, Why: errText(err)})
	c.Link.Close()
	if !clean {
		return experiments.ExitStillBroken
	}
	return experiments.ExitPassed
}

// endSignals mean: heal and end.
var endSignals = []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGPIPE}

// signalled: `faultline undo` announces itself in the run's folder before it signals.
func (c *Carrier) signalled(s os.Signal) (experiments.AbortBy, string) {
	if who, ok := undoRequest(c.leases.run); ok {
		return experiments.AbortUndo, who
	}
	by, ok := map[os.Signal]experiments.AbortBy{os.Interrupt: experiments.AbortInt, syscall.SIGHUP: experiments.AbortHup}[s]
	if !ok {
		by = experiments.AbortTerm
	}
	return by, fmt.Sprintf("the holder got %v", s)
}

// runLeases are what one run has taken; they are given back together.
type runLeases struct {
	home journal.Home
	run  journal.Run

	mu    sync.Mutex
	taken []*journal.Lease
}

func (l *runLeases) Lease(things []string, until time.Time, what string) error {
	lease, err := l.home.Lease(l.run, things, until, what)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.taken = append(l.taken, lease)
	return nil
}

func (l *runLeases) release() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, lease := range slices.Backward(l.taken) {
		errs = append(errs, lease.Release())
	}
	return errors.Join(errs...)
}

// redacting keeps the values of secrets out of the journal: references stand in their place.
type redacting struct {
	journal Journal
	secrets experiments.Secrets
}

func (r redacting) Append(e experiments.Event) (experiments.Event, error) {
	if len(r.secrets) == 0 {
		return r.journal.Append(e)
	}
	raw, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("write down an event: %w", err)
	}
	var clean experiments.Event
	if err := json.Unmarshal(r.secrets.RedactJSON(raw), &clean); err != nil {
		return e, fmt.Errorf("redact an event: %w", err)
	}
	return r.journal.Append(clean)
}
