package netfault

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The tree that shapes one interface. Without peers and exemptions:
//
//	root  netem HANDLE:
//
// With them:
//
//	root  prio HANDLE:
//	├── HANDLE:1  packets that are not meant
//	├── HANDLE:2  netem HANDLE+1:
//	└── filters   exempt peers → :1, asked peers → :2, the rest by the priority map
//
// What comes in is led by a filter through an ifb of ours that has this tree.

// defaultRoots are the disciplines that the kernel puts on by itself, with handle 0.
var defaultRoots = map[string]bool{"noqueue": true, "pfifo_fast": true, "fq_codel": true, "fq": true}

// orderly is a rate so high that it adds no delay. With a rate netem never lets
// a packet overtake an earlier one, which it does under jitter without.
const orderly = 1 << 40

// tc opens the routing netlink of the namespace.
func (ns *Namespace) tc() (*netlink.Handle, error) {
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.file.Fd()), unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("open routing netlink in %s: %w", ns.path, tcError(err))
	}
	return h, nil
}

// tcError adds what an error number means for traffic control.
func tcError(err error) error {
	switch {
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %w", ErrForeign, err)
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it needs CAP_NET_ADMIN (run as root): %w", err)
	}
	return err
}

// AimShaping only reads: which interfaces would be shaped, and that nothing
// stands in the way. A root qdisc that somebody configured is ErrForeign.
func (ns *Namespace) AimShaping(d Delay, tag string) (Shaping, error) {
	s := Shaping{Delay: d, Tag: tag, Handle: uint16(0xf000 | rand.IntN(0xe00)&^1)}
	h, err := ns.tc()
	if err != nil {
		return s, err
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return s, fmt.Errorf("list the interfaces of %s: %w", ns.path, err)
	}
	for _, link := range links {
		a := link.Attrs()
		if a.Flags&net.FlagUp == 0 || a.Flags&net.FlagLoopback != 0 && !d.Loopback {
			continue
		}
		spots, err := aimLink(h, link, d, tag)
		if err != nil {
			return s, fmt.Errorf("shape %s in %s: %w", a.Name, ns.path, err)
		}
		s.Spots = append(s.Spots, spots...)
	}
	if len(s.Spots) == 0 {
		return s, fmt.Errorf("shape %s: no interface is up", ns.path)
	}
	return s, nil
}

func aimLink(h *netlink.Handle, link netlink.Link, d Delay, tag string) ([]Spot, error) {
	qdiscs, err := h.QdiscList(link)
	if err != nil {
		return nil, fmt.Errorf("read its queueing disciplines: %w", tcError(err))
	}
	a := link.Attrs()
	var spots []Spot
	for _, q := range qdiscs {
		at := q.Attrs()
		switch {
		case at.Parent == netlink.HANDLE_ROOT && d.Direction.Covers(Egress) && (at.Handle != 0 || !defaultRoots[q.Type()]):
			return nil, fmt.Errorf("%w: root qdisc %s %s", ErrForeign, q.Type(), netlink.HandleStr(at.Handle))
		case at.Parent == netlink.HANDLE_INGRESS && d.Direction.Covers(Ingress):
			return nil, fmt.Errorf("%w: %s qdisc %s", ErrForeign, q.Type(), netlink.HandleStr(at.Handle))
		}
	}
	if d.Direction.Covers(Egress) {
		spots = append(spots, Spot{Interface: a.Name, Index: a.Index, Way: Egress})
	}
	if d.Direction.Covers(Ingress) {
		spots = append(spots, Spot{Interface: a.Name, Index: a.Index, Way: Ingress, Via: fmt.Sprintf("fl%s%d", tag, a.Index)})
	}
	return spots, nil
}

// Shape puts the delay on. Everything is added, nothing replaced: what somebody
// else put there since the aiming is ErrForeign. After an error, Unshape.
func (ns *Namespace) Shape(s Shaping) error {
	if err := s.Delay.Validate(); err != nil {
		return err
	}
	h, err := ns.tc()
	if err != nil {
		return err
	}
	defer h.Close()
	for _, spot := range s.Spots {
		if err := s.shapeSpot(h, spot); err != nil {
			return fmt.Errorf("shape %s of %s in %s: %w", spot.Way, spot.Interface, ns.path, err)
		}
	}
	return nil
}

func (s Shaping) shapeSpot(h *netlink.Handle, spot Spot) error {
	link, err := sameLink(h, spot)
	if err != nil {
		return err
	}
	if spot.Way == Egress {
		return s.shapeLink(h, link.Attrs().Index, Egress)
	}
	via := &netlink.Ifb{LinkAttrs: netlink.NewLinkAttrs()}
	via.Name, via.TxQLen = spot.Via, 1000
	if err := h.LinkAdd(via); err != nil {
		return fmt.Errorf("add interface %s: %w", spot.Via, tcError(err))
	}
	led, err := h.LinkByName(spot.Via)
	if err != nil {
		return fmt.Errorf("find interface %s again: %w", spot.Via, err)
	}
	if err := h.LinkSetUp(led); err != nil {
		return fmt.Errorf("set interface %s up: %w", spot.Via, err)
	}
	if err := s.shapeLink(h, led.Attrs().Index, Ingress); err != nil {
		return err
	}
	return lead(h, link.Attrs().Index, led.Attrs().Index)
}

// errNoLink: the interface is no more, or another one has its number now.
var errNoLink = errors.New("the interface is gone")

func noLink(err error) bool {
	var missing netlink.LinkNotFoundError
	return errors.As(err, &missing) || errors.Is(err, unix.ENODEV)
}

func sameLink(h *netlink.Handle, spot Spot) (netlink.Link, error) {
	link, err := h.LinkByIndex(spot.Index)
	if noLink(err) {
		return nil, fmt.Errorf("%w: %w", errNoLink, err)
	}
	if err != nil {
		return nil, fmt.Errorf("find interface %s: %w", spot.Interface, err)
	}
	return link, nil
}

// lead makes everything that comes in at one interface go through another.
func lead(h *netlink.Handle, from, to int) error {
	ingress := &netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
		LinkIndex: from, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0),
	}}
	if err := h.QdiscAdd(ingress); err != nil {
		return fmt.Errorf("add an ingress qdisc: %w", tcError(err))
	}
	// u32 without a selector takes everything, on every kernel that has mirred.
	all := &netlink.U32{
		FilterAttrs: netlink.FilterAttrs{LinkIndex: from, Parent: ingress.Handle, Priority: 1, Protocol: unix.ETH_P_ALL},
		RedirIndex:  to,
	}
	if err := h.FilterAdd(all); err != nil {
		return fmt.Errorf("lead what comes in through the ifb: %w", tcError(err))
	}
	return nil
}

// shapeLink builds the tree on one interface.
func (s Shaping) shapeLink(h *netlink.Handle, index int, way Direction) error {
	handle := netlink.MakeHandle(s.Handle, 0)
	at := netlink.QdiscAttrs{LinkIndex: index, Handle: handle, Parent: netlink.HANDLE_ROOT}
	if len(s.Delay.Peers) == 0 && len(s.Delay.Exempt) == 0 {
		return s.addNetem(h, at)
	}
	root := netlink.NewPrio(at)
	root.Bands = 2
	root.PriorityMap = [netlink.PRIORITY_MAP_LEN]uint8{}
	if len(s.Delay.Peers) == 0 {
		for i := range root.PriorityMap {
			root.PriorityMap[i] = 1
		}
	}
	if err := h.QdiscAdd(root); err != nil {
		return fmt.Errorf("add qdisc prio: %w", tcError(err))
	}
	at.Handle, at.Parent = netlink.MakeHandle(s.Handle+1, 0), netlink.MakeHandle(s.Handle, 2)
	if err := s.addNetem(h, at); err != nil {
		return err
	}
	filters := flowers(s.Delay.Exempt, index, handle, netlink.MakeHandle(s.Handle, 1), 1, way)
	filters = append(filters, flowers(s.Delay.Peers, index, handle, netlink.MakeHandle(s.Handle, 2), 3, way)...)
	for _, f := range filters {
		if err := h.FilterAdd(f); err != nil {
			return fmt.Errorf("add a flower filter: %w", tcError(err))
		}
	}
	return nil
}

func (s Shaping) addNetem(h *netlink.Handle, at netlink.QdiscAttrs) error {
	if err := h.QdiscAdd(s.netem(at, s.Delay.Delay, s.Delay.Jitter)); err != nil {
		return fmt.Errorf("add qdisc netem: %w", tcError(err))
	}
	return nil
}

func (s Shaping) netem(at netlink.QdiscAttrs, delay, jitter time.Duration) *netlink.Netem {
	return netlink.NewNetem(at, netlink.NetemQdiscAttrs{
		Latency: uint32(delay.Microseconds()), Jitter: uint32(jitter.Microseconds()),
		Limit: s.Delay.queueLength(), Rate64: orderly,
	})
}

// flowers are the filters for peers: one for each range, family and, with a port, protocol.
func flowers(peers []Peer, index int, parent, class uint32, priority uint16, way Direction) []netlink.Filter {
	var all []netlink.Filter
	add := func(family uint16, prefix *net.IPNet, port uint16, proto *nl.IPProto) {
		f := &netlink.Flower{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: index, Parent: parent, Priority: priority, Protocol: family},
			EthType:     family, ClassId: class, IPProto: proto,
		}
		if family == unix.ETH_P_IPV6 {
			f.Priority++
		}
		switch {
		case way == Ingress:
			f.SrcPort = port
			if prefix != nil {
				f.SrcIP, f.SrcIPMask = prefix.IP, prefix.Mask
			}
		default:
			f.DestPort = port
			if prefix != nil {
				f.DestIP, f.DestIPMask = prefix.IP, prefix.Mask
			}
		}
		all = append(all, f)
	}
	for _, g := range byPort(peers) {
		protocols := []*nl.IPProto{nil}
		if g.port != 0 {
			tcp, udp, sctp := nl.IPPROTO_TCP, nl.IPPROTO_UDP, nl.IPPROTO_SCTP
			protocols = []*nl.IPProto{&tcp, &udp, &sctp}
		}
		for _, proto := range protocols {
			if g.anywhere {
				add(unix.ETH_P_IP, nil, g.port, proto)
				add(unix.ETH_P_IPV6, nil, g.port, proto)
				continue
			}
			for _, p := range g.v4 {
				add(unix.ETH_P_IP, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}, g.port, proto)
			}
			for _, p := range g.v6 {
				add(unix.ETH_P_IPV6, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 128)}, g.port, proto)
			}
		}
	}
	return all
}

// spotState is what stands in one spot.
type spotState struct {
	link    int // the interface with the tree: the spot's own, or its ifb
	root    netlink.Qdisc
	netem   *netlink.Netem
	ingress bool // the spot has an ingress qdisc
	led     bool // and it leads to our ifb
}

// readSpot reads; errNoLink when the interface is gone.
func (s Shaping) readSpot(h *netlink.Handle, spot Spot) (spotState, error) {
	link, err := sameLink(h, spot)
	if err != nil {
		return spotState{}, err
	}
	state := spotState{link: link.Attrs().Index}
	if spot.Way == Ingress {
		via, err := h.LinkByName(spot.Via)
		if noLink(err) {
			return spotState{}, nil
		}
		if err != nil {
			return state, fmt.Errorf("find interface %s: %w", spot.Via, err)
		}
		state.link = via.Attrs().Index
		if state.ingress, state.led, err = readLead(h, link, state.link); err != nil {
			return state, err
		}
		link = via
	}
	qdiscs, err := h.QdiscList(link)
	if err != nil {
		return state, fmt.Errorf("read the queueing disciplines of %s: %w", link.Attrs().Name, tcError(err))
	}
	for _, q := range qdiscs {
		if q.Attrs().Parent == netlink.HANDLE_ROOT {
			state.root = q
		}
		if n, ok := q.(*netlink.Netem); ok && (n.Handle == netlink.MakeHandle(s.Handle, 0) || n.Handle == netlink.MakeHandle(s.Handle+1, 0)) {
			state.netem = n
		}
	}
	return state, nil
}

func readLead(h *netlink.Handle, link netlink.Link, via int) (ingress, led bool, err error) {
	qdiscs, err := h.QdiscList(link)
	if err != nil {
		return false, false, fmt.Errorf("read the queueing disciplines of %s: %w", link.Attrs().Name, tcError(err))
	}
	for _, q := range qdiscs {
		ingress = ingress || q.Attrs().Parent == netlink.HANDLE_INGRESS
	}
	if !ingress {
		return false, false, nil
	}
	filters, err := h.FilterList(link, netlink.MakeHandle(0xffff, 0))
	if err != nil {
		return true, false, fmt.Errorf("read the filters of %s: %w", link.Attrs().Name, tcError(err))
	}
	for _, f := range filters {
		if u, ok := f.(*netlink.U32); ok && u.RedirIndex == via {
			led = true
		}
	}
	return true, led, nil
}

// ours says whether the tree is there.
func (s Shaping) ours(st spotState) bool {
	return st.root != nil && st.root.Attrs().Handle == netlink.MakeHandle(s.Handle, 0) &&
		(st.root.Type() == "netem" || st.root.Type() == "prio")
}

// LookShaping reads the delay back.
func (ns *Namespace) LookShaping(s Shaping) (ShapingLook, error) {
	var look ShapingLook
	h, err := ns.tc()
	if err != nil {
		return look, err
	}
	defer h.Close()
	for _, spot := range s.Spots {
		st, err := s.readSpot(h, spot)
		if err != nil && !errors.Is(err, errNoLink) {
			return look, fmt.Errorf("read %s in %s: %w", spot.Interface, ns.path, err)
		}
		look.add(s, spot, st)
	}
	return look, nil
}

func (l *ShapingLook) add(s Shaping, spot Spot, st spotState) {
	wanted := s.netem(netlink.QdiscAttrs{}, s.Delay.Delay, s.Delay.Jitter)
	ours := s.ours(st) && st.netem != nil && (spot.Way == Egress || st.led)
	switch {
	case ours && st.netem.Latency == wanted.Latency && st.netem.Jitter == wanted.Jitter:
		l.On++
	case st.root != nil && !s.ours(st) && st.root.Attrs().Handle != 0:
		l.Off++
		l.Foreign = fmt.Sprintf("%s %s on %s", st.root.Type(), netlink.HandleStr(st.root.Attrs().Handle), spot.Interface)
	default:
		l.Off++
	}
	if st.netem == nil || st.netem.Statistics == nil {
		return
	}
	if q := st.netem.Statistics.Queue; q != nil {
		l.Waiting += int(q.Qlen)
		l.Dropped += uint64(q.Drops)
	}
	if b := st.netem.Statistics.Basic; b != nil {
		l.Packets += uint64(b.Packets)
	}
}

// Unshape takes off what is ours and proves that it is gone. What is not ours
// is left alone, and it is fine when nothing is there.
func (ns *Namespace) Unshape(ctx context.Context, s Shaping) error {
	h, err := ns.tc()
	if err != nil {
		return err
	}
	defer h.Close()
	var failed error
	states := make([]spotState, len(s.Spots))
	for i, spot := range s.Spots {
		st, err := s.readSpot(h, spot)
		if err == nil && s.ours(st) && st.netem != nil {
			err = s.neutralise(h, st)
		}
		states[i] = st
		if err != nil && !errors.Is(err, errNoLink) {
			failed = errors.Join(failed, fmt.Errorf("undo the shaping of %s in %s: %w", spot.Interface, ns.path, err))
		}
	}
	s.drain(ctx, h)
	for i, spot := range s.Spots {
		if err := s.removeSpot(h, spot, states[i]); err != nil && !errors.Is(err, errNoLink) {
			failed = errors.Join(failed, fmt.Errorf("undo the shaping of %s in %s: %w", spot.Interface, ns.path, err))
		}
	}
	return errors.Join(failed, ns.verifyUnshaped(h, s))
}

// neutralise sets the delay to zero: what waits keeps its time and its order.
func (s Shaping) neutralise(h *netlink.Handle, st spotState) error {
	at := netlink.QdiscAttrs{LinkIndex: st.link, Handle: st.netem.Handle, Parent: st.netem.Parent}
	if err := h.QdiscChange(s.netem(at, 0, 0)); err != nil {
		return fmt.Errorf("set the delay to zero: %w", tcError(err))
	}
	return nil
}

// drain waits until what is on its way has left; removing drops the rest.
func (s Shaping) drain(ctx context.Context, h *netlink.Handle) {
	end := time.Now().Add(min(s.Delay.Delay+s.Delay.Jitter+100*time.Millisecond, drainShaping))
	for time.Now().Before(end) && ctx.Err() == nil {
		waiting := 0
		for _, spot := range s.Spots {
			if st, err := s.readSpot(h, spot); err == nil && st.netem != nil && st.netem.Statistics != nil && st.netem.Statistics.Queue != nil {
				waiting += int(st.netem.Statistics.Queue.Qlen)
			}
		}
		if waiting == 0 {
			return
		}
		time.Sleep(drainEvery)
	}
}

func (s Shaping) removeSpot(h *netlink.Handle, spot Spot, st spotState) error {
	if spot.Way == Ingress {
		return s.removeLed(h, spot, st)
	}
	if !s.ours(st) {
		return nil
	}
	// By handle: the kernel refuses when another one has taken its place meanwhile.
	err := h.QdiscDel(&netlink.GenericQdisc{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: st.link, Handle: netlink.MakeHandle(s.Handle, 0), Parent: netlink.HANDLE_ROOT},
		QdiscType:  st.root.Type(),
	})
	if err != nil {
		return fmt.Errorf("delete qdisc %s: %w", netlink.HandleStr(netlink.MakeHandle(s.Handle, 0)), err)
	}
	return nil
}

// removeLed takes the way through the ifb off, then the ifb.
func (s Shaping) removeLed(h *netlink.Handle, spot Spot, st spotState) error {
	if st.led {
		err := h.QdiscDel(&netlink.Ingress{QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: spot.Index, Parent: netlink.HANDLE_INGRESS, Handle: netlink.MakeHandle(0xffff, 0),
		}})
		if err != nil {
			return fmt.Errorf("delete the ingress qdisc: %w", err)
		}
	}
	via, err := h.LinkByName(spot.Via)
	if noLink(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find interface %s: %w", spot.Via, err)
	}
	if _, ok := via.(*netlink.Ifb); !ok {
		return fmt.Errorf("interface %s: %w: it is a %s", spot.Via, ErrForeign, via.Type())
	}
	if err := h.LinkDel(via); err != nil {
		return fmt.Errorf("delete interface %s: %w", spot.Via, err)
	}
	return nil
}

// verifyUnshaped looks once more.
func (ns *Namespace) verifyUnshaped(h *netlink.Handle, s Shaping) error {
	for _, spot := range s.Spots {
		st, err := s.readSpot(h, spot)
		switch {
		case errors.Is(err, errNoLink):
		case err != nil:
			return fmt.Errorf("undo the shaping of %s in %s: %w: could not look whether it is off: %w", spot.Interface, ns.path, ErrUnknown, err)
		case s.ours(st), spot.Way == Ingress && st.link != 0:
			return fmt.Errorf("undo the shaping of %s in %s: %w", spot.Interface, ns.path, ErrStillOn)
		}
	}
	return nil
}
