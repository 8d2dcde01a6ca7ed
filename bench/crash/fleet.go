//go:build linux

package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// limit is how long anything may take before the measurement is given up.
const limit = time.Minute

// fleet is the containers that are crashed again and again. They run this very program.
type fleet struct {
	prefix, image string
	names         []string
}

func newFleet(work string) (*fleet, error) {
	prefix := fmt.Sprintf("flbench-%06x", rand.Uint32()&0xffffff)
	f := &fleet{prefix: prefix, image: prefix}
	if err := f.importImage(work); err != nil {
		return nil, errors.Join(err, f.remove())
	}
	for n := range containers {
		name := fmt.Sprintf("%s-%d", prefix, n)
		if _, err := output("docker", "create", "--name", name, "--network", "none", f.image); err != nil {
			return nil, errors.Join(err, f.remove())
		}
		f.names = append(f.names, name)
	}
	return f, nil
}

// importImage packs a static build of this program.
func (f *fleet) importImage(work string) error {
	path := work + "/sleeper"
	cmd := exec.Command("go", "build", "-o", path, "github.com/faultline-sh/faultline/bench/crash")
	cmd.Env, cmd.Stderr = append(os.Environ(), "CGO_ENABLED=0"), os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build what the containers run: %w", err)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	err = archive.WriteHeader(&tar.Header{Name: "crash", Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(program))})
	if err == nil {
		_, err = archive.Write(program)
	}
	if err := errors.Join(err, archive.Close()); err != nil {
		return err
	}
	load := exec.Command("docker", "import", "--change", `ENTRYPOINT ["/crash", "sleep"]`, "-", f.image)
	load.Stdin = &layer
	if out, err := load.CombinedOutput(); err != nil {
		return fmt.Errorf("docker import: %w: %s", err, out)
	}
	return nil
}

func (f *fleet) start() error {
	_, err := output("docker", append([]string{"start"}, f.names...)...)
	return err
}

func (f *fleet) remove() error {
	var errs []error
	if len(f.names) > 0 {
		_, err := output("docker", append([]string{"rm", "--force"}, f.names...)...)
		errs = append(errs, err)
	}
	_, err := output("docker", "image", "rm", f.image)
	return errors.Join(append(errs, err)...)
}

// watch is who sees the containers die: the kernel by a pidfd each, the engine by its events.
type watch struct {
	prefix string
	pidfds []unix.PollFd
	events *exec.Cmd
	died   chan string
}

func (f *fleet) watch() (*watch, error) {
	w := &watch{prefix: f.prefix, died: make(chan string, 2*containers)}
	inspected, err := output("docker", append([]string{"inspect", "--format", "{{.State.Pid}}"}, f.names...)...)
	if err != nil {
		return nil, err
	}
	for _, text := range strings.Fields(inspected) {
		pid, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("read the pid of a container: %w", err)
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return nil, fmt.Errorf("open the init of a container (pid %d): %w: is the engine on this machine, and are we root?", pid, err)
		}
		w.pidfds = append(w.pidfds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	return w, w.listen()
}

// listen starts the engine's event stream; what happens from now on is in it.
func (w *watch) listen() error {
	now := time.Now()
	since := fmt.Sprintf("%d.%09d", now.Unix(), now.Nanosecond())
	w.events = exec.Command("docker", "events", "--since", since, "--filter", "event=die", "--format", "{{.Actor.Attributes.name}}")
	stdout, err := w.events.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.events.Start(); err != nil {
		return fmt.Errorf("docker events: %w", err)
	}
	go lines(bufio.NewScanner(stdout), w.died)
	return nil
}

// allDead waits until the last pidfd is readable.
func (w *watch) allDead() (time.Time, error) {
	left := w.pidfds
	for until := time.Now().Add(limit); len(left) > 0; {
		if _, err := unix.Poll(left, int(time.Until(until).Milliseconds())); err != nil && !errors.Is(err, unix.EINTR) {
			return time.Time{}, fmt.Errorf("wait for the containers to die: %w", err)
		}
		if time.Now().After(until) {
			return time.Time{}, fmt.Errorf("%d of %d containers are alive after %s", len(left), len(w.pidfds), limit)
		}
		var alive []unix.PollFd
		for _, p := range left {
			if p.Revents == 0 {
				alive = append(alive, p)
			}
		}
		left = alive
	}
	now := time.Now()
	for _, p := range w.pidfds {
		_ = unix.Close(int(p.Fd)) // nothing was written to it
	}
	return now, nil
}

// allSaid waits for the engine's word on each.
func (w *watch) allSaid() (time.Time, error) {
	defer func() {
		_ = w.events.Process.Kill() // it never ends by itself
		_ = w.events.Wait()
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for n := 0; n < containers; {
		select {
		case name, ok := <-w.died:
			if !ok {
				return time.Time{}, errors.New("docker events ended early")
			}
			if strings.HasPrefix(name, w.prefix) {
				n++
			}
		case <-timer.C:
			return time.Time{}, fmt.Errorf("the engine told of %d deaths in %s", n, limit)
		}
	}
	return time.Now(), nil
}
