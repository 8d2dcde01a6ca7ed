package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/holder"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/probes"
)

// Runner is a run's parent: it probes, judges when to go on, and shows. It
// never touches a target while its holder lives.
type Runner struct {
	World  *platform.World
	Faults func(kind string) (injectors.Fault, bool)
	Probes []probes.Kind
	Home   journal.Home
	Exe    string   // the binary that becomes the holder
	Show   Progress // live news; may be nil
}

// Progress is told what happens as it happens, from several goroutines.
type Progress interface {
	Event(experiments.Event)
	Sample(experiments.Sample)
}

// Start is what to run.
type Start struct {
	Plan    experiments.Plan
	Header  experiments.Header // what cmd knows: version, command, document
	Secrets experiments.Secrets
}

// Result is what a run left behind; the verdict is a fold over its record.
type Result struct {
	Run  journal.Run
	Lost error // the holder was lost; healing was taken over
	// Left names what could not be verified as undone by anybody.
	Left  []string
	Notes []string // what did not matter for the verdict, and is said all the same
}

// Run carries out one plan. Ending ctx with an *Aborted cause leaves by the
// same door as every abort. Its error means that nothing was injected.
func (r Runner) Run(ctx context.Context, s Start) (result Result, err error) {
	p, err := r.prepare(ctx, s)
	if err != nil {
		return Result{}, err
	}
	defer func() {
		p.close()
		result = p.result
	}()
	if err := p.begin(); err != nil {
		return p.result, err
	}
	p.finish(p.phases(ctx))
	return p.result, nil
}

// parent is one run while it goes on.
type parent struct {
	Runner
	start    Start
	run      journal.Run
	child    *holder.Child
	log      *os.File
	prepared []Prepared
	samples  *journal.SampleWriter
	result   Result

	begun   chan struct{} // During is on record
	healed  chan struct{} // the holder says that During is over
	done    chan struct{} // the holder has closed the record
	gone    chan struct{} // the link is broken: the holder is lost, or done
	ready   chan error
	aborted chan experiments.AbortBy // somebody ended the run through the holder
	disk    chan error               // the first sample that could not be written
}

func (r Runner) prepare(ctx context.Context, s Start) (*parent, error) {
	prepared, err := Prepare(r.World, s.Plan.Experiment, r.Probes)
	if err != nil {
		return nil, err
	}
	run, err := r.Home.Create(journal.NewID(r.World.Host.Now(), rand.Uint64()))
	if err != nil {
		return nil, &Refusal{Code: experiments.ExitRefused, Reasons: []string{err.Error()}}
	}
	p := &parent{
		Runner: r, start: s, run: run, prepared: prepared, result: Result{Run: run},
		begun: make(chan struct{}), healed: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
		ready: make(chan error, 1), aborted: make(chan experiments.AbortBy, 1), disk: make(chan error, 1),
	}
	if p.samples, err = journal.NewSampleWriter(run.Samples()); err != nil {
		return nil, &Refusal{Code: experiments.ExitRefused, Reasons: []string{err.Error()}}
	}
	if p.log, err = os.OpenFile(filepath.Join(run.Dir, "holder.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600); err != nil {
		return nil, &Refusal{Code: experiments.ExitRefused, Reasons: []string{fmt.Sprintf("open the holder's log: %v", err)}}
	}
	return p, nil
}

// begin starts the holder and waits until it has opened the record.
func (p *parent) begin() error {
	child, err := holder.Spawn(p.Exe, nil, p.log)
	if err != nil {
		return err
	}
	p.child = child
	header := p.start.Header
	header.Schema, header.Run, header.Started = experiments.JournalSchema, p.run.ID, p.World.Host.Now().UTC()
	header.Machine, header.BootID, header.OS = p.World.Host.MachineID(), p.World.Host.BootID(), p.World.Host.OS()
	header.Plan, header.Secrets = p.start.Plan, p.start.Secrets.Names()
	if id, err := p.World.Processes.Pin(context.Background(), child.PID()); err == nil {
		header.HolderID = identity(id)
		defer p.World.Processes.Release(id)
	}
	order, err := json.Marshal(Order{Home: p.Home, Run: p.run.ID, Header: header, Plan: p.start.Plan, Secrets: p.start.Secrets})
	if err != nil {
		return fmt.Errorf("write the holder's order: %w", err)
	}
	child.Send(holder.Message{Type: holder.MessageOrder, Order: order})
	go p.listen()
	select {
	case err := <-p.ready:
		return err
	case <-p.gone:
		// It was never told to inject. One that is only stopped must not stay behind.
		killed := child.Kill()
		if errors.Is(killed, os.ErrProcessDone) {
			killed = nil
		}
		return fmt.Errorf("the holder ended before it was ready (see %s): %w", p.log.Name(), errors.Join(child.Lost(), killed, child.Wait(expired())))
	}
}

// expired is a context that is over: a look without waiting.
func expired() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func (p *parent) listen() {
	defer close(p.gone)
	for m := range p.child.Messages() {
		switch m.Type {
		case holder.MessageReady:
			p.ready <- nil
		case holder.MessageRefused:
			p.ready <- &Refusal{Code: experiments.ExitRefused, Reasons: []string{m.Why}}
		case holder.MessageEvent:
			p.event(*m.Event)
		case holder.MessageHealed:
			closeOnce(p.healed)
		case holder.MessageDone:
			closeOnce(p.done)
		}
	}
}

// closeOnce is called from one goroutine only.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

func (p *parent) event(e experiments.Event) {
	if p.Show != nil {
		p.Show.Event(e)
	}
	if e.Type == experiments.EventPhase && e.Phase == experiments.PhaseDuring {
		closeOnce(p.begun)
	}
	if e.Type == experiments.EventAbort {
		select {
		case p.aborted <- e.Abort:
		default: // one is enough
		}
	}
}

// phases goes through Before, During and After; true when all of it was done.
func (p *parent) phases(ctx context.Context) bool {
	if !p.before(ctx) {
		return p.baselineOnly(ctx)
	}
	during, stop := p.abortable(ctx)
	defer stop(nil)
	guard := NewGuard(p.start.Plan.Experiment.Probes, p.World.Host.Boottime(), func(why string) {
		stop(&Aborted{experiments.AbortGuard, why})
	})
	defer guard.Close()
	p.child.Send(holder.Message{Type: holder.MessageInject})
	p.waitBegun(during)
	stopSampling := p.sample(guard.Sample)
	defer stopSampling()
	p.waitHealed(during)
	return p.after(ctx, context.Cause(during))
}

// waitBegun waits until During is on record: a sample that is due before that
// belongs to the baseline, and may be answered when something is broken already.
func (p *parent) waitBegun(ctx context.Context) {
	select {
	case <-p.begun:
	case <-p.healed:
	case <-p.gone:
	case <-ctx.Done():
	}
}

// baselineOnly: a run whose baseline did not hold is complete all the same, unless it was cut short.
func (p *parent) baselineOnly(ctx context.Context) bool {
	if ctx.Err() != nil {
		p.abort(context.Cause(ctx))
		return false
	}
	return true
}

// before asks for the baseline. False: nothing is to be injected.
func (p *parent) before(ctx context.Context) bool {
	length := p.start.Plan.Experiment.Timeline.Before.Std()
	if length == 0 {
		p.note(experiments.Event{Type: experiments.EventBaseline, Why: "skipped: before is 0s"})
		return ctx.Err() == nil
	}
	ctx, stop := p.abortable(ctx)
	defer stop(nil)
	baseline := NewBaselineFold(p.start.Plan.Experiment.Probes)
	stopSampling := p.sample(baseline.Sample)
	whole := sleepUntil(ctx, p.World.Host, p.World.Host.Boottime().Add(length), time.Time{})
	stopSampling()
	if !whole {
		p.abort(context.Cause(ctx))
		return false
	}
	held, unknown, why := baseline.Verdict()
	e := experiments.Event{Type: experiments.EventBaseline, Why: strings.Join(why, "; ")}
	if !held {
		e.Error = "did not hold"
		if unknown {
			e.Error = "could not look"
		}
	}
	p.note(e)
	return held
}

// abortable ends with an *Aborted cause: the caller's, a full disk's, or one
// that the holder reported; or when the holder is lost.
func (p *parent) abortable(ctx context.Context) (context.Context, context.CancelCauseFunc) {
	ctx, stop := context.WithCancelCause(ctx)
	go func() {
		select {
		case by := <-p.aborted:
			stop(&Aborted{by, "told by the holder"})
		case err := <-p.disk:
			stop(&Aborted{experiments.AbortDisk, err.Error()})
		case <-p.gone:
			stop(errHolderLost)
		case <-ctx.Done():
		}
	}()
	return ctx, stop
}

var errHolderLost = errors.New("the holder is lost")

// waitHealed waits for the end of During. An abort is passed on at once.
func (p *parent) waitHealed(ctx context.Context) {
	select {
	case <-p.healed:
		return
	case <-p.gone:
		return
	case <-ctx.Done():
		p.abort(context.Cause(ctx))
	}
	select {
	case <-p.healed:
	case <-p.gone:
	}
}

func (p *parent) abort(cause error) {
	var a *Aborted
	if errors.As(cause, &a) {
		p.child.Send(holder.Message{Type: holder.MessageAbort, Abort: a.By, Why: a.Why})
	}
}

// after watches the recovery; ended is why During was cut short. Somebody who
// ended the run by hand does not wait for it.
func (p *parent) after(ctx context.Context, ended error) bool {
	var a *Aborted
	if p.lost() || errors.As(ended, &a) && a.By != experiments.AbortGuard && a.By != experiments.AbortLimit {
		return false
	}
	ctx, stop := p.abortable(ctx)
	defer stop(nil)
	whole := sleepUntil(ctx, p.World.Host, p.World.Host.Boottime().Add(p.start.Plan.Experiment.Timeline.After.Std()), time.Time{})
	if !whole {
		p.abort(context.Cause(ctx))
	}
	return whole && a == nil
}

// lost: the pipe is broken and the record was not closed.
func (p *parent) lost() bool {
	select {
	case <-p.gone:
	default:
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// sample starts to ask all probes; the function it gives stops asking, and
// returns when every question that was asked has its answer on record.
func (p *parent) sample(also func(experiments.Sample)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	redact := p.start.Secrets.Redactor()
	sampler := NewSampler(p.World.Host, p.prepared, func(s experiments.Sample) {
		s.Why = redact(s.Why) // an answer may say what it was asked with
		if err := p.samples.Add(s); err != nil {
			select {
			case p.disk <- fmt.Errorf("write the samples: %w", err):
			default: // one is enough
			}
		}
		also(s)
		if p.Show != nil {
			p.Show.Sample(s)
		}
	})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		sampler.Run(ctx)
	}()
	return func() {
		cancel()
		<-ended
	}
}

func (p *parent) note(e experiments.Event) {
	e.By = "parent"
	p.child.Send(holder.Message{Type: holder.MessageRecord, Event: &e})
}

// finish lets the holder close the record, or takes over when it cannot.
func (p *parent) finish(complete bool) {
	if err := p.samples.Close(); err != nil {
		complete = false
		p.note(experiments.Event{Type: experiments.EventFailed, Error: fmt.Sprintf("write the samples: %v", err)})
	}
	if !p.lost() {
		p.child.Send(holder.Message{Type: holder.MessageFinish, Complete: complete})
		<-p.gone // the link ends when the holder has closed it, has died, or is silent
	}
	if p.lost() {
		p.takeOver()
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), holder.Grace)
	defer cancel()
	if err := p.child.Wait(ctx); err != nil {
		p.result.Left = append(p.result.Left, err.Error())
	}
}

// takeOver heals what a lost holder leaves. A holder that is alive but does not
// answer is worse than a dead one: it is ended first.
func (p *parent) takeOver() {
	p.result.Lost = errors.Join(errHolderLost, p.child.Lost())
	if err := p.child.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.result.Lost = errors.Join(p.result.Lost, fmt.Errorf("end the holder (pid %d): %w", p.child.PID(), err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), holder.Grace)
	defer cancel()
	// How it ended is part of why it was lost.
	p.result.Lost = errors.Join(p.result.Lost, p.child.Wait(ctx))
	healer := Healer{World: p.World, Faults: p.Faults, Home: p.Home, By: "parent", Lookup: p.secret}
	healed, err := healer.Heal(context.Background(), p.run, experiments.Event{Type: experiments.EventHolderLost, Why: p.result.Lost.Error()})
	p.result.Left = healed.Left
	if err != nil {
		p.result.Left = append(p.result.Left, err.Error())
	}
}

// secret gives a value that this run was started with.
func (p *parent) secret(name string) (string, bool) {
	for _, s := range p.start.Secrets {
		if s.Name == name {
			return s.Value, true
		}
	}
	return "", false
}

func (p *parent) close() {
	if err := errors.Join(CloseAll(p.prepared), p.log.Close()); err != nil {
		p.result.Notes = append(p.result.Notes, err.Error()) // the run is over: nothing depends on it
	}
}
