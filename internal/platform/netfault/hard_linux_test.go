package netfault

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// On a busy machine the observer is late; but never by as much as the delay.
const (
	hardDelay = 200 * time.Millisecond
	hardSlack = 150 * time.Millisecond
)

func TestH32_OwnedTableCannotBeTakenAway(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	h := hold(t, p.target, Delay{Direction: Ingress, Delay: hardDelay})
	other, err := nftables.New(nftables.WithNetNSFd(int(p.target.file.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	other.DelTable(&nftables.Table{Name: h.table, Family: nftables.TableFamilyINet})
	if err := other.Flush(); !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EOPNOTSUPP) {
		t.Errorf("somebody deletes our table: %v; want EPERM", err)
	}
	other.FlushRuleset()
	if err := other.Flush(); err != nil {
		t.Logf("somebody flushes all: %v", err)
	}
	if look, err := p.target.Look(h.table); err != nil || !look.On(Ingress) {
		t.Errorf("read back %+v, %v; want still on", look, err)
	}
}

func TestH35_IPv6IsNeverForgotten(t *testing.T) {
	testenv.Require(t, "netns")
	for _, row := range []struct {
		name   string
		peers  []string
		v4, v6 bool
	}{
		{"everybody: both families", nil, true, true},
		{"a port: both families", []string{":4000"}, true, true},
		{"an IPv6 peer only", []string{"fd00:f1::1"}, false, true},
		{"an IPv6 range with a port", []string{"[fd00:f1::]/64:4000"}, false, true},
		{"a mapped address is IPv4 on the wire", []string{"::ffff:198.18.0.1"}, true, false},
		{"both by address", []string{"198.18.0.0/16", "fd00::/16"}, true, true},
		{"all of IPv6", []string{"::/0"}, false, true},
		{"all of IPv4", []string{"0.0.0.0/0"}, true, false},
		{"the last addresses there are", []string{"255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"}, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t)
			port := p.listen(t)
			v4, v6 := p.dial(t, 4000, netip.AddrPortFrom(p.addr4, port)), p.dial(t, 4000, netip.AddrPortFrom(p.addr6, port))
			d := Delay{Direction: Both, Delay: hardDelay / 2, Peers: peers(t, row.peers...)}
			hold(t, p.target, d)
			for _, family := range []struct {
				conn    *net.UDPConn
				delayed bool
			}{{v4, row.v4}, {v6, row.v6}} {
				want := time.Duration(0)
				if family.delayed {
					want = hardDelay
				}
				between(t, family.conn.RemoteAddr().String(), trip(t, family.conn), want, want+hardSlack)
			}
		})
	}
}

func TestH35_LinkLocalAndMappedSocketsAreDelayed(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	port := p.listen(t) // a dual-stack socket: IPv4 reaches it as ::ffff:…
	var local netip.Addr
	testenv.Eventually(t, 5*time.Second, "a link-local address", func() bool {
		local = linkLocal(t, p)
		return local.IsValid()
	})
	var conn *net.UDPConn
	testenv.Eventually(t, 5*time.Second, "the link-local address to be usable", func() bool {
		var err error
		_ = p.peer.Do(func() error {
			conn, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, port)))
			return nil
		})
		if err != nil {
			return false
		}
		conn.SetDeadline(time.Now().Add(200 * time.Millisecond))
		conn.Write([]byte("x"))
		_, err = conn.Read(make([]byte, 8))
		return err == nil
	})
	t.Cleanup(func() { conn.Close() })
	hold(t, p.target, Delay{Direction: Ingress, Delay: hardDelay})
	between(t, local.String(), trip(t, conn), hardDelay, hardDelay+hardSlack)
}

func linkLocal(t testing.TB, p *pair) (local netip.Addr) {
	t.Helper()
	if err := p.target.Do(func() error {
		link, err := net.InterfaceByName(p.link)
		if err != nil {
			return err
		}
		addresses, err := link.Addrs()
		for _, a := range addresses {
			if prefix, e := netip.ParsePrefix(a.String()); e == nil && prefix.Addr().IsLinkLocalUnicast() {
				local = prefix.Addr().WithZone("far0")
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return local
}

func peers(t testing.TB, texts ...string) []Peer {
	t.Helper()
	var all []Peer
	for _, text := range texts {
		p, err := ParsePeer(text)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func TestH36_EveryInterfaceByAnyNameButNotLo(t *testing.T) {
	testenv.Require(t, "netns")
	for _, loopback := range []bool{false, true} {
		p := newPair(t)
		h, err := p.target.tc()
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "data0.7"
		second := &netlink.Veth{LinkAttrs: attrs, PeerName: "far1", PeerNamespace: netlink.NsFd(p.peer.file.Fd())}
		there, err := p.peer.tc()
		if err != nil {
			t.Fatal(err)
		}
		defer there.Close()
		if err := errors.Join(h.LinkAdd(second), address(h, "data0.7", "198.19.0.2/30"), address(there, "far1", "198.19.0.1/30")); err != nil {
			t.Fatal(err)
		}
		port := p.listen(t)
		conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, port))
		hold(t, p.target, Delay{Direction: Ingress, Delay: hardDelay, Loopback: loopback})
		between(t, "from outside", trip(t, conn), hardDelay, hardDelay+hardSlack)
		other := p.dial(t, 0, netip.AddrPortFrom(netip.MustParseAddr("198.19.0.2"), port))
		between(t, "by the other interface", trip(t, other), hardDelay, hardDelay+hardSlack)
		took, err := p.target.talkToItself(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := time.Duration(0)
		if loopback {
			want = hardDelay
		}
		between(t, "over lo", took, want, want+hardSlack)
		list, err := p.target.Interfaces()
		if err != nil || len(list) != 3 {
			t.Errorf("interfaces %+v, %v", list, err)
		}
	}
}

// A namespace that forwards (a router, a sidecar) delays what passes through it.
func TestForwardedPacketsAreDelayedToo(t *testing.T) {
	testenv.Require(t, "netns")
	for _, row := range []struct {
		direction Direction
		want      time.Duration
	}{{Ingress, 2 * hardDelay}, {Egress, 2 * hardDelay}} { // each way of the round trip comes in and goes out once
		near, far := newPair(t), &pair{}
		var err error
		if far.target, err = scratch(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { far.target.Close() })
		if err := through(near, far); err != nil {
			t.Fatal(err)
		}
		port := far.listen(t) // behind the router
		conn := near.dial(t, 0, netip.AddrPortFrom(netip.MustParseAddr("198.19.0.2"), port))
		trip(t, conn)
		hold(t, near.target, Delay{Direction: row.direction, Delay: hardDelay})
		between(t, string(row.direction), trip(t, conn), row.want, row.want+hardSlack)
	}
}

// through makes near's target a router from near's peer to far's target.
func through(near, far *pair) error {
	router, err := near.target.tc()
	if err != nil {
		return err
	}
	defer router.Close()
	behind, err := far.target.tc()
	if err != nil {
		return err
	}
	defer behind.Close()
	client, err := near.peer.tc()
	if err != nil {
		return err
	}
	defer client.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = "down0"
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "up0", PeerNamespace: netlink.NsFd(far.target.file.Fd())}
	everywhere := &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}
	return errors.Join(
		router.LinkAdd(veth), address(router, "down0", "198.19.0.1/30"), address(behind, "up0", "198.19.0.2/30"),
		client.RouteAdd(&netlink.Route{Gw: net.IPv4(198, 18, 0, 2), Dst: &net.IPNet{IP: net.IPv4(198, 19, 0, 0), Mask: net.CIDRMask(30, 32)}}),
		behind.RouteAdd(&netlink.Route{Gw: net.IPv4(198, 19, 0, 1), Dst: everywhere}),
		near.target.Do(func() error {
			return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0)
		}))
}

// Removing hooks drops what waits in any queue of the namespace; the other
// delay's packets are waited for.
func TestTwoDelaysInOneNamespaceDoNotHarmEachOther(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	trip(t, conn)
	first := hold(t, p.target, Delay{Direction: Ingress, Delay: 5 * time.Millisecond})
	stop := make(chan struct{})
	result := flow(conn, 25*time.Millisecond, stop)
	for range 10 {
		other := hold(t, p.target, Delay{Direction: Egress, Delay: 5 * time.Millisecond})
		between(t, "both at once", trip(t, p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))), 10*time.Millisecond, 10*time.Millisecond+hardSlack)
		if err := other.Close(); err != nil {
			t.Fatal(err)
		}
		if look, err := p.target.Look(other.table); err != nil || look.Hooks > 0 {
			t.Errorf("after undo: %+v, %v; want nothing that leads to a queue", look, err)
		}
	}
	close(stop)
	if got := result(); got.came != got.sent {
		t.Errorf("one delay's end cost the other packets: %+v", got)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 5*time.Second, "the empty tables to go too", func() bool {
		conn, err := nftables.New(nftables.WithNetNSFd(int(p.target.file.Fd())))
		if err != nil {
			t.Fatal(err)
		}
		tables, err := conn.ListTables()
		return err == nil && len(tables) == 0
	})
}

func TestH37_ExemptPeersAreNeverDelayed(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	port := p.listen(t)
	control, users := p.dial(t, 4022, netip.AddrPortFrom(p.addr4, port)), p.dial(t, 4023, netip.AddrPortFrom(p.addr4, port))
	hold(t, p.target, Delay{Direction: Both, Delay: hardDelay, Exempt: peers(t, "198.18.0.1:4022")})
	between(t, "the control path", trip(t, control), 0, hardSlack)
	between(t, "the users", trip(t, users), 2*hardDelay, 2*hardDelay+hardSlack)
}

func TestH41_UndoWhileTrafficFlows(t *testing.T) {
	testenv.Require(t, "netns")
	for _, row := range []struct {
		name string
		Delay
	}{
		{"ingress", Delay{Direction: Ingress, Delay: hardDelay}},
		{"egress", Delay{Direction: Egress, Delay: hardDelay}},
		{"both, with jitter", Delay{Direction: Both, Delay: hardDelay, Jitter: hardDelay / 2}},
		{"a delay longer than the undo", Delay{Direction: Ingress, Delay: 10 * time.Second}},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t)
			conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
			trip(t, conn)
			h := hold(t, p.target, row.Delay)
			stop := make(chan struct{})
			result := flow(conn, time.Millisecond, stop)
			<-time.After(400 * time.Millisecond) // traffic, not synchronisation
			start := time.Now()
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			took := time.Since(start)
			<-time.After(200 * time.Millisecond)
			close(stop)
			got := result()
			t.Logf("undone in %s; of %d packets %d came, %d out of order, longest gap %s", took, got.sent, got.came, got.disordered, got.gap)
			if got.came != got.sent || got.disordered != 0 {
				t.Errorf("undo cost packets: %+v", got)
			}
			between(t, "undo took", took, 0, 500*time.Millisecond)
		})
	}
}

func TestHoldIsOverAtItsDeadlineByItself(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	end := time.Now().Add(1500 * time.Millisecond)
	h, err := p.target.Hold(tableName(t), Delay{Direction: Ingress, Delay: hardDelay}, func() time.Duration { return time.Until(end) })
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	between(t, "before", trip(t, conn), hardDelay, hardDelay+hardSlack)
	testenv.Eventually(t, 5*time.Second, "the kernel to let it go", func() bool {
		look, err := p.target.Look(h.table)
		return err == nil && look.Armed == 0
	})
	between(t, "it was on for", time.Since(end.Add(-1500*time.Millisecond)), 1500*time.Millisecond, 2800*time.Millisecond)
	between(t, "after", trip(t, conn), 0, hardSlack)
}

func TestHoldStaysArmedBeyondTheSwitch(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	h := hold(t, p.target, Delay{Direction: Ingress, Delay: 20 * time.Millisecond})
	stop := make(chan struct{})
	result := flow(conn, 5*time.Millisecond, stop)
	<-time.After(armedFor + 1500*time.Millisecond)
	close(stop)
	if got := result(); got.came != got.sent || got.disordered != 0 {
		t.Errorf("re-arming cost packets: %+v", got)
	}
	m, err := h.Measure()
	if err != nil || m.Lapsed {
		t.Fatalf("measured %+v, %v", m, err)
	}
	between(t, "the least delay of any packet", m.Least, 20*time.Millisecond, 25*time.Millisecond)
	between(t, "after", trip(t, conn), 20*time.Millisecond, hardSlack)
}

func TestJitterIsUniformAndKeepsTheOrder(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	h := hold(t, p.target, Delay{Direction: Ingress, Delay: 20 * time.Millisecond, Jitter: 20 * time.Millisecond})
	stop := make(chan struct{})
	result := flow(conn, 40*time.Millisecond, stop) // apart by the jitter: order does not bend it
	quick := flow(p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t))), time.Millisecond, stop)
	<-time.After(2 * time.Second)
	close(stop)
	for _, got := range []stream{result(), quick()} {
		if got.came != got.sent || got.disordered != 0 {
			t.Errorf("jitter lost or reordered: %+v", got)
		}
	}
	m, err := h.Measure()
	t.Logf("%+v", m)
	if err != nil {
		t.Fatal(err)
	}
	between(t, "the median", m.P50, 20*time.Millisecond, 45*time.Millisecond)
	if m.Least < 0 {
		t.Errorf("a packet left before it came: %s", m.Least)
	}
}
