package netfault

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/faultline-sh/faultline/internal/testenv"
	"github.com/faultline-sh/faultline/internal/testenv/microvm"
)

// vm is a kernel that has netem, where this machine's may not.
var vm = microvm.Tests{
	Package: "./internal/platform/netfault",
	Run:     "Netem|InVM",
	Modules: []string{"veth", "ifb", "dummy", "sch_netem", "sch_prio", "sch_ingress", "sch_tbf", "cls_u32", "cls_flower", "act_mirred",
		"nf_tables", "nfnetlink_queue", "nft_queue", "nft_dup_ipv4", "nft_dup_ipv6", "nft_ct"},
}

// An emulated machine is slow: a packet may take this much longer, which is less
// than the delay that it must not have.
const (
	vmDelay = 300 * time.Millisecond
	vmSlack = 250 * time.Millisecond
)

func shape(t *testing.T, p *pair, d Delay) Shaping {
	t.Helper()
	s, err := p.target.AimShaping(d, fmt.Sprintf("%x", time.Now().UnixNano()&0xffffff))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(s) // as another process gets it
	var again Shaping
	if err := errors.Join(err, json.Unmarshal(raw, &again)); err != nil {
		t.Fatal(err)
	}
	if err := p.target.Shape(again); err != nil {
		t.Fatal(err)
	}
	return again
}

// qdiscs is everything that traffic control has in a namespace, without counters.
func qdiscs(t testing.TB, ns *Namespace) []string {
	t.Helper()
	h, err := ns.tc()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, link := range links {
		list, err := h.QdiscList(link)
		if err != nil {
			t.Fatal(err)
		}
		for _, q := range list {
			a := *q.Attrs()
			a.Statistics = nil
			all = append(all, fmt.Sprintf("%s %s %s", link.Attrs().Name, q.Type(), a))
		}
	}
	return all
}

func TestNetemDelaysBothFamiliesInEachDirection(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		const delay = vmDelay
		for _, row := range []struct {
			direction Direction
			want      time.Duration
		}{{Ingress, delay}, {Egress, delay}, {Both, 2 * delay}} {
			p := newPair(t)
			before := qdiscs(t, p.target)
			port := p.listen(t)
			v4, v6 := p.dial(t, 0, netip.AddrPortFrom(p.addr4, port)), p.dial(t, 0, netip.AddrPortFrom(p.addr6, port))
			trip(t, v4) // neighbours are known from here on
			trip(t, v6)
			s := shape(t, p, Delay{Direction: row.direction, Delay: delay})
			between(t, string(row.direction)+" IPv4", trip(t, v4), row.want, row.want+vmSlack)
			between(t, string(row.direction)+" IPv6", trip(t, v6), row.want, row.want+vmSlack)
			look, err := p.target.LookShaping(s)
			if err != nil || look.On != len(s.Spots) || look.Packets == 0 || look.Dropped != 0 {
				t.Errorf("%s: read back %+v, %v", row.direction, look, err)
			}
			for range 2 {
				if err := p.target.Unshape(t.Context(), s); err != nil {
					t.Fatal(err)
				}
			}
			between(t, string(row.direction)+" after", trip(t, v4), 0, vmSlack)
			if after := qdiscs(t, p.target); !reflect.DeepEqual(before, after) {
				t.Errorf("%s: undone is not as before:\n%v\n%v", row.direction, before, after)
			}
		}
	})
}

func TestNetemDelaysOnlyThePeersThatWereAsked(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		const delay = vmDelay
		for _, row := range []struct {
			name    string
			way     Direction
			peers   string
			exempt  string
			delayed bool
		}{
			{"the peer's address", Egress, "198.18.0.1", "", true},
			{"the peer's port", Egress, ":4000", "", true},
			{"the peer's port on the way in", Ingress, "198.18.0.1:4000", "", true},
			{"another port", Egress, "198.18.0.1:4001", "", false},
			{"another address", Egress, "198.18.0.3", "", false},
			{"everybody but the exempt", Egress, "", "198.18.0.1:4000", false},
			{"everybody, exempting another port", Egress, "", "198.18.0.1:4001", true},
		} {
			d := Delay{Direction: row.way, Delay: delay}
			for text, list := range map[string]*[]Peer{row.peers: &d.Peers, row.exempt: &d.Exempt} {
				if peer, err := ParsePeer(text); text != "" && err == nil {
					*list = append(*list, peer)
				}
			}
			p := newPair(t)
			conn := p.dial(t, 4000, netip.AddrPortFrom(p.addr4, p.listen(t)))
			trip(t, conn)
			s := shape(t, p, d)
			want := time.Duration(0)
			if row.delayed {
				want = delay
			}
			between(t, row.name, trip(t, conn), want, want+vmSlack)
			if err := p.target.Unshape(t.Context(), s); err != nil {
				t.Errorf("%s: %v", row.name, err)
			}
		}
	})
}

func TestNetemJitterKeepsTheOrder(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		p := newPair(t)
		conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
		trip(t, conn)
		s := shape(t, p, Delay{Direction: Egress, Delay: 50 * time.Millisecond, Jitter: 40 * time.Millisecond})
		stop := make(chan struct{})
		result := flow(conn, 2*time.Millisecond, stop)
		<-time.After(time.Second)
		close(stop)
		got := result()
		t.Logf("%+v", got)
		if got.came != got.sent || got.disordered != 0 {
			t.Errorf("jitter lost or reordered packets: %+v", got)
		}
		if err := p.target.Unshape(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	})
}

func TestH38_NetemQueueIsSizedAndDropsAreReported(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		p := newPair(t)
		conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
		trip(t, conn)
		// 3000 packets wait at once: netem's own limit of 1000 would lose two thirds.
		s := shape(t, p, Delay{Direction: Ingress, Delay: 2 * time.Second})
		for range 3000 {
			if _, err := conn.Write([]byte("a packet")); err != nil {
				t.Fatal(err)
			}
		}
		look, err := p.target.LookShaping(s)
		t.Logf("%+v", look)
		if err != nil || look.Waiting < 2000 || look.Dropped != 0 {
			t.Errorf("read back %+v, %v; want all waiting, none dropped", look, err)
		}
		h, err := p.target.tc()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		via, err := h.LinkByName(s.Spots[0].Via)
		if err != nil {
			t.Fatal(err)
		}
		small := &netlink.Netem{Latency: 1 << 20, Limit: 10, QdiscAttrs: netlink.QdiscAttrs{
			LinkIndex: via.Attrs().Index, Handle: netlink.MakeHandle(s.Handle, 0), Parent: netlink.HANDLE_ROOT,
		}}
		if err := h.QdiscChange(small); err != nil {
			t.Fatal(err)
		}
		for range 100 {
			if _, err := conn.Write([]byte("a packet")); err != nil {
				t.Fatal(err)
			}
		}
		if look, err = p.target.LookShaping(s); err != nil || look.Dropped == 0 {
			t.Errorf("with a queue of 10: %+v, %v; want drops", look, err)
		}
		if err := p.target.Unshape(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	})
}

func TestH32_NetemReplacedBySomebodyIsSeenAndTheirsStays(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		p := newPair(t)
		s := shape(t, p, Delay{Direction: Egress, Delay: 50 * time.Millisecond})
		h, err := p.target.tc()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if err := h.QdiscReplace(theirs(t, h, p.link)); err != nil {
			t.Fatal(err)
		}
		before := qdiscs(t, p.target)
		look, err := p.target.LookShaping(s)
		if err != nil || look.On != 0 || look.Foreign == "" {
			t.Errorf("read back %+v, %v; want theirs by name", look, err)
		}
		t.Log(look.Foreign)
		if err := p.target.Unshape(t.Context(), s); err != nil {
			t.Errorf("undo: %v", err)
		}
		if after := qdiscs(t, p.target); !reflect.DeepEqual(before, after) {
			t.Errorf("undo touched theirs:\n%v\n%v", before, after)
		}
	})
}

// theirs is a token bucket that somebody else configured.
func theirs(t testing.TB, h *netlink.Handle, name string) netlink.Qdisc {
	t.Helper()
	link, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return &netlink.Tbf{
		QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT},
		Rate:       1 << 24, Limit: 1 << 20, Buffer: 1 << 16,
	}
}

func TestH41_NetemUndoWhileTrafficFlows(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		p := newPair(t)
		conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
		trip(t, conn)
		s := shape(t, p, Delay{Direction: Egress, Delay: 50 * time.Millisecond})
		stop := make(chan struct{})
		result := flow(conn, 2*time.Millisecond, stop)
		<-time.After(300 * time.Millisecond)
		if err := p.target.Unshape(t.Context(), s); err != nil {
			t.Fatal(err)
		}
		<-time.After(200 * time.Millisecond)
		close(stop)
		got := result()
		t.Logf("of %d packets %d came, %d out of order, longest gap %s", got.sent, got.came, got.disordered, got.gap)
		// The kernel itself drops what is sent in the instant in which a root qdisc changes.
		if got.sent-got.came > 5 || got.disordered > 0 || got.gap > 50*time.Millisecond+2*vmSlack {
			t.Errorf("undo cost packets: %+v", got)
		}
	})
}

// Another kernel, ten years of which users have: nfqueue works there by its own means.
func TestInVMHoldDelaysBothFamiliesInEachDirection(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		const delay = vmDelay
		for _, row := range []struct {
			direction Direction
			want      time.Duration
		}{{Ingress, delay}, {Egress, delay}, {Both, 2 * delay}} {
			p := newPair(t)
			port := p.listen(t)
			v4, v6 := p.dial(t, 0, netip.AddrPortFrom(p.addr4, port)), p.dial(t, 0, netip.AddrPortFrom(p.addr6, port))
			trip(t, v4)
			trip(t, v6)
			h := hold(t, p.target, Delay{Direction: row.direction, Delay: delay})
			if with := h.rules.build; !with.native || !with.copies {
				t.Errorf("%s: built with %+v on a kernel that has all of it", row.direction, with)
			}
			between(t, string(row.direction)+" IPv4", trip(t, v4), row.want, row.want+vmSlack)
			between(t, string(row.direction)+" IPv6", trip(t, v6), row.want, row.want+vmSlack)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			between(t, string(row.direction)+" after", trip(t, v4), 0, vmSlack)
		}
	})
}

func TestInVMBothMechanismsWork(t *testing.T) {
	vm.Test(t, func(t *testing.T) {
		for _, m := range Mechanisms() {
			a := Try(t.Context(), m)
			t.Logf("%+v", a)
			if !a.Works || !a.Peers || !a.Ingress {
				t.Errorf("%s: %+v", m, a)
			}
		}
	})
}

// The refusal needs no netem: it is the same on every kernel.
func TestH30_ForeignRootQdiscIsRefusedByNameAndUntouched(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	h, err := p.target.tc()
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	link, err := h.LinkByName(p.link)
	if err != nil {
		t.Fatal(err)
	}
	free, err := p.target.AimShaping(Delay{Direction: Egress, Delay: time.Millisecond}, "x")
	if err != nil {
		t.Fatal(err)
	}
	root := netlink.MakeHandle(1, 0)
	htb := netlink.NewHtb(netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: root, Parent: netlink.HANDLE_ROOT})
	class := netlink.NewHtbClass(netlink.ClassAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 1), Parent: root},
		netlink.HtbClassAttrs{Rate: 1 << 24})
	filter := &netlink.U32{FilterAttrs: netlink.FilterAttrs{LinkIndex: link.Attrs().Index, Parent: root, Priority: 7, Protocol: 0x0800}, ClassId: netlink.MakeHandle(1, 1)}
	if err := errors.Join(h.QdiscAdd(htb), h.ClassAdd(class), h.FilterAdd(filter)); err != nil {
		t.Fatal(err)
	}
	before := qdiscs(t, p.target)
	_, err = p.target.AimShaping(Delay{Direction: Egress, Delay: time.Millisecond}, "x")
	if !errors.Is(err, ErrForeign) {
		t.Errorf("aim: %v; want ErrForeign", err)
	}
	t.Log(err)
	if err := p.target.Shape(free); !errors.Is(err, ErrForeign) {
		t.Errorf("what was free when aimed at: %v; want ErrForeign", err)
	}
	if err := p.target.Unshape(t.Context(), free); err != nil {
		t.Errorf("undo of what was refused: %v", err)
	}
	if after := qdiscs(t, p.target); !reflect.DeepEqual(before, after) {
		t.Errorf("theirs was touched:\n%v\n%v", before, after)
	}
	filters, err := h.FilterList(link, root)
	if err != nil || len(filters) == 0 {
		t.Errorf("their filters: %v, %v", filters, err)
	}
}
