package netfault

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Hold is a delay by nfqueue, held by this process: a table that the kernel
// deletes with our socket, a queue for each way, and a thread that lets each
// packet go when it is due.
type Hold struct {
	ns     *Namespace
	table  string
	rules  *ruleset
	queues []*queue
	pacers []*pacer
	sink   *queue
	stamps func() error // closes the socket that has packets stamped
	left   func() time.Duration

	stopArming context.CancelFunc
	arming     sync.WaitGroup
	lapsed     atomic.Bool
	closing    sync.Once
	closed     error
	later      bool // our empty tables go later; see takeOff

	mu      sync.Mutex
	dropped uint64 // as last read
}

// Hold puts the delay on. name is the name of the tables: it must be new. left
// says how long the fault may still be on; one that is not undone by then the
// kernel lets go by itself, within overtime. The namespace stays the caller's and must outlive the Hold.
func (ns *Namespace) Hold(name string, d Delay, left func() time.Duration) (*Hold, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if !strings.HasPrefix(name, tablePrefix) {
		return nil, fmt.Errorf("delay packets in %s: table %q must be called %s…", ns.path, name, tablePrefix)
	}
	h := &Hold{ns: ns, table: name, left: left}
	if err := h.start(d); err != nil {
		return nil, errors.Join(fmt.Errorf("delay packets in %s: %w", ns.path, err), h.Close())
	}
	return h, nil
}

func (h *Hold) start(d Delay) error {
	var err error
	if h.stamps, err = stampPackets(); err != nil {
		return err
	}
	wakeWithoutWaiting()
	var sides []side
	for _, way := range []Direction{Ingress, Egress} {
		if !d.Direction.Covers(way) {
			continue
		}
		number, err := h.listen(d)
		if err != nil {
			return err
		}
		sides = append(sides, sideOf(way, number, 0))
	}
	if h.sink, err = bindSink(h.ns); err != nil {
		return err
	}
	for i := range sides {
		sides[i].sink = h.sink.number
	}
	if err := h.addRules(d, sides); err != nil {
		return err
	}
	if err := h.rules.arm(h.armFor(h.left())); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.stopArming = cancel
	h.arming.Go(func() { h.keepArmed(ctx) })
	return nil
}

// wakeWithoutWaiting gives the scheduler of goroutines room, so that a pacer
// that wakes up finds a processor's token even while the system keeps the
// threads that hold the others from running.
func wakeWithoutWaiting() {
	const spare = 4
	if enough := runtime.NumCPU() + spare; runtime.GOMAXPROCS(0) < enough {
		runtime.GOMAXPROCS(enough)
	}
}

// addRules uses the best means that the kernel has: nft_queue or the xtables
// target, with copies on egress or without. What was tried in vain goes with its
// socket.
func (h *Hold) addRules(d Delay, sides []side) error {
	others, err := h.ns.othersFilter()
	if err != nil {
		return err
	}
	var tried []error
	for _, with := range means(others) {
		rules, err := newRuleset(h.ns, h.table, with)
		if err != nil {
			return err
		}
		err = rules.add(d, sides)
		if err == nil {
			h.rules = rules
			return nil
		}
		tried = append(tried, errors.Join(err, rules.close()))
		if !errors.Is(err, ErrUnsupported) {
			break
		}
	}
	return errors.Join(tried...)
}

// means are the ways to build a ruleset, the best first. The cgroup of a packet
// is known as long as its socket is; its user only until the program closes it.
func means(tracked bool) []buildWith {
	var all []buildWith
	for _, owner := range []expr.MetaKey{expr.MetaKeyCGROUP, expr.MetaKeySKUID} {
		for _, native := range []bool{true, false} {
			all = append(all, buildWith{native: native, copies: true, owner: owner, tracked: tracked})
		}
	}
	return append(all, buildWith{native: true}, buildWith{})
}

// othersFilter says whether somebody else has packet filter rules inside, which
// may track connections.
func (ns *Namespace) othersFilter() (bool, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(ns.file.Fd())))
	if err != nil {
		return false, fmt.Errorf("open nftables in %s: %w", ns.path, nftError(err))
	}
	tables, err := conn.ListTables()
	if err != nil {
		return false, fmt.Errorf("list the tables in %s: %w", ns.path, nftError(err))
	}
	legacy := false
	err = ns.Do(func() error {
		for _, file := range []string{"ip_tables_names", "ip6_tables_names"} {
			names, err := os.ReadFile("/proc/thread-self/net/" + file)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("list the iptables in %s: %w", ns.path, err)
			}
			legacy = legacy || len(names) > 0
		}
		return nil
	})
	theirs := slices.ContainsFunc(tables, func(t *nftables.Table) bool { return !strings.HasPrefix(t.Name, tablePrefix) })
	return legacy || theirs, err
}

// tablePrefix begins the names of all our tables; they track no connections.
const tablePrefix = "faultline-"

// listen binds a queue and answers it, before any rule sends packets there.
func (h *Hold) listen(d Delay) (uint16, error) {
	const headers = 64 // addresses and ports, to keep each flow's order under jitter
	payload := uint32(0)
	if d.Jitter > 0 {
		payload = headers
	}
	q, err := bindQueue(h.ns, d.queueLength(), payload)
	if err != nil {
		return 0, err
	}
	h.queues = append(h.queues, q)
	p, err := startPacer(q, d.Delay, d.Jitter)
	if err != nil {
		return 0, err
	}
	h.pacers = append(h.pacers, p)
	return q.number, nil
}

// keepArmed tells the kernel every second that we are alive. It does so only
// while the pacers come round, and never restarts a fault that has timed out.
func (h *Hold) keepArmed(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		left := h.left()
		if left <= 0 {
			return // the last arming ends with the fault
		}
		if !h.running() {
			continue
		}
		if err := h.rules.rearm(h.armFor(left)); err != nil {
			h.lapsed.Store(true)
			return
		}
	}
}

// overtime is how long after its end the kernel lets a fault go by itself, when
// nobody has undone it at its end.
const overtime = time.Second

func (h *Hold) armFor(left time.Duration) time.Duration { return min(armedFor, left+overtime) }

func (h *Hold) running() bool {
	for _, p := range h.pacers {
		if !p.alive() {
			return false
		}
	}
	return true
}

// How long undoing waits for packets to be answered, and how often it looks.
const (
	drainFor   = 2 * time.Second
	drainEvery = 2 * time.Millisecond
)

// Close undoes the delay and proves it: what waits goes at once and in order,
// new packets pass, the queues run dry, the table is deleted, and a look from
// another socket finds nothing. Whatever fails on the way, the sockets are
// closed, and the kernel takes everything off with them.
func (h *Hold) Close() error {
	h.closing.Do(func() { h.closed = h.close() })
	return h.closed
}

func (h *Hold) close() error {
	if h.stopArming != nil {
		h.stopArming()
		h.arming.Wait()
	}
	var err error
	if h.rules != nil {
		err = h.drain()
	}
	for _, p := range h.pacers {
		err = errors.Join(err, p.stop())
	}
	for _, q := range h.queues {
		err = errors.Join(err, q.close())
	}
	if h.sink != nil {
		err = errors.Join(err, h.sink.close())
	}
	if h.stamps != nil {
		err = errors.Join(err, h.stamps())
	}
	if h.rules != nil {
		err = errors.Join(err, h.takeOff())
	}
	return h.verify(err)
}

// verify looks with another socket, whatever went wrong before.
func (h *Hold) verify(err error) error {
	left, look := h.ns.Look(h.table)
	switch {
	case look != nil:
		return errors.Join(fmt.Errorf("undo the delay in %s: %w: could not look whether it is off: %w", h.ns.path, ErrUnknown, look), err)
	case left.Hooks > 0, left.Present && !h.later:
		return errors.Join(fmt.Errorf("undo the delay in %s: %w: table %s", h.ns.path, ErrStillOn, h.table), err)
	case err != nil:
		return fmt.Errorf("undo the delay in %s: it is off, but not gently: %w", h.ns.path, err)
	}
	return nil
}

// drain is neutralise and drain. The order of a flow is kept: first the backlog
// goes while new packets still queue behind it, then the rules go.
func (h *Hold) drain() error {
	h.flush()
	return errors.Join(h.rules.neutralise(), h.runDry())
}

// takeOff removes the tables. Taking a hook out drops what waits in any queue of
// the namespace: while another queue holds packets there, our empty tables stay,
// and go when the other queues have gone, or with this process.
func (h *Hold) takeOff() error {
	others, err := h.othersQueue()
	if err != nil || !others {
		return errors.Join(err, h.rules.remove(), h.rules.close())
	}
	ns, err := h.ns.again()
	if err != nil {
		return errors.Join(err, h.rules.remove(), h.rules.close())
	}
	h.later = true
	late := &Hold{ns: ns, rules: h.rules}
	go late.takeOffLater()
	return nil
}

// takeOffLater closes the socket, with which the tables go, as soon as that
// harms nobody, or when it cannot tell any more.
func (h *Hold) takeOffLater() {
	defer h.ns.Close()
	defer h.rules.close()
	for {
		if others, err := h.othersQueue(); err != nil || !others {
			return
		}
		time.Sleep(drainFor / 20)
	}
}

// othersQueue says whether a queue that is not ours holds packets in the namespace.
func (h *Hold) othersQueue() (bool, error) {
	queues, err := readQueues(h.ns)
	for _, q := range h.queues {
		delete(queues, q.number)
	}
	for _, s := range queues {
		if s.mode != copyNone {
			return true, err
		}
	}
	return false, err
}

// flush lets the backlog go, and waits a moment for that.
func (h *Hold) flush() {
	for _, p := range h.pacers {
		p.set(flushing)
	}
	end := time.Now().Add(drainFor / 10)
	for _, p := range h.pacers {
		for p.waiting.Load() > 0 && p.alive() && time.Now().Before(end) {
			time.Sleep(drainEvery / 10)
		}
	}
}

// runDry waits until the kernel has said twice that nothing waits: a packet on
// another processor may still be on its way into the queue.
func (h *Hold) runDry() error {
	ours := map[uint16]bool{}
	for _, q := range h.queues {
		ours[q.number] = true
	}
	end, dry := time.Now().Add(drainFor), 0
	for {
		queues, err := readQueues(h.ns)
		if err != nil {
			return err
		}
		waiting, dropped := 0, uint64(0)
		for number, s := range queues {
			if ours[number] {
				waiting += s.waiting
				dropped += s.dropped + s.couldNotTellUs
			}
		}
		h.note(dropped)
		if dry++; waiting > 0 {
			dry = 0
		}
		if dry == 2 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d packets still wait in the queue after %s and are lost", waiting, drainFor)
		}
		time.Sleep(drainEvery)
	}
}

func (h *Hold) note(dropped uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dropped = max(h.dropped, dropped)
}

// Measure gives what packets have met so far, both ways together. The error
// says that the kernel's count of lost packets could not be read.
func (h *Hold) Measure() (Measured, error) {
	var m Measured
	var all []*histogram
	m.Real = true
	for _, p := range h.pacers {
		all = append(all, &p.passed)
		m.Stamped += p.stamped.Load()
		m.Waiting += int(p.waiting.Load())
		m.Longest = max(m.Longest, int(p.longest.Load()))
		m.Real = m.Real && p.real.Load()
	}
	sum := merge(all)
	m.Packets, m.P50, m.P99 = sum.total.Load(), sum.at(0.50), sum.at(0.99)
	m.Least, m.Most = time.Duration(sum.least.Load()), time.Duration(sum.most.Load())
	m.Lapsed = h.lapsed.Load()
	err := h.readDropped()
	h.mu.Lock()
	m.Dropped = h.dropped
	h.mu.Unlock()
	return m, err
}

func (h *Hold) readDropped() error {
	queues, err := readQueues(h.ns)
	if err != nil {
		return err
	}
	var dropped uint64
	for _, q := range h.queues {
		s := queues[q.number]
		dropped += s.dropped + s.couldNotTellUs
	}
	h.note(dropped)
	return nil
}

// stampPackets keeps the kernel stamping what comes in: it does so while any
// socket asks for stamps.
func stampPackets() (close func() error, err error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket for stamps: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return nil, errors.Join(fmt.Errorf("ask for stamps: %w", err), unix.Close(fd))
	}
	return func() error { return unix.Close(fd) }, nil
}
