package netfault

import (
	"bufio"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// TestMain makes this binary a holder when it is asked to be one.
func TestMain(m *testing.M) {
	if path := os.Getenv("FAULTLINE_TEST_HOLD"); path != "" {
		if err := holdFor(path); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

const heldDelay = 300 * time.Millisecond

// holdFor puts a delay on, says so, and takes it off at the end of its input.
func holdFor(path string) error {
	ns, err := OpenPath(path)
	if err != nil {
		return err
	}
	h, err := ns.Hold("faultline-test-held", Delay{Direction: Ingress, Delay: heldDelay}, forAMinute)
	if err != nil {
		return err
	}
	fmt.Println("on")
	bufio.NewScanner(os.Stdin).Scan()
	return h.Close()
}

// holder starts another process that delays what comes into the target.
func holder(t *testing.T, p *pair) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fmt.Sprintf("FAULTLINE_TEST_HOLD=/proc/%d/fd/%d", os.Getpid(), p.target.file.Fd()))
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		cmd.Process.Kill()
		cmd.Wait()
	})
	said := bufio.NewScanner(stdout)
	if !said.Scan() || said.Text() != "on" {
		t.Fatalf("the holder said %q", said.Text())
	}
	return cmd
}

func TestStoppedHolderIsDisarmedByTheKernel(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	h := holder(t, p)
	between(t, "while it holds", trip(t, conn), heldDelay, 2*heldDelay)
	if err := h.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopped := time.Now()
	stop := make(chan struct{})
	result := flow(conn, 5*time.Millisecond, stop)
	testenv.Eventually(t, 10*time.Second, "the kernel to disarm it", func() bool {
		look, err := p.target.Look("faultline-test-held")
		return err == nil && look.Armed == 0
	})
	disarmed := time.Since(stopped)
	fresh := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	between(t, "a packet after that", trip(t, fresh), 0, heldDelay/2)
	close(stop)
	got := result()
	t.Logf("disarmed after %s; of %d packets %d came, longest gap %s", disarmed, got.sent, got.came, got.gap)
	between(t, "traffic flows again after", disarmed, time.Second, 4*time.Second)

	if look, err := p.target.Look("faultline-test-held"); err != nil || look.On(Ingress) || !look.Present {
		t.Errorf("read back %+v, %v; want present and off", look, err)
	}
	h.Process.Kill()
	testenv.Eventually(t, 5*time.Second, "the table to go with its owner", func() bool {
		look, err := p.target.Look("faultline-test-held")
		return err == nil && !look.Present
	})
}

func TestKilledHolderLeavesNothing(t *testing.T) {
	testenv.Require(t, "netns")
	p := newPair(t)
	conn := p.dial(t, 0, netip.AddrPortFrom(p.addr4, p.listen(t)))
	h := holder(t, p)
	between(t, "while it holds", trip(t, conn), heldDelay, 2*heldDelay)
	if err := h.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	killed := time.Now()
	h.Wait()
	between(t, "a packet after it was reaped", trip(t, conn), 0, heldDelay/2)
	t.Logf("free %s after the kill", time.Since(killed))
	if look, err := p.target.Look("faultline-test-held"); err != nil || look.Present {
		t.Errorf("read back %+v, %v; want nothing", look, err)
	}
}
