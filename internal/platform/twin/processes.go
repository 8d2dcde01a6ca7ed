package twin

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"syscall"

	"github.com/faultline-sh/faultline/internal/platform"
)

// Processes is a process table in memory: signals change its state as a kernel's would.
type Processes struct {
	host platform.Host

	mu        sync.Mutex
	next      int
	procs     map[int]*process
	ancestors []int
	denied    map[int]bool
	pins      map[platform.ProcessID]bool
}

type process struct {
	platform.Process
	inode   uint64
	stopped bool // by a signal
	tracer  int
}

// NewProcesses makes an empty table of host.
func NewProcesses(host platform.Host) *Processes {
	return &Processes{host: host, next: 1000, procs: map[int]*process{}, denied: map[int]bool{}, pins: map[platform.ProcessID]bool{}}
}

// Start adds a process. It gets a pid when it has none; a pid in use is replaced, as by reuse.
func (t *Processes) Start(p platform.Process) platform.Process {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next++
	if p.PID == 0 {
		p.PID = t.next
	}
	p.Start, p.Born, p.State = uint64(t.next), t.host.Boottime(), "S"
	t.procs[p.PID] = &process{Process: p, inode: uint64(t.next)}
	return p
}

// End removes a process, as if it had ended by itself.
func (t *Processes) End(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.procs, pid)
}

// Deny makes signals and traces of a process fail for want of rights.
func (t *Processes) Deny(pid int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.denied[pid] = true
}

// Trace lets process tracer trace a process; 0 ends that.
func (t *Processes) Trace(pid, tracer int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p := t.procs[pid]; p != nil {
		p.tracer = tracer
	}
}

// SetAncestors says which processes are ours and our ancestors.
func (t *Processes) SetAncestors(pids ...int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ancestors = pids
}

// Pinned counts what Pin opened and nobody released.
func (t *Processes) Pinned() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.pins)
}

// List gives all processes by pid.
func (t *Processes) List(ctx context.Context, withPorts bool) ([]platform.Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list processes: %w", context.Cause(ctx))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var all []platform.Process
	for _, p := range t.procs {
		seen := p.Process
		seen.State = p.state()
		if !withPorts {
			seen.Ports = nil
		}
		all = append(all, seen)
	}
	slices.SortFunc(all, func(a, b platform.Process) int { return cmp.Compare(a.PID, b.PID) })
	return all, nil
}

// Pin gives a process's identity.
func (t *Processes) Pin(ctx context.Context, pid int) (platform.ProcessID, error) {
	if err := ctx.Err(); err != nil {
		return platform.ProcessID{}, fmt.Errorf("open process %d: %w", pid, context.Cause(ctx))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.procs[pid]
	if p == nil {
		return platform.ProcessID{}, fmt.Errorf("open process %d: %w", pid, platform.ErrGone)
	}
	id := t.id(p)
	t.pins[id] = true
	return id, nil
}

func (t *Processes) id(p *process) platform.ProcessID {
	return platform.ProcessID{BootID: t.host.BootID(), PID: p.PID, Start: p.Start, PidfdInode: p.inode}
}

// Release forgets a pin.
func (t *Processes) Release(id platform.ProcessID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.pins, id)
}

// find needs t.mu.
func (t *Processes) find(ctx context.Context, id platform.ProcessID) (*process, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("look at process %d: %w", id.PID, context.Cause(ctx))
	}
	p := t.procs[id.PID]
	if p == nil {
		return nil, fmt.Errorf("look at process %d: %w", id.PID, platform.ErrGone)
	}
	if err := id.Verify(t.id(p)); err != nil {
		return nil, err
	}
	return p, nil
}

// Signal does what the signal does by default: stop, go on, or end the process.
func (t *Processes) Signal(ctx context.Context, id platform.ProcessID, sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.find(ctx, id)
	if err != nil {
		return err
	}
	if t.denied[id.PID] {
		return fmt.Errorf("send %s to process %d: %w", platform.SignalName(sig), id.PID, platform.ErrDenied)
	}
	switch sig {
	case platform.SignalStop:
		p.stopped = true
	case platform.SignalCont:
		p.stopped = false
	default:
		delete(t.procs, id.PID)
	}
	return nil
}

// MaySignal refuses where Signal would.
func (t *Processes) MaySignal(ctx context.Context, id platform.ProcessID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, err := t.find(ctx, id); err != nil {
		return err
	}
	if t.denied[id.PID] {
		return fmt.Errorf("signal process %d: %w", id.PID, platform.ErrDenied)
	}
	return nil
}

func (p *process) state() string {
	switch {
	case p.tracer != 0:
		return "t"
	case p.stopped:
		return "T"
	}
	return p.State
}

// State gives the letter of proc(5).
func (t *Processes) State(ctx context.Context, id platform.ProcessID) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.find(ctx, id)
	if err != nil {
		return "", err
	}
	return p.state(), nil
}

// Threads gives the one thread that every process here has.
func (t *Processes) Threads(ctx context.Context, id platform.ProcessID) ([]platform.Thread, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.find(ctx, id)
	if err != nil {
		return nil, err
	}
	return []platform.Thread{{TID: p.PID, State: p.state(), Tracer: p.tracer}}, nil
}

// CanFreeze refuses where Freeze would.
func (t *Processes) CanFreeze(ctx context.Context, id platform.ProcessID) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	p, err := t.find(ctx, id)
	switch {
	case err != nil:
		return err
	case p.tracer != 0:
		return fmt.Errorf("process %d is traced by process %d: %w", p.PID, p.tracer, platform.ErrNotOurs)
	case t.denied[p.PID]:
		return fmt.Errorf("trace process %d: %w", p.PID, platform.ErrDenied)
	}
	return nil
}

// Freeze holds a process until Close.
func (t *Processes) Freeze(ctx context.Context, id platform.ProcessID) (platform.Frozen, error) {
	if err := t.CanFreeze(ctx, id); err != nil {
		return nil, err
	}
	t.Trace(id.PID, t.self())
	return &thaw{t, id.PID}, nil
}

func (t *Processes) self() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.ancestors) == 0 {
		return 1
	}
	return t.ancestors[0]
}

type thaw struct {
	table *Processes
	pid   int
}

func (f *thaw) Close() error {
	f.table.Trace(f.pid, 0)
	return nil
}

// Ancestors gives what SetAncestors said.
func (t *Processes) Ancestors(ctx context.Context) ([]int, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("find the ancestors of this process: %w", context.Cause(ctx))
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.ancestors), nil
}
