package injectors

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// inner is set in a test process that an outer one has started.
const inner = "FAULTLINE_TEST_INNER"

// again prepares this very test in a process of its own.
func again(t *testing.T, value string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inner+"="+value)
	cmd.Stderr = os.Stderr
	return cmd
}

// In a pid namespace of its own the test decides which number comes next.
func TestH13_PidReuse(t *testing.T) {
	testenv.Require(t, "root", "pidfd")
	if os.Getenv(inner) == "" {
		cmd := again(t, "1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
		out, err := cmd.Output()
		if err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("in a pid namespace of its own: %v\n%s", err, out)
		}
		return
	}
	if err := errors.Join(unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""), unix.Mount("proc", "/proc", "proc", 0, "")); err != nil {
		t.Fatal(err)
	}
	for _, identity := range []string{"by the pidfd's inode", "by start, executable and cgroup", "in another process, by the inode", "in another process, by start, executable and cgroup"} {
		t.Run(identity, func(t *testing.T) { reuse(t, identity) })
	}
}

func reuse(t *testing.T, identity string) {
	w := hostWorld(t)
	first := exec.Command("sleep", "600")
	if err := first.Start(); err != nil {
		t.Fatal(err)
	}
	order := orderAt(t, w, first.Process.Pid)
	kills, err := processKill{}.Aim(t.Context(), w, ProcessKillSettings{}, order)
	if err != nil {
		t.Fatal(err)
	}
	pauses, err := processPause{}.Aim(t.Context(), w, ProcessPauseSettings{}, order)
	if err != nil {
		t.Fatal(err)
	}
	kill, pause := kills[0], pauses[0]
	if strings.HasSuffix(identity, "cgroup") {
		kill.Process, pause.Process = olderKernel(t, kill.Process), olderKernel(t, pause.Process)
	}
	if strings.HasPrefix(identity, "in another process") {
		w = hostWorld(t)
	}
	if err := errors.Join(first.Process.Kill(), ignoreExit(first.Wait())); err != nil {
		t.Fatal(err)
	}
	second := startAs(t, first.Process.Pid)
	if _, err := (processKill{}).Inject(t.Context(), w, kill); !errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "vanished") {
		t.Errorf("killing the old process gives %v, want that the target vanished", err)
	}
	if _, err := (processPause{}).Inject(t.Context(), w, pause); !errors.Is(err, ErrGone) {
		t.Errorf("pausing the old process gives %v, want ErrGone", err)
	}
	pause.By = pauseBySignal
	if _, err := (processPause{}).Inject(t.Context(), w, pause); !errors.Is(err, ErrGone) {
		t.Errorf("stopping the old process gives %v, want ErrGone", err)
	}
	if err := (processPause{}).Undo(t.Context(), w, pause); err != nil {
		t.Errorf("undoing on the old process: %v", err)
	}
	if state := seenState(t, second.Process.Pid); state != "runs 0 " {
		t.Errorf("the new process is %q, want it untouched", state)
	}
	if err := errors.Join(second.Process.Kill(), ignoreExit(second.Wait())); err != nil {
		t.Error(err)
	}
}

// olderKernel is the identity as a kernel before 6.9 lets it be known.
func olderKernel(t *testing.T, id platform.ProcessID) platform.ProcessID {
	t.Helper()
	var exe unix.Stat_t
	if err := unix.Stat(fmt.Sprintf("/proc/%d/exe", id.PID), &exe); err != nil {
		t.Fatal(err)
	}
	id.PidfdInode, id.ExeInode = 0, exe.Ino
	return id
}

// startAs starts another program under the very number.
func startAs(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for range 100 {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(pid-1)), 0); err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("tail", "-f", "/dev/null")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			return cmd
		}
		if err := errors.Join(cmd.Process.Kill(), ignoreExit(cmd.Wait())); err != nil {
			t.Fatal(err)
		}
	}
	t.Fatalf("no process got the number %d", pid)
	return nil
}

// ignoreExit: ended by our signal is how it was meant.
func ignoreExit(err error) error {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil
	}
	return err
}

func TestH20_SupervisorRestartsAtOnce(t *testing.T) {
	w := hostWorld(t)
	victim := startSupervised(t)
	kill := processKill{}
	targets, err := kill.Aim(t.Context(), w, ProcessKillSettings{}, orderAt(t, w, victim))
	if err != nil {
		t.Fatal(err)
	}
	before := w.Host.Boottime()
	if _, err := kill.Inject(t.Context(), w, targets[0]); err != nil {
		t.Fatal(err)
	}
	var back experiments.Return
	testenv.Eventually(t, 5*time.Second, "the supervisor starts it again", func() bool {
		back, err = kill.Return(t.Context(), w, targets[0])
		return err == nil && back.State == experiments.ReturnUp
	})
	if !strings.HasPrefix(back.By, "its supervisor ") || !strings.Contains(back.By, "sh") {
		t.Errorf("it came back by %q, want by its supervisor, the shell", back.By)
	}
	if strings.Contains(back.As, fmt.Sprintf("pid %d)", victim)) {
		t.Errorf("it came back as %q, which is the one that was killed", back.As)
	}
	effect, err := kill.Confirm(t.Context(), w, targets[0])
	if err != nil || effect.State != experiments.EffectOn {
		t.Errorf("the kill reads back as %q (%v) after the restart, want in effect: the new process is another one", effect.State, err)
	}
	t.Logf("back after %s by %s", w.Host.Boottime().Sub(before), back.By)
}

func TestH20_KillRefusesToPromiseALength(t *testing.T) {
	w, processes := twinWorld()
	order := orderAt(t, w, processes.Start(platform.Process{Exe: "/usr/bin/prey"}).PID)
	order.Length = experiments.Duration(30 * time.Second)
	err := processKill{}.Preflight(t.Context(), w, ProcessKillSettings{}, order)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "process.pause") {
		t.Errorf("down for 30s is answered by %v, want a refusal that names process.pause", err)
	}
}

// startSupervised starts a shell that starts its child again whenever it ends, and gives the child.
func startSupervised(t *testing.T) int {
	t.Helper()
	cmd := exec.Command("sh", "-c", "while :; do sleep 600 & echo $!; wait $!; done")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	children := make(chan int, 100)
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if pid, err := strconv.Atoi(lines.Text()); err == nil {
				children <- pid
			}
		}
		close(children)
	}()
	first := <-children
	t.Cleanup(func() {
		if err := cmd.Process.Kill(); err != nil {
			t.Error(err)
		}
		cmd.Process.Wait()
		for pid := range children { // the last one still sleeps; the others have ended
			if name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); err == nil && string(name) == "sleep\n" && len(children) == 0 {
				syscall.Kill(pid, syscall.SIGKILL)
				return
			}
		}
	})
	return first
}

func TestSigkillOfTheHolderResumesThePaused(t *testing.T) {
	if pid, err := strconv.Atoi(os.Getenv(inner)); err == nil {
		w := hostWorld(t)
		pause := processPause{}
		targets, err := pause.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, pid))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pause.Inject(t.Context(), w, targets[0]); err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	w := hostWorld(t)
	v := startVictim(t)
	holder := again(t, strconv.Itoa(v.PID))
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, "the holder pauses the victim", func() bool {
		return seenState(t, v.PID) == fmt.Sprintf("t %d ", tracerOf(t, v.PID)) && tracerOf(t, v.PID) != 0
	})
	// While the holder lives nobody else calls the pause healed.
	target := PauseTarget{Process: pinned(t, w, v.PID), Name: "victim", By: pauseByTrace, Tracer: pinned(t, w, holder.Process.Pid)}
	if err := (processPause{}).Undo(t.Context(), w, target); !errors.Is(err, ErrForeign) {
		t.Errorf("undo beside a living holder gives %v, want that the holder has it", err)
	}
	if err := errors.Join(holder.Process.Kill(), ignoreExit(holder.Wait())); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, time.Second, "the kernel lets the victim go on", func() bool { return seenState(t, v.PID) == "runs 0 " })
	if err := (processPause{}).Undo(t.Context(), w, target); err != nil {
		t.Errorf("undo after the holder's death: %v", err)
	}
}

func pinned(t *testing.T, w World, pid int) platform.ProcessID {
	t.Helper()
	id, err := w.Processes.Pin(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func tracerOf(t *testing.T, pid int) int {
	t.Helper()
	_, tracer, _ := strings.Cut(strings.TrimSpace(seenState(t, pid)), " ")
	n, _ := strconv.Atoi(tracer)
	return n
}

// A supervisor must hear of a child's death though we trace the child.
func TestPausedProcessCanBeKilled(t *testing.T) {
	w := hostWorld(t)
	v := startVictim(t)
	pause := processPause{}
	targets, err := pause.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, v.PID))
	if err != nil {
		t.Fatal(err)
	}
	held, err := pause.Inject(t.Context(), w, targets[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(v.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 5*time.Second, "its parent has buried it", func() bool { return seenState(t, v.PID) == "gone" })
	if _, err := pause.Confirm(t.Context(), w, targets[0]); !errors.Is(err, ErrGone) {
		t.Errorf("confirm gives %v, want ErrGone", err)
	}
	if err := errors.Join(held.Close(), pause.Undo(t.Context(), w, targets[0])); err != nil {
		t.Error(err)
	}
}

// A signal that comes while the process stands still is not lost.
func TestPausedProcessGetsItsSignalsLater(t *testing.T) {
	w := hostWorld(t)
	v := startVictim(t)
	pause := processPause{}
	targets, err := pause.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, v.PID))
	if err != nil {
		t.Fatal(err)
	}
	held, err := pause.Inject(t.Context(), w, targets[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(v.PID, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if state := seenState(t, v.PID); !strings.HasPrefix(state, "t ") {
		t.Errorf("it is %q after a signal, want it still stopped", state)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 5*time.Second, "it ends by the signal that it got meanwhile", func() bool { return strings.HasPrefix(seenState(t, v.PID), "gone") })
}

// Threads that are born while others are being stopped are caught as well.
func TestPauseCatchesThreadsThatAreBornMeanwhile(t *testing.T) {
	if os.Getenv(inner) == "churn" {
		fmt.Println("ready")
		for range 4 {
			go func() {
				for {
					born := make(chan struct{})
					go func() {
						runtime.LockOSThread() // never unlocked: its thread ends with it
						close(born)
					}()
					<-born
				}
			}()
		}
		io.Copy(io.Discard, os.Stdin)
		return
	}
	w := hostWorld(t)
	// A shell stands between, so that it is no child of ours.
	shell := exec.Command("sh", "-c", `"$0" "$@" <&3 & echo pid $!; wait`, "/proc/self/exe", "-test.run=^"+t.Name()+"$")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	shell.Args[3] = self
	shell.Env = append(os.Environ(), inner+"=churn")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	shell.ExtraFiles = []*os.File{read}
	out, err := shell.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	defer func() {
		write.Close()
		shell.Wait() // how the churn ends is not asked
	}()
	pid := 0
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		if n, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			pid, _ = strconv.Atoi(n)
		}
	}
	pause := processPause{}
	for range 20 {
		targets, err := pause.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, pid))
		if err != nil {
			t.Fatal(err)
		}
		held, err := pause.Inject(t.Context(), w, targets[0])
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			effect, err := pause.Confirm(t.Context(), w, targets[0])
			if err != nil || effect.State != experiments.EffectOn {
				t.Errorf("reads back as %v (%v), want every thread stopped", effect, err)
			}
		}
		if err := errors.Join(held.Close(), pause.Undo(t.Context(), w, targets[0])); err != nil {
			t.Fatal(err)
		}
	}
}
