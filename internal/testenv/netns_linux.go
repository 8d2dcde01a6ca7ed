package testenv

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Netns makes a network namespace with a veth pair, an IPv4 and an IPv6 address
// at both ends, and lo up. All names and subnets are random; all goes when t ends.
func Netns(t testing.TB) *Namespace {
	t.Helper()
	Require(t, "netns")
	link := newLink()
	t.Cleanup(func() {
		if err := link.remove(); err != nil {
			t.Errorf("testenv: %v", err)
		}
	})
	if err := link.make(); err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return &link.Namespace
}

// Do calls f on a thread inside the namespace: a socket that f opens belongs to
// it for good, wherever it is used later. f must not start goroutines that open sockets.
func (n *Namespace) Do(t testing.TB, f func()) {
	t.Helper()
	entered := make(chan error, 1)
	go onSpareThread(func() {
		err := n.enter()
		if err == nil {
			f()
		}
		entered <- err
	})
	if err := <-entered; err != nil {
		t.Fatalf("testenv: entering network namespace %s: %v", n.Name, err)
	}
}

// onSpareThread calls f on a thread that ends with it, and takes the namespace
// along. The process's first thread never ends and stands for the process in
// /proc, so it is not used.
func onSpareThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != os.Getpid() {
		f() // never unlocked: the runtime ends the thread
		return
	}
	defer runtime.UnlockOSThread()
	done := make(chan struct{})
	go func() {
		defer close(done)
		onSpareThread(f)
	}()
	<-done
}

func (n *Namespace) enter() error {
	file, err := os.Open(n.Path)
	if err != nil {
		return err
	}
	defer file.Close()
	return unix.Setns(int(file.Fd()), unix.CLONE_NEWNET)
}

// link is a Namespace that can be made and removed.
type link struct{ Namespace }

// newLink chooses names and subnets. The IPv4 ones are of 198.18.0.0/15, which
// is set aside for tests of networks; with 32768 of them two tests seldom meet,
// and those that exist already are not chosen.
func newLink() *link {
	for {
		if link := chooseLink(); !inUse(link.Outside4) {
			return link
		}
	}
}

func inUse(addr netip.Addr) bool {
	addresses, err := net.InterfaceAddrs()
	return err == nil && slices.ContainsFunc(addresses, func(a net.Addr) bool {
		prefix, err := netip.ParsePrefix(a.String())
		return err == nil && prefix.Contains(addr)
	})
}

func chooseLink() *link {
	id := fmt.Sprintf("%x", randomBytes(4))
	four := netip.AddrFrom4([4]byte{198, 18 + randomBytes(1)[0]%2, randomBytes(1)[0], randomBytes(1)[0] &^ 3})
	var six [16]byte
	six[0] = 0xfd
	copy(six[1:8], randomBytes(7))
	prefix6 := netip.AddrFrom16(six)
	n := Namespace{
		Name: "fltest-" + id, Path: filepath.Join("/run/netns", "fltest-"+id),
		Inside: "fli" + id, Outside: "flo" + id,
		Outside4: four.Next(), Addr4: four.Next().Next(),
		Outside6: prefix6.Next(), Addr6: prefix6.Next().Next(),
	}
	return &link{n}
}

func (l *link) make() error {
	outside := [][]string{
		{"netns", "add", l.Name},
		{"link", "add", l.Outside, "type", "veth", "peer", "name", l.Inside, "netns", l.Name},
		{"address", "add", l.Outside4.String() + "/30", "dev", l.Outside},
		{"address", "add", l.Outside6.String() + "/64", "dev", l.Outside, "nodad"},
		{"link", "set", l.Outside, "up"},
	}
	inside := [][]string{
		{"link", "set", "lo", "up"},
		{"address", "add", l.Addr4.String() + "/30", "dev", l.Inside},
		{"address", "add", l.Addr6.String() + "/64", "dev", l.Inside, "nodad"},
		{"link", "set", l.Inside, "up"},
		{"route", "add", "default", "via", l.Outside4.String()},
	}
	for _, args := range inside {
		outside = append(outside, append([]string{"-netns", l.Name}, args...))
	}
	for _, args := range outside {
		if _, err := output("ip", args...); err != nil {
			return fmt.Errorf("making network namespace %s: %w", l.Name, err)
		}
	}
	return nil
}

// remove takes the veth pair first: a namespace that something still holds
// open would keep its end, and with it ours.
func (l *link) remove() error {
	var failed error
	if _, err := net.InterfaceByName(l.Outside); err == nil {
		_, failed = output("ip", "link", "delete", l.Outside)
	}
	if _, err := os.Lstat(l.Path); err == nil {
		_, err = output("ip", "netns", "delete", l.Name)
		failed = errors.Join(failed, err)
	}
	if failed != nil {
		return fmt.Errorf("removing network namespace %s: %w", l.Name, failed)
	}
	return nil
}
