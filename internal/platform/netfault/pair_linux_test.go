package netfault

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// pair is two scratch namespaces with a veth between them: the target and its
// peer. It needs no program, so that it works in the micro-VM too.
type pair struct {
	target, peer *Namespace
	link         string // the target's interface
	addr4, addr6 netip.Addr
}

func newPair(t testing.TB) *pair {
	t.Helper()
	p := &pair{link: "uplink0", addr4: netip.MustParseAddr("198.18.0.2"), addr6: netip.MustParseAddr("fd00:f1::2")}
	for _, ns := range []**Namespace{&p.target, &p.peer} {
		made, err := scratch()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { made.Close() })
		*ns = made
	}
	if err := p.connect(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *pair) connect() error {
	here, err := p.target.tc()
	if err != nil {
		return err
	}
	defer here.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.TxQLen = p.link, 1000
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: "far0", PeerNamespace: netlink.NsFd(p.peer.file.Fd())}
	if err := here.LinkAdd(veth); err != nil {
		return fmt.Errorf("add veth: %w", err)
	}
	there, err := p.peer.tc()
	if err != nil {
		return err
	}
	defer there.Close()
	return errors.Join(address(here, p.link, "198.18.0.2/30", "fd00:f1::2/64"), address(there, "far0", "198.18.0.1/30", "fd00:f1::1/64"))
}

func address(h *netlink.Handle, name string, cidrs ...string) error {
	link, err := h.LinkByName(name)
	if err != nil {
		return err
	}
	for _, cidr := range cidrs {
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		a.Flags = 2 // IFA_F_NODAD: usable at once
		if err := h.AddrAdd(link, a); err != nil {
			return fmt.Errorf("add %s to %s: %w", cidr, name, err)
		}
	}
	return h.LinkSetUp(link)
}

// listen opens a UDP socket inside and answers everything; it gives the port.
func (p *pair) listen(t testing.TB) uint16 {
	t.Helper()
	var conn *net.UDPConn
	if err := p.target.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", &net.UDPAddr{})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	room(t, conn)
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			conn.WriteToUDPAddrPort(b[:n], from)
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
}

// dial opens a UDP socket at the peer, from a port if that is not 0.
func (p *pair) dial(t testing.TB, from uint16, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	if err := p.peer.Do(func() (err error) {
		var local *net.UDPAddr
		if from != 0 {
			local = &net.UDPAddr{Port: int(from)}
		}
		network := "udp6"
		if to.Addr().Is4() {
			network = "udp4"
		}
		conn, err = net.DialUDP(network, local, net.UDPAddrFromAddrPort(to))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	room(t, conn)
	return conn
}

// room lets a backlog that is let go at once fit into the observer's socket.
func room(t testing.TB, conn *net.UDPConn) {
	t.Helper()
	raw, err := conn.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) {
			if e := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20); e != nil {
				t.Error(e)
			}
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// trip is the observer outside: the time of one packet there and back.
func trip(t testing.TB, conn *net.UDPConn) time.Duration {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := conn.Write([]byte("there and back")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 64)); err != nil {
		t.Fatalf("no answer from %s: %v", conn.RemoteAddr(), err)
	}
	return time.Since(start)
}

// stream sends numbered packets at a steady pace until stop is closed, and says
// what came back: how many were lost, came in the wrong order, and the longest
// gap between two.
type stream struct {
	sent, came, disordered int
	gap                    time.Duration
}

func flow(conn *net.UDPConn, pace time.Duration, stop <-chan struct{}) func() stream {
	result := make(chan stream, 1)
	sent := make(chan int, 1)
	go func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		n := 0
		for {
			select {
			case <-stop:
				sent <- n
				return
			case <-tick.C:
				n++
				conn.Write(binary.BigEndian.AppendUint32(nil, uint32(n)))
			}
		}
	}()
	go func() {
		var s stream
		var last time.Time
		highest, total := uint32(0), -1
		b := make([]byte, 64)
		for total < 0 || s.came < total {
			conn.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
			n, err := conn.Read(b)
			select {
			case total = <-sent:
			default:
			}
			if err != nil {
				if total >= 0 {
					break
				}
				continue
			}
			if now := time.Now(); n >= 4 {
				if !last.IsZero() {
					s.gap = max(s.gap, now.Sub(last))
				}
				last = now
				s.came++
				if k := binary.BigEndian.Uint32(b); k < highest {
					s.disordered++
				} else {
					highest = k
				}
			}
		}
		s.sent = total
		result <- s
	}()
	return func() stream { return <-result }
}
