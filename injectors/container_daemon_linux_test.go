package injectors

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// A daemon is an engine of the test's own, which it may stop and start.
type daemon struct {
	t      *testing.T
	folder string
	flags  []string
	cmd    *exec.Cmd
	log    *os.File
}

// newDaemon starts an engine that shares nothing with the machine's own, and has
// a network namespace to itself: a dockerd without a bridge deletes docker0.
func newDaemon(t *testing.T, flags ...string) *daemon {
	t.Helper()
	testenv.Require(t, "docker", "root", "pidfd")
	folder, err := os.MkdirTemp("", "flt") // short: a socket's path may have 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{t: t, folder: folder, flags: append([]string{
		"--data-root", filepath.Join(folder, "root"), "--exec-root", filepath.Join(folder, "exec"), "--pidfile", filepath.Join(folder, "pid"), "--host", "unix://" + filepath.Join(folder, "sock"),
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--shutdown-timeout", "3", "--config-file", filepath.Join(folder, "none.json"),
	}, flags...)}
	if err := os.WriteFile(d.path("none.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.log, err = os.Create(d.path("log")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.remove)
	d.start()
	return d
}

func (d *daemon) path(name string) string { return filepath.Join(d.folder, name) }

func (d *daemon) host() string { return "unix://" + d.path("sock") }

func (d *daemon) start() {
	d.t.Helper()
	d.cmd = exec.Command("dockerd", d.flags...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	testenv.Eventually(d.t, time.Minute, "the test's own engine answers", func() bool {
		conn, err := net.Dial("unix", d.path("sock"))
		if err == nil {
			conn.Close()
		}
		return err == nil && exec.Command("docker", "--host", d.host(), "version").Run() == nil
	})
}

func (d *daemon) stop() {
	d.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.t.Fatal(err)
	}
	if err := d.cmd.Wait(); err != nil {
		d.t.Logf("the test's own engine: %v", err)
	}
}

// run starts the test server in a container of this engine.
func (d *daemon) run(flags ...string) string {
	d.t.Helper()
	image := testenv.Image(d.t)
	saved := exec.Command("docker", "save", image)
	load := exec.Command("docker", "--host", d.host(), "load")
	var err error
	if load.Stdin, err = saved.StdoutPipe(); err != nil {
		d.t.Fatal(err)
	}
	if err := errors.Join(saved.Start(), load.Run(), saved.Wait()); err != nil {
		d.t.Fatalf("carry the image over: %v", err)
	}
	args := append([]string{"run", "--detach", "--network", "none"}, flags...)
	return dockerAt(d.t, d.host(), append(args, image)...)
}

func (d *daemon) state(id string) string {
	d.t.Helper()
	return dockerAt(d.t, d.host(), "inspect", "--format", "{{.State.Status}}", id)
}

// remove leaves nothing behind: containers, mounts, folder.
func (d *daemon) remove() {
	if d.cmd.ProcessState != nil {
		d.start()
	}
	if ids := strings.Fields(dockerAt(d.t, d.host(), "ps", "--all", "--quiet")); len(ids) > 0 {
		dockerAt(d.t, d.host(), append([]string{"rm", "--force"}, ids...)...)
	}
	d.stop()
	d.log.Close()
	if d.t.Failed() {
		if log, err := os.ReadFile(d.path("log")); err == nil {
			d.t.Logf("the test's own engine said:\n%s", log[max(0, len(log)-4000):])
		}
	}
	// A daemon that leaves containers behind leaves its root mounted on itself, too.
	if err := syscall.Unmount(d.path("root"), 0); err != nil && !errors.Is(err, syscall.EINVAL) {
		d.t.Errorf("unmount the root of the test's own engine: %v", err)
	}
	if err := os.RemoveAll(d.folder); err != nil {
		d.t.Errorf("remove the test's own engine: %v", err)
	}
}

func (d *daemon) world() World {
	d.t.Helper()
	w := *dockerWorld(d.t)
	w.Engine = closed(d.t, platform.NewDockerAt(d.host(), w.Processes))
	return &w
}

func containerVictim(id string) experiments.Candidate {
	return experiments.Candidate{Kind: "container", ID: id, Name: id[:12]}
}

func TestH50_TheDaemonRestartsAndTheContainersLive(t *testing.T) {
	engine := newDaemon(t, "--live-restore")
	frozen, stopped, crashed := engine.run(), engine.run("--restart", "always"), engine.run()
	w := engine.world()
	pause := aimAtVictim(t, w, containerPause{}, ContainerPauseSpec{}, containerVictim(frozen))
	stop := aimAtVictim(t, w, containerStop{}, ContainerStopSpec{}, containerVictim(stopped))
	crash := aimAtVictim(t, w, containerCrash{}, ContainerCrashSpec{}, containerVictim(crashed))
	inject(t, w, containerPause{}, pause)
	inject(t, w, containerStop{}, stop)
	engine.stop()

	// A crash needs no daemon: the init was pinned.
	inject(t, w, containerCrash{}, crash)
	waitEffect(t, w, containerCrash{}, crash, experiments.EffectOn)
	undo(t, w, containerCrash{}, crash)
	// An engine that is away is not a container that is gone.
	if err := (containerPause{}).Undo(t.Context(), w, pause); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("undo without a daemon: %v, want %v", err, platform.ErrUnreachable)
	}
	if _, err := (containerStop{}).Confirm(t.Context(), w, stop); !errors.Is(err, platform.ErrUnreachable) || errors.Is(err, ErrGone) {
		t.Errorf("confirm without a daemon: %v, want %v", err, platform.ErrUnreachable)
	}
	engine.start()

	waitEffect(t, w, containerPause{}, pause, experiments.EffectOn)
	undo(t, w, containerPause{}, pause)
	undo(t, w, containerStop{}, stop)
	for _, id := range []string{frozen, stopped} {
		if state := engine.state(id); state != "running" {
			t.Errorf("after undo container %.12s is %s", id, state)
		}
	}
}

func TestH50_TheDaemonRestartsAndTheContainersDie(t *testing.T) {
	engine := newDaemon(t)
	frozen, stopped := engine.run(), engine.run("--restart", "always")
	w := engine.world()
	pause := aimAtVictim(t, w, containerPause{}, ContainerPauseSpec{}, containerVictim(frozen))
	stop := aimAtVictim(t, w, containerStop{}, ContainerStopSpec{}, containerVictim(stopped))
	inject(t, w, containerPause{}, pause)
	inject(t, w, containerStop{}, stop)
	engine.stop()
	engine.start()
	waitEffect(t, w, containerPause{}, pause, experiments.EffectGone)
	undo(t, w, containerPause{}, pause)
	if state := engine.state(frozen); state != "exited" {
		t.Errorf("the container that the daemon took with it is %s: its end was not our fault's, and not ours to undo", state)
	}
	// "always" brings back even what was stopped by hand, when the daemon starts.
	testenv.Eventually(t, 20*time.Second, "the daemon starts what always runs", func() bool { return engine.state(stopped) == "running" })
	undo(t, w, containerStop{}, stop)
	if state := engine.state(stopped); state != "running" {
		t.Errorf("after undo it is %s", state)
	}
}

// The daemon is away when the undo is due: it is asked again until it is back.
func TestH50_TheDaemonIsAwayWhenTheUndoIsDue(t *testing.T) {
	engine := newDaemon(t, "--live-restore")
	id := engine.run("--name", "frozen")
	f := newFaultline(t, "  - {name: pause, at: 0s, for: 2s, container.pause: {select: {name: frozen}}}\n")
	f.env = append(f.env, "DOCKER_HOST="+engine.host())
	var log strings.Builder
	run := f.command("run", "--no-input", f.file)
	run.Stderr = &log
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 20*time.Second, "the container is paused", func() bool { return engine.state(id) == "paused" })
	engine.stop()
	time.Sleep(6 * time.Second) // how long the outage lasts: the undo is due in the middle of it
	engine.start()
	err := run.Wait()
	if code := run.ProcessState.ExitCode(); code == 6 || engine.state(id) != "running" {
		t.Errorf("the run exits %d (%v), and the container is %s\n%s", code, err, engine.state(id), log.String())
	}
}
