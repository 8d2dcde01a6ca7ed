// Package testenv tells tests what this machine can do and lends them real
// things to break: a small server as a process, as a Docker image, as a
// container, and network namespaces.
//
// Only tests import it. It refuses to guess: a capability is tried, once per
// process, by using it, and a test that lacks one is skipped with the reason, or
// fails where FAULTLINE_TEST_REQUIRE lists the capability. It uses the
// machine's own programs (docker, ip, nft) and never faultline's platform code,
// so that what it sees is a second opinion.
package testenv

import (
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// RequireVariable lists, separated by commas, the capabilities whose absence
// fails a test where it would otherwise be skipped.
const RequireVariable = "FAULTLINE_TEST_REQUIRE"

// A capability is something a test may need of the machine. try returns why it
// cannot be had, or nil.
type capability struct {
	name string
	try  func() error
}

// capabilities is the one list of what tests may ask for; .ci/run repeats its
// names literally, and a test compares the two.
var capabilities = []capability{
	{"bash", sync.OnceValue(tryBash)},
	{"cc", sync.OnceValue(tryCompiler)},
	{"chromium", sync.OnceValue(tryChromium)},
	{"docker", sync.OnceValue(tryDocker)},
	{"git", sync.OnceValue(tryGit)},
	{"haproxy", sync.OnceValue(tryHAProxy)},
	{"microvm", sync.OnceValue(tryMicroVM)},
	{"netns", sync.OnceValue(tryNetns)},
	{"nginx", sync.OnceValue(tryNginx)},
	{"pidfd", sync.OnceValue(tryPidfd)},
	{"python", sync.OnceValue(tryPython)},
	{"redis", sync.OnceValue(tryRedis)},
	{"root", sync.OnceValue(tryRoot)},
	{"strace", sync.OnceValue(tryStrace)},
}

// Names returns the names of all capabilities, sorted.
func Names() []string {
	names := make([]string, 0, len(capabilities))
	for _, c := range capabilities {
		names = append(names, c.name)
	}
	slices.Sort(names)
	return names
}

// Require skips t unless this machine has every named capability, and fails it
// where RequireVariable insists on the one that is missing. Under -short it
// always skips: real systems take time.
func Require(t testing.TB, names ...string) {
	t.Helper()
	require(t, capabilities, names...)
}

func require(t testing.TB, known []capability, names ...string) {
	t.Helper()
	for _, name := range names {
		if lookup(known, name) == nil {
			t.Fatalf("testenv: no capability is called %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	if testing.Short() {
		t.Skipf("needs %s, and -short leaves real systems alone", strings.Join(names, ", "))
	}
	for _, name := range names {
		err := lookup(known, name).try()
		switch {
		case err == nil:
		case Required(name):
			t.Fatalf("%s lists %s, and it cannot be had: %v", RequireVariable, name, err)
		default:
			t.Skipf("this machine has no %s: %v", name, err)
		}
	}
}

// Required says whether RequireVariable lists the capability.
func Required(name string) bool {
	return slices.ContainsFunc(strings.Split(os.Getenv(RequireVariable), ","), func(listed string) bool {
		return strings.TrimSpace(listed) == name
	})
}

func lookup(known []capability, name string) *capability {
	for i := range known {
		if known[i].name == name {
			return &known[i]
		}
	}
	return nil
}

// Eventually waits until look returns true, and fails t after limit, saying what
// never came. Use it where the outside world gives no signal to wait for.
func Eventually(t testing.TB, limit time.Duration, what string, look func() bool) {
	t.Helper()
	deadline := time.NewTimer(limit)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !look() {
		select {
		case <-tick.C:
		case <-deadline.C:
			if look() {
				return
			}
			t.Fatalf("waited %v in vain: %s", limit, what)
		}
	}
}
