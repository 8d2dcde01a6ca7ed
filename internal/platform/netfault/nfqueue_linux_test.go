package netfault

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// open opens a test's namespace by its name.
func open(t testing.TB, n *testenv.Namespace) *Namespace {
	t.Helper()
	ns, err := OpenName(n.Name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return ns
}

func tableName(t testing.TB) string {
	t.Helper()
	return fmt.Sprintf("faultline-test-%x", rand.Uint32())
}

func forAMinute() time.Duration { return time.Minute }

func hold(t testing.TB, ns *Namespace, d Delay) *Hold {
	t.Helper()
	h, err := ns.Hold(tableName(t), d, forAMinute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

// echo answers every UDP packet inside the namespace, on both families.
func echo(t testing.TB, n *testenv.Namespace) (port uint16) {
	t.Helper()
	var conn *net.UDPConn
	n.Do(t, func() {
		var err error
		if conn, err = net.ListenUDP("udp", &net.UDPAddr{}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { conn.Close() })
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

// roundTrip is the observer outside: how long a packet takes there and back.
func roundTrip(t testing.TB, to netip.AddrPort) time.Duration {
	t.Helper()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(5 * time.Second))
	start := time.Now()
	if _, err := conn.Write([]byte("there and back")); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Read(make([]byte, 64)); err != nil {
		t.Fatalf("no answer from %s: %v", to, err)
	}
	return time.Since(start)
}

func between(t testing.TB, what string, got, least, most time.Duration) {
	t.Helper()
	if got < least || got > most {
		t.Errorf("%s: %s, want %s to %s", what, got, least, most)
	}
}

func TestHoldDelaysBothFamiliesInEachDirection(t *testing.T) {
	const delay, slack = hardDelay, hardSlack
	for _, row := range []struct {
		direction Direction
		want      time.Duration
	}{{Ingress, delay}, {Egress, delay}, {Both, 2 * delay}} {
		t.Run(string(row.direction), func(t *testing.T) {
			t.Parallel()
			n := testenv.Netns(t)
			port, ns := echo(t, n), open(t, n)
			h := hold(t, ns, Delay{Direction: row.direction, Delay: delay})
			for _, addr := range []netip.Addr{n.Addr4, n.Addr6} {
				between(t, addr.String(), roundTrip(t, netip.AddrPortFrom(addr, port)), row.want, row.want+slack)
			}
			look, err := ns.Look(h.table)
			if err != nil || !look.On(row.direction) {
				t.Errorf("read back: %+v, %v", look, err)
			}
			m, err := h.Measure()
			if err != nil || m.Packets < 2 || m.Dropped != 0 {
				t.Errorf("measured %+v, %v", m, err)
			}
			between(t, "median measured", m.P50, delay-time.Millisecond/10, delay+slack)
			if err := h.Close(); err != nil {
				t.Fatal(err)
			}
			for _, addr := range []netip.Addr{n.Addr4, n.Addr6} {
				between(t, addr.String()+" after", roundTrip(t, netip.AddrPortFrom(addr, port)), 0, slack)
			}
			if look, err = ns.Look(h.table); err != nil || look.Present {
				t.Errorf("after undo: %+v, %v", look, err)
			}
		})
	}
}
