package netfault

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// upload sends from the target to the peer for a while and gives bits a second.
func upload(t testing.TB, p *pair, to netip.Addr) float64 {
	t.Helper()
	var listener net.Listener
	if err := p.peer.Do(func() (err error) {
		listener, err = net.Listen("tcp", netip.AddrPortFrom(to, 0).String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	type received struct {
		bytes int64
		took  time.Duration
	}
	done := make(chan received, 1)
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		start := time.Now()
		n, _ := io.Copy(io.Discard, conn)
		done <- received{n, time.Since(start)}
	}()
	var conn net.Conn
	if err := p.target.Do(func() (err error) {
		conn, err = (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", listener.Addr().String())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	end, b := time.Now().Add(time.Second), make([]byte, 256<<10)
	for time.Now().Before(end) {
		conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
		if _, err := conn.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	conn.Close()
	got := <-done
	return float64(got.bytes) * 8 / got.took.Seconds()
}

// A packet that waits must not keep its socket from sending more: that would
// make of 10 ms a limit of 5 Mbit/s.
func TestEgressDelayIsNotABandwidthLimit(t *testing.T) {
	testenv.Require(t, "netns")
	for _, to := range []string{"198.18.0.1", "fd00:f1::1"} {
		p := newPair(t)
		hold(t, p.target, Delay{Direction: Egress, Delay: 10 * time.Millisecond})
		rate := upload(t, p, netip.MustParseAddr(to))
		t.Logf("to %s: %.0f Mbit/s", to, rate/1e6)
		if rate < 200e6 {
			t.Errorf("one connection to %s sends %.1f Mbit/s", to, rate/1e6)
		}
	}
}

// A program that has written its answer and closed leaves the kernel to send it.
func TestEgressDelayLetsClosedConnectionsFinish(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	trip(t, p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t))))
	hold(t, p.target, Delay{Direction: Egress, Delay: hardDelay})
	start := time.Now()
	rate := upload(t, p, netip.MustParseAddr("198.18.0.1"))
	t.Logf("all had come after %s (%.1f Mbit/s)", time.Since(start), rate/1e6)
	between(t, "the upload of a second", time.Since(start), time.Second, 8*time.Second)
}

// Copies are exempt from connection tracking, which a firewall that asks for
// established connections, or an address translation, would notice.
func TestEgressDelayKeepsConnectionTracking(t *testing.T) {
	testenv.Require(t, "netns")
	for _, row := range []struct{ name, rules string }{
		{"a stateful firewall", `table inet fw {
			chain in { type filter hook input priority 0; policy drop; ct state established accept; meta l4proto ipv6-icmp accept; }
			chain out { type filter hook output priority 0; policy accept; ct state untracked drop; ct state invalid drop; }
		}`},
		{"an address translation", `table inet mesh {
			chain out { type nat hook output priority -100; tcp dport 9 redirect to :15001; }
			chain src { type nat hook postrouting priority 100; masquerade; }
		}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPair(t)
			nft(t, p, row.rules)
			hold(t, p.target, Delay{Direction: Egress, Delay: 20 * time.Millisecond})
			if rate := upload(t, p, netip.MustParseAddr("198.18.0.1")); rate < 1e6 {
				t.Errorf("%.1f Mbit/s", rate/1e6)
			}
		})
	}
}

func nft(t testing.TB, p *pair, rules string) {
	t.Helper()
	err := p.target.Do(func() error {
		cmd := exec.Command("nft", "-f", "-")
		in, err := cmd.StdinPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil { // a child starts in the namespace of this thread
			return err
		}
		fmt.Fprintln(in, rules)
		in.Close()
		return cmd.Wait()
	})
	if err != nil {
		t.Fatalf("nft: %v", err)
	}
}

// Packets that are not copied still arrive: large UDP, forwarded, without a socket.
func TestEgressDelaysWhatIsNotCopiedToo(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	port := p.listen(t)
	for _, addr := range []netip.Addr{p.addr4, p.addr6} {
		conn := p.dial(t, 0, netip.AddrPortFrom(addr, port))
		trip(t, conn)
		h := hold(t, p.target, Delay{Direction: Egress, Delay: hardDelay})
		for _, size := range []int{1, 1200, 1400, 1900} { // the last one in two fragments
			conn.SetDeadline(time.Now().Add(5 * time.Second))
			start := time.Now()
			if _, err := conn.Write(make([]byte, size)); err != nil {
				t.Fatal(err)
			}
			n, err := conn.Read(make([]byte, 2048))
			if err != nil || n != size {
				t.Fatalf("%s, %d bytes: %d came back, %v", addr, size, n, err)
			}
			between(t, fmt.Sprintf("%s, %d bytes", addr, size), time.Since(start), hardDelay, hardDelay+hardSlack)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
