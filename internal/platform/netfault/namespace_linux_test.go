package netfault

import (
	"errors"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestH34_TheHostsNamespaceIsKnownAndNoOther(t *testing.T) {
	testenv.Require(t, "netns")
	host, err := OpenPath("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer host.Close()
	if yes, err := host.IsHost(); err != nil || !yes {
		t.Errorf("these tests' own namespace: %v, %v; want the host's", yes, err)
	}
	p := newPair(t)
	if yes, err := p.target.IsHost(); err != nil || yes {
		t.Errorf("a scratch namespace: %v, %v; want another one than the host's", yes, err)
	}
}

// The first thread stands for the process in /proc: it must never be left elsewhere.
func TestDoNeverLeavesTheProcessElsewhere(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	for range 200 {
		if err := p.target.Do(func() error {
			if unix.Gettid() == os.Getpid() {
				t.Error("it runs on the process's first thread")
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	if pids, _, err := p.target.Members(); err != nil || len(pids) > 0 {
		t.Errorf("processes %v, %v live in a scratch namespace", pids, err)
	}
}

// What the inode says and what the sockets say is the same.
func TestH34_SightingAgreesWithTheInode(t *testing.T) {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	server, ns := n.Process(t), open(t, n)
	s, err := ns.sight()
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for pid, want := range map[int]bool{server.PID: true, os.Getpid(): false, 1: false} {
		if seen, err := s.seenBy(pid); err != nil || seen != want {
			t.Errorf("pid %d: seen %v, %v; want %v", pid, seen, err, want)
		}
	}
	pids, complete, err := ns.Members()
	if err != nil || !complete || !slices.Equal(pids, []int{server.PID}) {
		t.Errorf("members %v, complete %v, %v; want %d alone", pids, complete, err, server.PID)
	}
}

func TestH10_ANamespaceIsFoundByItsCookieOrGone(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	id := p.target.ID()
	if _, err := Find(id, Hint{}); !errors.Is(err, ErrGone) {
		t.Errorf("a namespace without a process or a name: %v; want ErrGone", err)
	}
	n := testenv.Netns(t)
	named := open(t, n)
	for _, hint := range []Hint{{}, {Path: n.Path}, {Path: "/run/netns/another", PID: 1}} {
		found, err := Find(named.ID(), hint)
		if err != nil || !found.ID().Same(named.ID()) {
			t.Fatalf("by %+v: %v", hint, err)
		}
		found.Close()
	}
	if _, err := Find(id, Hint{Path: n.Path}); !errors.Is(err, ErrGone) {
		t.Errorf("a hint that leads to another namespace: %v; want ErrGone", err)
	}
	other := id
	other.BootID = "another boot"
	if _, err := Find(other, Hint{}); !errors.Is(err, ErrGone) {
		t.Errorf("after a reboot: %v; want ErrGone", err)
	}
	if p.target.ID().Same(p.peer.ID()) || (ID{}).Same(ID{}) {
		t.Error("identities that are not the same are equal")
	}
}
