package twin

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/internal/platform"
)

// Engine is a container engine in memory. Its containers' inits are processes
// of the twin's table: whoever kills one has crashed the container, and its
// restart policy applies. An act goes on when its caller has gone, as a daemon's does.
type Engine struct {
	host      platform.Host
	processes *Processes
	info      platform.EngineInfo

	mu         sync.Mutex
	containers map[string]*box
	next       int
	remote     bool
	down       bool
	slow       time.Duration
}

type box struct {
	platform.Container
	init     platform.ProcessID
	manual   bool          // stopped by hand: its restart policy is off
	stubborn bool          // ends on SIGKILL only
	acting   chan struct{} // closed when the act under way is done; nil for none
}

// NewEngine makes an engine without containers on the host of a process table.
func NewEngine(host platform.Host, processes *Processes) *Engine {
	return &Engine{
		host: host, processes: processes, containers: map[string]*box{},
		info: platform.EngineInfo{ID: "TWIN", Name: "Twin", Version: "1.0", API: "1.41", Endpoint: "memory://twin"},
	}
}

// Add makes a container; what is left out gets a value. It runs unless its state says otherwise.
func (e *Engine) Add(c platform.Container) platform.Container {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.next++
	c.ID = cmp.Or(c.ID, fmt.Sprintf("%064x", e.next))
	c.Name = cmp.Or(c.Name, fmt.Sprintf("box-%d", e.next))
	c.Health = cmp.Or(c.Health, "none")
	c.RestartPolicy = cmp.Or(c.RestartPolicy, "no")
	c.StopGrace = cmp.Or(c.StopGrace, 10*time.Second)
	c.State = cmp.Or(c.State, "running")
	b := &box{Container: c}
	e.containers[c.ID] = b
	if c.State == "running" || c.State == "paused" {
		e.start(b)
		b.State = c.State
	}
	return b.Container
}

// SetInfo makes this another engine.
func (e *Engine) SetInfo(info platform.EngineInfo) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.info = info
}

// SetRemote makes Init unable to prove that containers run on this host.
func (e *Engine) SetRemote(remote bool) { e.set(func() { e.remote = remote }) }

// SetDown makes the engine unreachable, as while its daemon restarts. Its containers go on.
func (e *Engine) SetDown(down bool) { e.set(func() { e.down = down }) }

// SetSlow makes every act take that long, besides a stop's grace.
func (e *Engine) SetSlow(d time.Duration) { e.set(func() { e.slow = d }) }

// SetStubborn makes a container ignore every signal but SIGKILL.
func (e *Engine) SetStubborn(id string) { e.set(func() { e.containers[id].stubborn = true }) }

// SetHealth is what a container's own health check says.
func (e *Engine) SetHealth(id, health string) { e.set(func() { e.containers[id].Health = health }) }

func (e *Engine) set(do func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	do()
}

// start needs e.mu.
func (e *Engine) start(b *box) {
	e.next++
	p := e.processes.Start(platform.Process{Exe: "/init", Args: []string{b.Name}, Cgroup: "/docker/" + b.ID})
	b.init, _ = e.processes.Pin(context.Background(), p.PID) // it was started by the line above
	e.processes.Release(b.init)
	b.PID, b.State, b.manual = p.PID, "running", false
	// The counter keeps two starts in one tick of a test's clock apart.
	b.StartedAt = e.host.Now().UTC().Add(time.Duration(e.next)).Format(time.RFC3339Nano)
}

// end needs e.mu.
func (e *Engine) end(b *box, code int) {
	e.processes.End(b.PID)
	b.PID, b.State, b.ExitCode = 0, "exited", code
	b.FinishedAt = e.host.Now().UTC().Format(time.RFC3339Nano)
}

// notice sees which inits have died since somebody last looked. It needs e.mu.
func (e *Engine) notice() {
	for _, b := range e.containers {
		if b.PID == 0 {
			continue
		}
		if _, err := e.processes.State(context.Background(), b.init); err == nil {
			continue
		}
		e.end(b, 137)
		switch {
		case b.AutoRemove:
			delete(e.containers, b.ID)
		case !b.manual && b.RestartPolicy != "no":
			e.start(b)
			b.RestartCount++
		}
	}
}

// open takes e.mu and finds the container; the caller unlocks when there is no error.
func (e *Engine) open(ctx context.Context, doing, id string) (*box, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s container %.12s: %w", doing, id, context.Cause(ctx))
	}
	e.mu.Lock()
	e.notice()
	b := e.containers[id]
	switch {
	case e.down:
		e.mu.Unlock()
		return nil, fmt.Errorf("%s container %.12s: %w", doing, id, platform.ErrUnreachable)
	case b == nil:
		e.mu.Unlock()
		return nil, fmt.Errorf("%s container %.12s: %w", doing, id, platform.ErrGone)
	}
	return b, nil
}

// act carries out what a daemon would go on with though its caller has gone.
// Acts on one container come one after the other.
func (e *Engine) act(ctx context.Context, doing, id string, takes func(*box) time.Duration, do func(*box) error) error {
	b, err := e.open(ctx, doing, id)
	if err != nil {
		return err
	}
	before, done, answer := b.acting, make(chan struct{}), make(chan error, 1)
	b.acting = done
	wait := e.slow + takes(b)
	e.mu.Unlock()
	go func() {
		defer close(done)
		if before != nil {
			<-before
		}
		<-time.After(wait)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.notice()
		err := do(b)
		if err != nil {
			err = fmt.Errorf("%s container %.12s: %w", doing, id, err)
		}
		answer <- err
	}()
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return fmt.Errorf("%s container %.12s: %w", doing, id, context.Cause(ctx))
	}
}

func atOnce(*box) time.Duration { return 0 }

// Info names the engine.
func (e *Engine) Info(ctx context.Context) (platform.EngineInfo, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil || e.down {
		return platform.EngineInfo{}, fmt.Errorf("ask the engine what it is: %w", cmp.Or(context.Cause(ctx), platform.ErrUnreachable))
	}
	return e.info, nil
}

// List gives all containers with what a list call knows.
func (e *Engine) List(ctx context.Context) ([]platform.Container, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if ctx.Err() != nil || e.down {
		return nil, fmt.Errorf("list containers: %w", cmp.Or(context.Cause(ctx), platform.ErrUnreachable))
	}
	e.notice()
	var all []platform.Container
	for _, id := range slices.Sorted(maps.Keys(e.containers)) {
		c := e.containers[id].Container
		all = append(all, platform.Container{
			ID: c.ID, Name: c.Name, Image: c.Image, Labels: c.Labels, State: c.State, Health: strings.TrimPrefix(c.Health, "none"),
			NetworkMode: c.NetworkMode, Project: c.Project, Service: c.Service, OneOff: c.OneOff, Self: c.Self,
		})
	}
	return all, nil
}

// Inspect gives one container in full.
func (e *Engine) Inspect(ctx context.Context, id string) (platform.Container, error) {
	b, err := e.open(ctx, "inspect", id)
	if err != nil {
		return platform.Container{}, err
	}
	defer e.mu.Unlock()
	return b.Container, nil
}

// Await looks until `until` is true of the container.
func (e *Engine) Await(ctx context.Context, id string, until func(platform.Container) bool) (platform.Container, error) {
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	for {
		c, err := e.Inspect(context.WithoutCancel(ctx), id)
		if err != nil || until(c) {
			return c, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return c, fmt.Errorf("wait for container %.12s: %w", id, context.Cause(ctx))
		}
	}
}

// Kill sends a signal; every one but those that a stubborn container ignores ends it.
func (e *Engine) Kill(ctx context.Context, id, signal string) error {
	return e.act(ctx, "kill", id, atOnce, func(b *box) error {
		if b.State != "running" {
			return fmt.Errorf("it is %s", b.State)
		}
		b.manual = true
		if !b.stubborn || strings.HasSuffix(signal, "KILL") {
			e.endByHand(b, 137)
		}
		return nil
	})
}

// endByHand needs e.mu.
func (e *Engine) endByHand(b *box, code int) {
	b.manual = true
	e.end(b, code)
	if b.AutoRemove {
		delete(e.containers, b.ID)
	}
}

// Stop ends a container: at once, or after grace when it is stubborn.
func (e *Engine) Stop(ctx context.Context, id string, grace time.Duration, _ string) error {
	return e.act(ctx, "stop", id, untilEnded(grace), func(b *box) error {
		if b.PID != 0 {
			e.endByHand(b, 0)
		}
		return nil
	})
}

func untilEnded(grace time.Duration) func(*box) time.Duration {
	return func(b *box) time.Duration {
		if b.stubborn {
			return grace
		}
		return 0
	}
}

// Start starts a container that does not run.
func (e *Engine) Start(ctx context.Context, id string) error {
	return e.act(ctx, "start", id, atOnce, func(b *box) error {
		if b.PID == 0 {
			e.start(b)
			b.RestartCount = 0
		}
		return nil
	})
}

// Restart ends a container and starts it.
func (e *Engine) Restart(ctx context.Context, id string, grace time.Duration) error {
	return e.act(ctx, "restart", id, untilEnded(grace), func(b *box) error {
		if b.PID != 0 {
			e.end(b, 0)
		}
		e.start(b)
		b.RestartCount = 0
		return nil
	})
}

// Pause freezes a container that runs.
func (e *Engine) Pause(ctx context.Context, id string) error {
	return e.turn(ctx, "pause", id, "running", "paused")
}

// Unpause thaws a container that is paused.
func (e *Engine) Unpause(ctx context.Context, id string) error {
	return e.turn(ctx, "unpause", id, "paused", "running")
}

func (e *Engine) turn(ctx context.Context, doing, id, from, to string) error {
	return e.act(ctx, doing, id, atOnce, func(b *box) error {
		if b.State != from {
			return fmt.Errorf("it is %s", b.State)
		}
		b.State = to
		return nil
	})
}

// Remove kills and removes a container.
func (e *Engine) Remove(ctx context.Context, id string, _ bool) error {
	return e.act(ctx, "remove", id, atOnce, func(b *box) error {
		e.end(b, 137)
		delete(e.containers, b.ID)
		return nil
	})
}

// Init pins a container's init.
func (e *Engine) Init(ctx context.Context, c platform.Container) (platform.ProcessID, error) {
	b, err := e.open(ctx, "pin the init of", c.ID)
	if err != nil {
		return platform.ProcessID{}, err
	}
	defer e.mu.Unlock()
	switch {
	case e.remote:
		return platform.ProcessID{}, fmt.Errorf("pin the init of container %s: it runs elsewhere: %w", c.Name, platform.ErrUnsupported)
	case b.PID != c.PID || b.StartedAt != c.StartedAt || b.PID == 0:
		return platform.ProcessID{}, fmt.Errorf("pin the init of container %s: it was restarted: %w", c.Name, platform.ErrNotOurs)
	}
	return e.processes.Pin(ctx, c.PID)
}

var _ platform.Engine = (*Engine)(nil)
