package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/internal/testenv"
)

const engineSocket = "/var/run/docker.sock"

func realEngine(t *testing.T, host string) *Docker {
	t.Helper()
	this, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	engine := NewDocker(NewProcesses(this))
	if host != "" {
		engine = NewDockerAt(host, NewProcesses(this))
	}
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func TestInitIsProvenLocal(t *testing.T) {
	testenv.Require(t, "docker", "pidfd")
	box := testenv.Container(t, testenv.Engine("--network", "none"))
	for _, row := range []struct{ name, host string }{
		{"through the usual socket", ""},
		{"through a TCP port of this host: the socket's scheme proves nothing", forwarded(t)},
	} {
		t.Run(row.name, func(t *testing.T) {
			engine := realEngine(t, row.host)
			c, err := engine.Inspect(t.Context(), box.ID)
			if err != nil {
				t.Fatal(err)
			}
			id, err := engine.Init(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			defer engine.processes.Release(id)
			if id.PID != box.PID() {
				t.Errorf("pinned pid %d, the engine says %d", id.PID, box.PID())
			}
		})
	}
}

func TestInitOfTheSharedPidNamespace(t *testing.T) {
	testenv.Require(t, "docker", "pidfd")
	box := testenv.Container(t, testenv.Engine("--network", "none", "--pid", "host"))
	engine := realEngine(t, "")
	c, err := engine.Inspect(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	id, err := engine.Init(t.Context(), c)
	if err != nil {
		t.Fatalf("a container in the host's pid namespace runs here as well: %v", err)
	}
	engine.processes.Release(id)
}

func TestInitRefusesAPidOfAnother(t *testing.T) {
	testenv.Require(t, "docker", "pidfd")
	box, other := testenv.Container(t, testenv.Engine("--network", "none")), testenv.Container(t, testenv.Engine("--network", "none"))
	engine := realEngine(t, "")
	c, err := engine.Inspect(t.Context(), box.ID)
	if err != nil {
		t.Fatal(err)
	}
	c.PID = other.PID()
	if _, err := engine.Init(t.Context(), c); !errors.Is(err, ErrNotOurs) {
		t.Errorf("%v, want %v: the engine names another pid", err, ErrNotOurs)
	}
	c.PID = 0
	if _, err := engine.Init(t.Context(), c); !errors.Is(err, ErrGone) {
		t.Errorf("%v, want %v: it has no init", err, ErrGone)
	}
}

// forwarded is a TCP port that leads to the engine's socket, as ssh -L makes one.
func forwarded(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("unix", engineSocket)
			if err != nil {
				near.Close()
				continue
			}
			go func() { io.Copy(far, near); far.Close() }()
			go func() { io.Copy(near, far); near.Close() }()
		}
	}()
	return "tcp://" + listener.Addr().String()
}

// asks runs this test binary again, as somebody or somewhere else, and gives what it says of a container's init.
func asks(t *testing.T, containerID, socket string, attributes *syscall.SysProcAttr) string {
	t.Helper()
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer self.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/proc/self/fd/3", "-test.run=^TestAsked$")
	cmd.ExtraFiles = []*os.File{self} // its folder may be closed to others
	cmd.Env = []string{"FAULTLINE_TEST_ASKS=" + containerID, "DOCKER_HOST=unix://" + socket}
	cmd.SysProcAttr = attributes
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("asking from elsewhere: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if said, ok := strings.CutPrefix(line, "asked: "); ok {
			return strings.TrimSpace(said)
		}
	}
	t.Fatalf("asking from elsewhere said nothing:\n%s", out)
	return ""
}

// TestAsked is the other end of asks.
func TestAsked(t *testing.T) {
	id := os.Getenv("FAULTLINE_TEST_ASKS")
	if id == "" {
		return // nobody asks: this is not a test
	}
	if os.Getpid() == 1 {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			t.Fatal(err)
		}
	}
	engine := realEngine(t, "")
	c, err := engine.Inspect(t.Context(), id)
	if err == nil {
		_, err = engine.Init(t.Context(), c)
	}
	for _, class := range []error{ErrUnsupported, ErrDenied, ErrUnreachable, ErrGone, ErrNotOurs} {
		if errors.Is(err, class) {
			fmt.Println("asked:", class)
			return
		}
	}
	fmt.Println("asked:", err)
}

// This is how the engine looks from a container that its socket is mounted into, and from Docker Desktop.
func TestInitFromAnotherPidNamespaceIsRemote(t *testing.T) {
	testenv.Require(t, "docker", "root", "pidfd")
	box := testenv.Container(t, testenv.Engine("--network", "none"))
	if got := asks(t, box.ID, engineSocket, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}); got != ErrUnsupported.Error() {
		t.Errorf("Init says %q, want %q", got, ErrUnsupported)
	}
}

func TestSocketThatIsNotForUs(t *testing.T) {
	testenv.Require(t, "root")
	socket := filepath.Join(t.TempDir(), "engine.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if err := os.Chmod(socket, 0o600); err != nil {
		t.Fatal(err)
	}
	nobody := &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if got := asks(t, oneID, socket, nobody); got != ErrDenied.Error() {
		t.Errorf("Inspect says %q, want %q", got, ErrDenied)
	}
}
