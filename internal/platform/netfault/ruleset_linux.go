package netfault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// ruleset is our own tables in the target's namespace, all of one name:
//
//	table inet NAME (owner: goes with our netlink socket)
//	├── set armed {ipv4, ipv6; each times out after armedFor unless re-armed}
//	├── chain ingress  hook prerouting, before connection tracking
//	│   └── family in armed → ingress-peers
//	├── chain ingress-peers
//	│   ├── from lo (unless asked for), neighbour discovery, exempt peers → out
//	│   └── asked peers, or everybody → ingress-hold
//	└── chain ingress-hold: count, queue with bypass
//	table ip NAME, table ip6 NAME (owner), each
//	├── set armed
//	├── chain egress  hook output, chain forwarded  hook forward
//	│   └── family in armed → egress-peers → egress-hold, as above
//	└── chain egress-hold
//	    ├── TCP or a small UDP packet that a socket is charged for:
//	    │   send a copy that no socket is charged for, and lose this one
//	    ├── → egress-track: have the copy tracked, where somebody has rules
//	    └── count, queue with bypass: the copy, and everything else
//
// A packet that waits stays charged to its socket, and TCP sends no more while
// two are: a delay would be a bandwidth limit. Hence the copy, which the kernel
// makes without copying the data. The packet itself goes to a queue that takes
// none, for a drop would be an error to the sender. Where the kernel cannot copy
// packets, the rules for egress stand in the inet table, without the copy.
//
// The hooks come before connection tracking, so that two packets of a new
// connection that wait at the same time do not race for its entry. The kernel
// exempts copies from tracking; where somebody else has rules, ours take that
// back by choosing the default zone.
type ruleset struct {
	conn   *nftables.Conn
	socket *netlink.Conn // the one that owns the tables
	name   string
	build  buildWith
	tables []*tableRules
	setID  uint32
}

// buildWith is which of the kernel's means a ruleset uses.
type buildWith struct {
	native  bool         // nft_queue, else the xtables target
	copies  bool         // nft_dup
	owner   expr.MetaKey // by which a packet that a socket is charged for is told from a copy
	tracked bool         // undo what nft_dup does to connection tracking
}

// tableRules is one of our tables.
type tableRules struct {
	table     *nftables.Table
	armed     *nftables.Set
	withPorts *nftables.Set
	base      []*nftables.Chain
}

// armedFor is how long the kernel keeps a fault on without hearing from us.
const armedFor = 3 * time.Second

// side is what differs between the two ways.
type side struct {
	way        Direction
	queue      uint16
	sink       uint16 // a queue that takes nothing
	hooks      []hookPoint
	iftype     expr.MetaKey
	v4, v6     uint32 // offset of the peer's address
	portOffset uint32
}

type hookPoint struct {
	chain string
	hook  *nftables.ChainHook
}

func sideOf(way Direction, queue, sink uint16) side {
	if way == Ingress {
		return side{
			way: Ingress, queue: queue, iftype: expr.MetaKeyIIFTYPE, v4: 12, v6: 8, portOffset: 0,
			hooks: []hookPoint{{"ingress", nftables.ChainHookPrerouting}},
		}
	}
	return side{
		way: Egress, queue: queue, sink: sink, iftype: expr.MetaKeyOIFTYPE, v4: 16, v6: 24, portOffset: 2,
		hooks: []hookPoint{{"egress", nftables.ChainHookOutput}, {"forwarded", nftables.ChainHookForward}},
	}
}

// newRuleset opens the socket that will own the tables.
func newRuleset(ns *Namespace, name string, with buildWith) (*ruleset, error) {
	r := &ruleset{name: name, build: with}
	var err error
	r.conn, err = nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(int(ns.file.Fd())),
		nftables.WithSockOptions(func(c *netlink.Conn) error { r.socket = c; return nil }))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", ns.path, nftError(err))
	}
	return r, nil
}

// nftError adds what an error number means for nf_tables.
func nftError(err error) error {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("it needs CAP_NET_ADMIN (run as root): %w", err)
	}
	return err
}

const tableOwner = 0x2 // NFT_TABLE_F_OWNER, Linux 5.12

// createOwned sends the one message that the nftables library cannot: a new
// table with flags. Exclusive: a table of this name that is there is not ours.
func (r *ruleset) createOwned(table *nftables.Table) error {
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_TABLE_NAME, Data: append([]byte(table.Name), 0)},
		{Type: unix.NFTA_TABLE_FLAGS, Data: binaryutil.BigEndian.PutUint32(tableOwner)},
	})
	if err != nil {
		return err
	}
	batch := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data:   []byte{0, 0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	create := netlink.Message{
		Header: netlink.Header{
			Type:  unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE,
			Flags: netlink.Request | netlink.Acknowledge | netlink.Create | netlink.Excl,
		},
		Data: append([]byte{byte(table.Family), 0, 0, 0}, attributes...),
	}
	if _, err := r.socket.SendMessages([]netlink.Message{
		batch(unix.NFNL_MSG_BATCH_BEGIN), create, batch(unix.NFNL_MSG_BATCH_END),
	}); err != nil {
		return err
	}
	_, err = r.socket.Receive()
	return err
}

// add makes the tables with sets, chains and rules; nothing is held until armed.
// The hooks come last, in a transaction of their own that needs nothing the
// kernel may lack: one that fails would take hooks out again, and that drops what
// waits in other queues of the namespace.
func (r *ruleset) add(d Delay, sides []side) error {
	for _, s := range sides {
		for _, family := range r.familiesOf(s) {
			t, err := r.tableOf(family)
			if err != nil {
				return fmt.Errorf("make table %s: %w", r.name, nftError(err))
			}
			if err := r.addSide(t, d, s); err != nil {
				return err
			}
		}
	}
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("build table %s: %w", r.name, nftError(err))
	}
	for _, s := range sides {
		for _, family := range r.familiesOf(s) {
			t, err := r.tableOf(family)
			if err != nil {
				return err
			}
			r.addHooks(t, s)
		}
	}
	return r.flush("hook in")
}

// familiesOf are the tables in which a side's rules stand: copying is not known
// to the table for both families.
func (r *ruleset) familiesOf(s side) []nftables.TableFamily {
	if s.way == Egress && r.build.copies {
		return []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6}
	}
	return []nftables.TableFamily{nftables.TableFamilyINet}
}

// tableOf gives our table of a family; a new one has its sets.
func (r *ruleset) tableOf(family nftables.TableFamily) (*tableRules, error) {
	for _, t := range r.tables {
		if t.table.Family == family {
			return t, nil
		}
	}
	t := &tableRules{table: &nftables.Table{Name: r.name, Family: family}}
	if err := r.createOwned(t.table); err != nil {
		return nil, err
	}
	t.armed = r.newSet(t.table, "armed", nftables.TypeNFProto)
	t.armed.HasTimeout = true
	t.withPorts = r.newSet(t.table, "with-ports", nftables.TypeInetProto)
	r.tables = append(r.tables, t)
	return t, errors.Join(
		r.conn.AddSet(t.armed, nil),
		r.conn.AddSet(t.withPorts, keys(unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP)))
}

func keys(values ...byte) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, v := range values {
		elements = append(elements, nftables.SetElement{Key: []byte{v}})
	}
	return elements
}

// newSet numbers sets by ourselves: the library's own counter is not safe for
// use from several goroutines.
func (r *ruleset) newSet(table *nftables.Table, name string, kind nftables.SetDatatype) *nftables.Set {
	r.setID++
	return &nftables.Set{Table: table, ID: r.setID, Name: name, KeyType: kind}
}

func (r *ruleset) addSide(t *tableRules, d Delay, s side) error {
	hold := r.conn.AddChain(&nftables.Chain{Name: string(s.way) + "-hold", Table: t.table})
	peers := r.conn.AddChain(&nftables.Chain{Name: string(s.way) + "-peers", Table: t.table})
	r.addHold(t, hold, s)
	if !d.Loopback {
		r.rule(peers, meta(s.iftype), equal(binaryutil.NativeEndian.PutUint16(unix.ARPHRD_LOOPBACK)), verdict(expr.VerdictReturn, ""))
	}
	r.rule(peers, neighbourDiscovery()...)
	if err := r.peerRules(t, peers, s, "exempt", d.Exempt, verdict(expr.VerdictReturn, "")); err != nil {
		return err
	}
	asked := d.Peers
	if len(asked) == 0 {
		asked = []Peer{{}} // any address, any port
	}
	return r.peerRules(t, peers, s, "to", asked, verdict(expr.VerdictGoto, hold.Name))
}

// addHooks leads packets into the rules. What concerns connection tracking comes
// here too: it has hooks of its own.
func (r *ruleset) addHooks(t *tableRules, s side) {
	if s.way == Egress && r.build.copies && r.build.tracked {
		track := &nftables.Chain{Name: string(s.way) + "-track", Table: t.table}
		r.rule(track, &expr.Immediate{Register: 1, Data: []byte{0, 0}}, &expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true})
	}
	accept := nftables.ChainPolicyAccept
	for _, point := range s.hooks {
		base := r.conn.AddChain(&nftables.Chain{
			Name: point.chain, Table: t.table, Type: nftables.ChainTypeFilter,
			Hooknum: point.hook, Priority: nftables.ChainPriorityRaw, Policy: &accept,
		})
		r.rule(base, meta(expr.MetaKeyNFPROTO), lookup(t.armed), verdict(expr.VerdictJump, string(s.way)+"-peers"))
		t.base = append(t.base, base)
	}
}

// addHold adds the rules that hold packets back.
func (r *ruleset) addHold(t *tableRules, hold *nftables.Chain, s side) {
	if s.way == Egress && r.build.copies {
		for _, packets := range [][]expr.Any{tcp(), smallUDP()} {
			r.rule(hold, slices.Concat(r.ofASocket(), packets, r.copyAndLose(t, s))...)
		}
		track := r.conn.AddChain(&nftables.Chain{Name: string(s.way) + "-track", Table: t.table})
		r.rule(hold, verdict(expr.VerdictJump, track.Name))
	}
	r.rule(hold, &expr.Counter{}, r.queueExpr(s.queue, bypass))
}

// ofASocket matches packets that a socket is charged for: of copies, which have
// none, the key cannot be read, and then a rule does not match.
func (r *ruleset) ofASocket() []expr.Any {
	return []expr.Any{meta(r.build.owner), &expr.Cmp{Op: expr.CmpOpGte, Register: 1, Data: []byte{0, 0, 0, 0}}}
}

func tcp() []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO), equal([]byte{unix.IPPROTO_TCP})}
}

// neverFragmented is the length up to which a packet is sent whole everywhere: a
// copy must not be fragmented.
const neverFragmented = 1280

func smallUDP() []expr.Any {
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO), equal([]byte{unix.IPPROTO_UDP}),
		meta(expr.MetaKeyLEN),
		// Ordered comparisons are by bytes, lengths are the host's numbers.
		&expr.Byteorder{SourceRegister: 1, DestRegister: 1, Op: expr.ByteorderHton, Len: 4, Size: 4},
		&expr.Cmp{Op: expr.CmpOpLte, Register: 1, Data: binary.BigEndian.AppendUint32(nil, neverFragmented)},
	}
}

// copyAndLose sends a copy towards the packet's own destination.
func (r *ruleset) copyAndLose(t *tableRules, s side) []expr.Any {
	offset, length := s.v4, uint32(4)
	if t.table.Family == nftables.TableFamilyIPv6 {
		offset, length = s.v6, 16
	}
	return []expr.Any{
		payload(expr.PayloadBaseNetworkHeader, offset, length), &expr.Dup{RegAddr: 1},
		r.queueExpr(s.sink, 0),
	}
}

// peerRules adds a rule for each port and family.
func (r *ruleset) peerRules(t *tableRules, chain *nftables.Chain, s side, label string, peers []Peer, then expr.Any) error {
	for _, g := range byPort(peers) {
		port := portMatch(g.port, s.portOffset, t.withPorts)
		if g.anywhere {
			r.rule(chain, append(port, then)...)
			continue
		}
		name := fmt.Sprintf("%s-%s-%d", s.way, label, g.port)
		for _, family := range []struct {
			proto    byte
			kind     nftables.SetDatatype
			prefixes []netip.Prefix
			offset   uint32
		}{
			{unix.NFPROTO_IPV4, nftables.TypeIPAddr, g.v4, s.v4},
			{unix.NFPROTO_IPV6, nftables.TypeIP6Addr, g.v6, s.v6},
		} {
			if len(family.prefixes) == 0 {
				continue
			}
			match := []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{family.proto})}
			if family.prefixes[0].Bits() > 0 { // else the whole family
				set := r.newSet(t.table, fmt.Sprintf("%s-v%d", name, family.prefixes[0].Addr().BitLen()/32), family.kind)
				set.Interval = true
				if err := r.conn.AddSet(set, intervals(family.prefixes)); err != nil {
					return err
				}
				match = append(match, payload(expr.PayloadBaseNetworkHeader, family.offset, uint32(family.kind.Bytes)), lookup(set))
			}
			r.rule(chain, append(append(match, port...), then)...)
		}
	}
	return nil
}

// intervals gives each prefix as a start and the address after its end.
func intervals(prefixes []netip.Prefix) []nftables.SetElement {
	var elements []nftables.SetElement
	for _, p := range prefixes {
		elements = append(elements, nftables.SetElement{Key: p.Addr().AsSlice()})
		if after := lastOf(p).Next(); after.IsValid() {
			elements = append(elements, nftables.SetElement{Key: after.AsSlice(), IntervalEnd: true})
		}
	}
	return elements
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for bit := p.Bits(); bit < len(b)*8; bit++ {
		b[bit/8] |= 0x80 >> (bit % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// The few expressions that the rules are made of.

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: 1} }

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func lookup(set *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}
}

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: length}
}

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

func portMatch(port uint16, offset uint32, withPorts *nftables.Set) []expr.Any {
	if port == 0 {
		return nil
	}
	return []expr.Any{
		meta(expr.MetaKeyL4PROTO), lookup(withPorts),
		payload(expr.PayloadBaseTransportHeader, offset, 2), equal(binary.BigEndian.AppendUint16(nil, port)),
	}
}

// neighbourDiscovery lets router and neighbour messages pass: held back, they
// would turn a delay above their timeout into an unreachable host.
func neighbourDiscovery() []expr.Any {
	return []expr.Any{
		meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV6}),
		meta(expr.MetaKeyL4PROTO), equal([]byte{unix.IPPROTO_ICMPV6}),
		payload(expr.PayloadBaseTransportHeader, 0, 1),
		&expr.Range{Op: expr.CmpOpEq, Register: 1, FromData: []byte{133}, ToData: []byte{137}},
		verdict(expr.VerdictReturn, ""),
	}
}

const bypass = 1 // NFQ_FLAG_BYPASS: without a listener the packet passes

// queueExpr uses nft_queue where the kernel has it, else the xtables target.
func (r *ruleset) queueExpr(queue, flags uint16) expr.Any {
	if r.build.native {
		return &expr.Queue{Num: queue, Total: 1, Flag: expr.QueueFlag(flags)}
	}
	info := xt.Unknown(make([]byte, 8)) // struct xt_NFQ_info_v3, padded
	binary.NativeEndian.PutUint16(info[0:], queue)
	binary.NativeEndian.PutUint16(info[2:], 1)
	binary.NativeEndian.PutUint16(info[4:], flags)
	return &expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}
}

func (r *ruleset) rule(chain *nftables.Chain, exprs ...expr.Any) {
	r.conn.AddRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: exprs})
}

// arm puts both families into the sets for at most the given time.
func (r *ruleset) arm(length time.Duration) error {
	for _, t := range r.tables {
		if err := r.conn.SetAddElements(t.armed, families(length)); err != nil {
			return err
		}
	}
	return r.flush("arm")
}

// rearm replaces the elements in one transaction: no packet sees a set empty.
// When they have timed out already it fails, and the fault stays off.
func (r *ruleset) rearm(length time.Duration) error {
	for _, t := range r.tables {
		if err := r.conn.SetDeleteElements(t.armed, families(0)); err != nil {
			return err
		}
		if err := r.conn.SetAddElements(t.armed, families(length)); err != nil {
			return err
		}
	}
	return r.flush("re-arm")
}

func (r *ruleset) flush(what string) error {
	if err := r.conn.Flush(); err != nil {
		return fmt.Errorf("%s table %s: %w", what, r.name, err)
	}
	return nil
}

func families(length time.Duration) []nftables.SetElement {
	elements := keys(unix.NFPROTO_IPV4, unix.NFPROTO_IPV6)
	for i := range elements {
		elements[i].Timeout = max(length, 0)
	}
	return elements
}

// neutralise lets every new packet pass; the hooks stay, for taking them out
// would drop what waits.
func (r *ruleset) neutralise() error {
	for _, t := range r.tables {
		for _, chain := range t.base {
			r.conn.FlushChain(chain)
		}
	}
	return r.flush("neutralise")
}

// remove deletes the tables; nothing may wait any more.
func (r *ruleset) remove() error {
	for _, t := range r.tables {
		r.conn.DelTable(t.table)
	}
	return r.flush("remove")
}

// close lets the socket go, and with it, in the kernel, the tables.
func (r *ruleset) close() error { return r.conn.CloseLasting() }
