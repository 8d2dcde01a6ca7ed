package platform

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Threads reads the state and the tracer of every thread of exactly this process.
func (t *procTable) Threads(_ context.Context, id ProcessID) ([]Thread, error) {
	var threads []Thread
	err := t.with(id, func(fd int) error {
		var err error
		if threads, err = readThreads(id.PID); err != nil {
			return err
		}
		_, err = liveStat(fd, id.PID) // and so they were this process's
		return err
	})
	return threads, err
}

func readThreads(pid int) ([]Thread, error) {
	tids, err := listThreads(pid)
	if err != nil {
		return nil, err
	}
	var threads []Thread
	for _, tid := range tids {
		thread, err := readThread(pid, tid)
		if errors.Is(err, ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		threads = append(threads, thread)
	}
	return threads, nil
}

func listThreads(pid int) ([]int, error) {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, gone(err, "list the threads", pid)
	}
	var tids []int
	for _, e := range entries {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids, nil
}

func readThread(pid, tid int) (Thread, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/status", pid, tid))
	if err != nil {
		return Thread{}, gone(err, fmt.Sprintf("read thread %d", tid), pid)
	}
	thread := Thread{TID: tid}
	thread.State, _, _ = strings.Cut(statusField(status, "State:"), " ")
	tracer, err := strconv.Atoi(statusField(status, "TracerPid:"))
	if err != nil || thread.State == "" {
		return Thread{}, fmt.Errorf("read thread %d of process %d: its status has no State or no TracerPid", tid, pid)
	}
	if tracer != 0 {
		thread.Tracer = leaderOf(tracer)
	}
	return thread, nil
}

// leaderOf: the kernel names the tracing thread; people know processes. A
// tracer that has just ended leaves its thread's own number.
func leaderOf(tid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return tid
	}
	if leader, err := strconv.Atoi(statusField(status, "Tgid:")); err == nil {
		return leader
	}
	return tid
}

// CanFreeze asks what PTRACE_SEIZE would be asked: opening a process's memory
// passes the very same check of rights (Yama and other modules too) and does nothing.
func (t *procTable) CanFreeze(ctx context.Context, id ProcessID) error {
	threads, err := t.Threads(ctx, id)
	if err != nil {
		return err
	}
	for _, thread := range threads {
		if thread.Tracer != 0 {
			return fmt.Errorf("thread %d of process %d is traced by process %d: %w", thread.TID, id.PID, thread.Tracer, ErrNotOurs)
		}
	}
	// A filter of system calls (a container's, as a rule) answers before the kernel looks for the process.
	if err := unix.PtraceSeize(-1); !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("trace process %d: ptrace is not to be had here: %w: %w", id.PID, ErrUnsupported, err)
	}
	return t.with(id, func(int) error {
		mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", id.PID))
		switch {
		case err == nil:
			return mem.Close()
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("trace process %d: needs root or CAP_SYS_PTRACE (see also kernel.yama.ptrace_scope): %w", id.PID, ErrDenied)
		}
		return gone(err, "open the memory", id.PID)
	})
}

// frozen holds a process by ptrace. One thread of ours is the tracer, from
// SEIZE to DETACH: ptrace knows threads, not processes, and lets all tracees go
// on when that thread ends.
type frozen struct {
	pid  int
	stop chan struct{}
	once sync.Once
	done chan error
	err  error
}

// Freeze gives up after this long when a thread does not stop (it sits in an
// uninterruptible call); it will stop when it comes back, and Threads tells.
const freezePatience = time.Second

const freezeTick = time.Millisecond

func (t *procTable) Freeze(ctx context.Context, id ProcessID) (Frozen, error) {
	f := &frozen{pid: id.PID, stop: make(chan struct{}), done: make(chan error, 1)}
	began := make(chan error, 1)
	onThreadThatEnds(func() {
		tracees := map[int]*tracee{}
		err := t.with(id, func(fd int) error {
			// Who waits for a child of ours would take the news of the trace for its end.
			if stat, err := liveStat(fd, id.PID); err != nil || stat.ppid == os.Getpid() {
				return cmp.Or(err, fmt.Errorf("trace process %d: it is a child of this process: %w", id.PID, ErrUnsupported))
			}
			return f.stopAll(ctx, fd, tracees)
		})
		began <- err
		if err == nil {
			f.keep(tracees)
		}
		f.done <- f.detach(tracees)
	})
	if err := <-began; err != nil {
		return nil, errors.Join(err, <-f.done)
	}
	return f, nil
}

// onThreadThatEnds runs do on a thread of its own, which ends with it and so lets
// go of every trace. The main thread never ends: it is kept busy while another takes the work.
func onThreadThatEnds(do func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			do() // never unlocked: the runtime then ends the thread
			return
		}
		defer runtime.UnlockOSThread()
		taken := make(chan struct{})
		go func() {
			runtime.LockOSThread()
			close(taken)
			do()
		}()
		<-taken
	}()
}

// tracee is one thread that we have seized.
type tracee struct {
	stopped bool
	signal  int // what it was about to be given when it stopped, for it to have when it goes on
}

// stopAll seizes and stops threads until a look finds no new one: a stopped
// thread starts none, so that this ends.
func (f *frozen) stopAll(ctx context.Context, fd int, tracees map[int]*tracee) error {
	for limit := time.Now().Add(freezePatience); ; {
		fresh, err := f.seizeNew(tracees)
		if err != nil {
			return err
		}
		if err := alive(fd, f.pid); err != nil {
			return err // what was seized may be another process's: all is let go
		}
		if waiting := f.collect(tracees); !fresh && waiting == 0 || time.Now().After(limit) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("freeze process %d: %w", f.pid, context.Cause(ctx))
		case <-time.After(freezeTick):
		}
	}
}

func (f *frozen) seizeNew(tracees map[int]*tracee) (fresh bool, err error) {
	tids, err := listThreads(f.pid)
	if err != nil {
		return false, err
	}
	for _, tid := range tids {
		if tracees[tid] != nil {
			continue
		}
		switch err := unix.PtraceSeize(tid); {
		case errors.Is(err, unix.ESRCH):
			continue // ended
		case errors.Is(err, unix.EPERM):
			if ended(f.pid, tid) {
				continue
			}
			return fresh, fmt.Errorf("trace thread %d of process %d: another tracer has it, or rights are missing: %w", tid, f.pid, ErrDenied)
		case err != nil:
			return fresh, fmt.Errorf("trace thread %d of process %d: %w", tid, f.pid, err)
		}
		tracees[tid], fresh = &tracee{}, true
		if err := unix.PtraceInterrupt(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return fresh, fmt.Errorf("stop thread %d of process %d: %w", tid, f.pid, err)
		}
	}
	return fresh, nil
}

// ended: a zombie thread cannot be seized, and need not be.
func ended(pid, tid int) bool {
	thread, err := readThread(pid, tid)
	return errors.Is(err, ErrGone) || err == nil && (thread.State == "Z" || thread.State == "X")
}

// collect takes the news of threads that have stopped or ended, and counts those
// that have done neither yet. A tracee that was killed must be collected: its own
// parent hears of its end only after that. Each is asked for by its number: this
// thread may have children of another's making.
func (f *frozen) collect(tracees map[int]*tracee) (waiting int) {
	for tid, tracee := range tracees {
		var status unix.WaitStatus
		got, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil, got == tid && (status.Exited() || status.Signaled()):
			delete(tracees, tid) // it ended
		case got == tid && status.Stopped():
			tracee.stopped = true
			// A stop for a signal, not for our interrupt: the signal is its process's due.
			if uint32(status)>>16 == 0 {
				tracee.signal = int(status.StopSignal())
			}
		}
	}
	return moving(tracees)
}

func moving(tracees map[int]*tracee) int {
	n := 0
	for _, tracee := range tracees {
		if !tracee.stopped {
			n++
		}
	}
	return n
}

// keep waits until it is told to let go. Threads that would not stop at first
// are caught meanwhile, and those that are killed are collected.
func (f *frozen) keep(tracees map[int]*tracee) {
	// A thousand questions a second at most, whatever the number of threads.
	tick := time.NewTicker(max(20*time.Millisecond, time.Duration(len(tracees))*time.Millisecond))
	defer tick.Stop()
	for moved := true; ; {
		if moved {
			fresh, err := f.seizeNew(tracees) // an error: it has ended, or somebody else was faster
			moved = err == nil && fresh
		}
		if f.collect(tracees) > 0 {
			moved = true
		}
		select {
		case <-f.stop:
			return
		case <-tick.C:
		}
	}
}

// detach lets every thread go on. Whatever it misses the kernel does when this thread ends.
func (f *frozen) detach(tracees map[int]*tracee) error {
	var errs []error
	f.collect(tracees)
	for tid, tracee := range tracees {
		_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_DETACH, uintptr(tid), 0, uintptr(tracee.signal), 0, 0)
		if errno != 0 && errno != unix.ESRCH { // ESRCH: ended, or not stopped
			errs = append(errs, fmt.Errorf("let thread %d of process %d go on: %w", tid, f.pid, errno))
		}
	}
	return errors.Join(errs...)
}

func (f *frozen) Close() error {
	f.once.Do(func() {
		close(f.stop)
		f.err = <-f.done
	})
	return f.err
}
