package netfault

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// pacer answers a queue: each packet is let go when it is due. It lives on one
// locked thread, with real-time priority where that is allowed, and allocates
// nothing once it runs.
type pacer struct {
	queue  *queue
	delay  time.Duration
	jitter time.Duration

	mode    atomic.Int32
	beat    atomic.Int64 // when the loop last came round, ns since start
	waiting atomic.Int64
	longest atomic.Int64
	stamped atomic.Uint64
	real    atomic.Bool
	passed  histogram

	start  time.Time
	wake   int // eventfd
	done   chan struct{}
	failed error // why the loop ended by itself; read after done
	woken  sync.Once
}

// What the loop does with packets.
const (
	pacing   int32 = iota // lets each go when it is due
	flushing              // lets all go at once, in order
	stopping              // ends
)

func startPacer(q *queue, delay, jitter time.Duration) (*pacer, error) {
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("make an eventfd: %w", err)
	}
	p := &pacer{queue: q, delay: delay, jitter: jitter, start: time.Now(), wake: wake, done: make(chan struct{})}
	ready := make(chan struct{})
	go func() {
		runtime.LockOSThread() // its priority is its own: the thread is thrown away
		defer close(p.done)
		p.real.Store(beRealTime() == nil)
		close(ready)
		p.failed = p.loop()
	}()
	<-ready
	return p, nil
}

// beRealTime asks for SCHED_FIFO and exact timers. The threads that this one
// starts do not inherit it.
func beRealTime() error {
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0) // without it timers are 50 µs late
	return unix.SchedSetAttr(0, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK,
	}, 0)
}

func (p *pacer) now() time.Duration { return time.Since(p.start) }

// set changes the mode and wakes the loop.
func (p *pacer) set(mode int32) {
	p.mode.Store(mode)
	one := [8]byte{1}
	_, _ = unix.Write(p.wake, one[:]) // it fails only when it is full: then the loop is awake
}

// stop ends the loop and waits for that.
func (p *pacer) stop() error {
	p.set(stopping)
	<-p.done
	p.woken.Do(func() { unix.Close(p.wake) })
	return p.failed
}

// alive says whether the loop came round within the last second.
func (p *pacer) alive() bool {
	select {
	case <-p.done:
		return false
	default:
		return p.now()-time.Duration(p.beat.Load()) < time.Second
	}
}

const longestSleep = 100 * time.Millisecond

func (p *pacer) loop() error {
	line := newLine(p.jitter > 0)
	buffer := make([]byte, 64<<10)
	out := &verdicts{buffer: make([]byte, 0, 32*verdictsAtOnce)}
	fds := []unix.PollFd{{Fd: int32(p.queue.fd), Events: unix.POLLIN}, {Fd: int32(p.wake), Events: unix.POLLIN}}
	receive := func(n note) { p.enqueue(line, n) }
	for p.mode.Load() != stopping {
		if err := p.release(line, out); err != nil {
			return err
		}
		p.waiting.Store(int64(line.len()))
		if err := p.sleep(line, fds); err != nil {
			return err
		}
		p.beat.Store(int64(p.now()))
		if fds[1].Revents != 0 {
			_, _ = unix.Read(p.wake, buffer) // only empties it
		}
		if err := p.receive(buffer, receive); err != nil {
			return err
		}
	}
	return nil
}

// sleep waits for a packet, for the next one due, or for a word from outside.
func (p *pacer) sleep(line *line, fds []unix.PollFd) error {
	wait := longestSleep
	if due, ok := line.next(); ok {
		wait = min(wait, max(due-p.now(), 0))
	}
	timeout := unix.NsecToTimespec(int64(wait))
	if _, err := unix.Ppoll(fds, &timeout, nil); err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("wait for packets: %w", err)
	}
	return nil
}

// receive reads what is there, up to a bound: packets that are due go first.
func (p *pacer) receive(buffer []byte, visit func(note)) error {
	for range 32 {
		n, err := unix.Read(p.queue.fd, buffer)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.ENOBUFS):
			// ENOBUFS: the kernel counts what it could not tell us of.
		case err != nil:
			return fmt.Errorf("read from queue %d: %w", p.queue.number, err)
		default:
			readNotes(buffer[:n], visit)
		}
	}
	return nil
}

// implausible is the age above which a stamp is more likely a stepped clock.
const implausible = time.Second

// enqueue works out when the packet is due. A stamp of the kernel is better
// than the time at which we were told.
func (p *pacer) enqueue(line *line, n note) {
	t := time.Now()
	came := t.Sub(p.start)
	if n.stamp != 0 {
		if age := time.Duration(t.UnixNano() - n.stamp); age >= 0 && age < implausible {
			came -= age
			p.stamped.Add(1)
		}
	}
	due := came + p.delay
	if p.jitter > 0 {
		due += time.Duration(rand.Int64N(2*int64(p.jitter)+1)) - p.jitter
	}
	line.add(waiter{id: n.id, came: came, due: due}, n.flow)
	if now := int64(line.len()); now > p.longest.Load() {
		p.longest.Store(now)
	}
}

// release lets everything go that is due, or everything.
func (p *pacer) release(line *line, out *verdicts) error {
	var gone [verdictsAtOnce]time.Duration
	for {
		all, now := p.mode.Load() != pacing, p.now()
		out.reset()
		n := 0
		var last uint32
		for n < verdictsAtOnce {
			due, ok := line.next()
			if !ok || due > now && !all {
				break
			}
			w := line.take()
			gone[n], last = w.came, w.id
			if line.jittered {
				out.accept(p.queue.number, w.id, false)
			}
			n++
		}
		if n == 0 {
			return nil
		}
		if !line.jittered {
			out.accept(p.queue.number, last, true)
		}
		if err := p.answer(out.buffer); err != nil {
			return err
		}
		for after := p.now(); n > 0 && !all; n-- { // what an undo let go early tells nothing
			p.passed.add(after - gone[n-1])
		}
	}
}

func (p *pacer) answer(b []byte) error {
	for {
		_, err := unix.Write(p.queue.fd, b)
		if errors.Is(err, unix.EINTR) || errors.Is(err, unix.EAGAIN) {
			continue
		}
		return os.NewSyscallError("answer the queue", err)
	}
}

// waiter is a packet that waits in the kernel.
type waiter struct {
	came, due time.Duration
	id        uint32
}

// line orders the packets that wait by when they are due, and keeps the packets
// of a flow in their order. Without jitter everything keeps its order.
type line struct {
	heap     []waiter
	jittered bool
	last     [1 << 12]time.Duration // by flow: when its newest packet is due
}

func newLine(jittered bool) *line {
	return &line{heap: make([]waiter, 0, minQueue), jittered: jittered}
}

func (l *line) len() int { return len(l.heap) }

func (l *line) next() (time.Duration, bool) {
	if len(l.heap) == 0 {
		return 0, false
	}
	return l.heap[0].due, true
}

func (l *line) add(w waiter, flow uint32) {
	if !l.jittered {
		flow = 0
	}
	last := &l.last[flow%uint32(len(l.last))]
	w.due = max(w.due, *last)
	*last = w.due
	l.heap = append(l.heap, w)
	for i := len(l.heap) - 1; i > 0; {
		parent := (i - 1) / 2
		if !l.before(i, parent) {
			return
		}
		l.heap[i], l.heap[parent] = l.heap[parent], l.heap[i]
		i = parent
	}
}

// before compares by due time, then by the kernel's number, which may wrap.
func (l *line) before(i, j int) bool {
	a, b := l.heap[i], l.heap[j]
	return a.due < b.due || a.due == b.due && int32(a.id-b.id) < 0
}

func (l *line) take() waiter {
	first, end := l.heap[0], len(l.heap)-1
	l.heap[0] = l.heap[end]
	l.heap = l.heap[:end]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < end; child++ {
			if l.before(child, least) {
				least = child
			}
		}
		if least == i {
			return first
		}
		l.heap[i], l.heap[least] = l.heap[least], l.heap[i]
		i = least
	}
}
