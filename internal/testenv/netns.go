package testenv

import (
	"net/netip"
	"os/exec"
	"testing"
)

// A Namespace is a network namespace that Netns made, with one veth pair to
// the namespace of the tests.
type Namespace struct {
	Name string // as `ip netns` knows it
	Path string // what holds it: open it to enter

	Inside, Outside    string // the interfaces' names, in it and here
	Addr4, Addr6       netip.Addr
	Outside4, Outside6 netip.Addr
}

// Command prepares a program to run inside the namespace.
func (n *Namespace) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.Name, name}, args...)...)
}

// Process starts the test server inside the namespace, as Process does here.
func (n *Namespace) Process(t testing.TB, args ...string) *Running {
	t.Helper()
	exe := copyServer(t, "")
	// `ip netns exec` replaces itself by the server, so its pid is the server's.
	return launch(t, exe, n.Command(exe, append([]string{"-lifeline"}, args...)...))
}
