//go:build !linux

package testenv

import "testing"

// Netns skips: only Linux has network namespaces.
func Netns(t testing.TB) *Namespace {
	t.Helper()
	Require(t, "netns")
	t.Fatal("testenv: a network namespace was promised, and there is no way to make one here")
	return nil
}

// Do is never reached: Netns gives no Namespace here.
func (n *Namespace) Do(t testing.TB, _ func()) {
	t.Helper()
	t.Fatal("testenv: there are no network namespaces here")
}
