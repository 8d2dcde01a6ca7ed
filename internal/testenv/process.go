package testenv

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Running is a test server that runs as a process of this machine.
type Running struct {
	PID  int
	Exe  string            // its own file: no other process runs it
	Addr map[string]string // by kind of listener: http, tcp, udp

	t     testing.TB
	cmd   *exec.Cmd
	ended chan struct{} // closed once the process was waited for
}

// Process starts the test server with its flags (`-http 127.0.0.1:0`, …), waits
// until it listens, and ends it when t does. Its executable has a name and a
// folder of its own, so that a selector can find it and nothing else.
func Process(t testing.TB, args ...string) *Running {
	t.Helper()
	return start(t, "", args)
}

// ProcessNamed is Process under an executable's base name of the test's choice.
func ProcessNamed(t testing.TB, name string, args ...string) *Running {
	t.Helper()
	return start(t, name, args)
}

func start(t testing.TB, name string, args []string) *Running {
	t.Helper()
	exe := copyServer(t, name)
	return launch(t, exe, exec.Command(exe, append([]string{"-lifeline"}, args...)...))
}

// launch starts a test server by cmd, which may wrap it (`ip netns exec …`).
func launch(t testing.TB, exe string, cmd *exec.Cmd) *Running {
	t.Helper()
	cmd.Stderr = os.Stderr
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("testenv: starting the test server: %v", err)
	}
	running := &Running{PID: cmd.Process.Pid, Exe: exe, t: t, cmd: cmd, ended: make(chan struct{})}
	t.Cleanup(func() {
		running.Kill()
		if err := lifeline.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Errorf("testenv: closing a test server's stdin: %v", err)
		}
	})
	running.Addr, err = readAddresses(stdout)
	// Only now: waiting closes the pipe that the addresses came through.
	go running.reap()
	if err != nil {
		t.Fatalf("testenv: %v", err)
	}
	return running
}

// URL is where the server answers HTTP.
func (r *Running) URL() string { return "http://" + r.Addr["http"] }

// Kill ends the server, also a stopped one, and waits for its end; it may have ended before.
func (r *Running) Kill() {
	r.t.Helper()
	if err := r.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		r.t.Errorf("testenv: killing the test server %d: %v", r.PID, err)
		return
	}
	<-r.ended
}

// Wait waits for the server to end by itself or by the fault under test, and
// returns how it ended; ok is false when it was still running after limit.
func (r *Running) Wait(limit time.Duration) (state *os.ProcessState, ok bool) {
	select {
	case <-r.ended:
		return r.cmd.ProcessState, true
	case <-time.After(limit):
		return nil, false
	}
}

func (r *Running) reap() {
	// The error repeats the exit code, which ProcessState tells.
	_ = r.cmd.Wait()
	close(r.ended)
}

// Signal sends a signal to the server, for what a test does behind faultline's back.
func (r *Running) Signal(t testing.TB, signal syscall.Signal) {
	t.Helper()
	if err := r.cmd.Process.Signal(signal); err != nil {
		t.Fatalf("testenv: signalling the test server %d: %v", r.PID, err)
	}
}

func readAddresses(stdout io.Reader) (map[string]string, error) {
	addresses := map[string]string{}
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		word := strings.Fields(lines.Text())
		switch {
		case len(word) == 1 && word[0] == "ready":
			return addresses, nil
		case len(word) == 3 && word[0] == "listening":
			addresses[word[1]] = word[2]
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("reading where the test server listens: %w", err)
	}
	return nil, errors.New("the test server ended before it was ready")
}

// copyServer gives the test server a file of its own. A hard link would do for
// its name, but two links are one inode, and faultline tells processes apart by it.
func copyServer(t testing.TB, name string) string {
	t.Helper()
	if name == "" {
		name = "testserver-" + randomHex(t, 4)
	}
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	content, err := os.ReadFile(Server(t))
	if err != nil {
		t.Fatalf("testenv: copying the test server: %v", err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := writeExecutable(path, content); err != nil {
		t.Fatalf("testenv: copying the test server: %v", err)
	}
	return path
}
