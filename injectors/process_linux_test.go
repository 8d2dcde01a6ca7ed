package injectors

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
	"github.com/faultline-sh/faultline/internal/platform/twin"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// hostWorld is this host without an engine.
func hostWorld(t *testing.T) World {
	t.Helper()
	testenv.Require(t, "pidfd")
	host, err := platform.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	return &platform.World{Host: host, Processes: platform.NewProcesses(host), Commands: platform.NewCommands()}
}

// untraceable is a host on which ptrace is not to be had.
type untraceable struct{ platform.Processes }

func (untraceable) CanFreeze(context.Context, platform.ProcessID) error {
	return platform.ErrUnsupported
}

// seenState is what /proc says of a process: its letter, running and sleeping being one.
func seenState(t *testing.T, pid int) string {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return "gone"
	}
	if err != nil {
		t.Fatal(err)
	}
	words := ""
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "State:") || strings.HasPrefix(line, "TracerPid:") {
			words += strings.Fields(line)[1] + " "
		}
	}
	return strings.NewReplacer("R", "runs", "S", "runs", "Z", "gone", "X", "gone").Replace(words)
}

func stageProcess(t *testing.T) (stageSet, victim) {
	t.Helper()
	w := hostWorld(t)
	p := startVictim(t)
	return stageSet{
		world: w, vanish: func() { p.kill(t) },
		state: func() string { return seenState(t, p.PID) },
		again: func() World { return hostWorld(t) },
	}, p
}

// victim is a process with several threads that is nobody's child but a
// shell's: what a holder meets is never its own child.
type victim struct {
	PID int
	Exe string
}

func startVictim(t *testing.T) victim {
	t.Helper()
	content, err := os.ReadFile(testenv.Server(t))
	if err != nil {
		t.Fatal(err)
	}
	exe := filepath.Join(t.TempDir(), "victim-"+rand.Text()[:6])
	syscall.ForkLock.RLock() // a child that inherits the open file would keep it from being run
	err = os.WriteFile(exe, content, 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `"$0" -lifeline -http 127.0.0.1:0 <&3 & echo pid $!; wait`, exe)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{read}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read.Close()
	v := victim{Exe: exe}
	t.Cleanup(func() {
		v.kill(t) // also when it stands still
		write.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the shell that started the victim: %v", err)
		}
	})
	for lines := bufio.NewScanner(out); lines.Scan() && lines.Text() != "ready"; {
		if pid, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
			v.PID, _ = strconv.Atoi(pid)
		}
	}
	if v.PID == 0 {
		t.Fatal("the victim did not start")
	}
	return v
}

func (v victim) kill(t *testing.T) {
	t.Helper()
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", v.PID)); err != nil || exe != v.Exe {
		return // gone: nobody else has that file
	}
	if err := syscall.Kill(v.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		t.Errorf("kill the victim %d: %v", v.PID, err)
	}
	testenv.Eventually(t, 5*time.Second, "the victim ends", func() bool { return seenState(t, v.PID)[:4] == "gone" })
}

func stageKill(t *testing.T) stageSet {
	s, p := stageProcess(t)
	s.settings = ProcessKillSettings{Select: by(selector.Process{Exe: p.Exe}), Pick: experiments.Pick{Count: 1}}
	return s
}

func stagePause(t *testing.T) stageSet {
	s, p := stageProcess(t)
	s.settings = ProcessPauseSettings{Select: by(selector.Process{Exe: filepath.Base(p.Exe)}), Pick: experiments.Pick{All: true}}
	return s
}

func stagePauseBySignal(t *testing.T) stageSet {
	s, p := stageProcess(t)
	s.world.Processes = untraceable{s.world.Processes}
	s.settings = ProcessPauseSettings{Select: by(selector.Process{PID: p.PID})}
	return s
}

func stageExec(t *testing.T) stageSet {
	file := filepath.Join(t.TempDir(), "marker")
	return stageSet{
		world: hostWorld(t),
		settings: ExecSettings{
			Inject: []string{"touch", file}, Confirm: &ExecConfirm{Argv: []string{"test", "-e", file}}, Undo: []string{"rm", file},
		},
		state: func() string {
			_, err := os.Stat(file)
			return strconv.FormatBool(err == nil)
		},
		vanish: func() { os.Remove(file) },
		again:  func() World { return hostWorld(t) },
	}
}

// by selects by keys.
func by(keys selector.Process) ProcessSelect { return ProcessSelect{keys} }

func TestWhatCannotBeReadIsSkippedAndNamed(t *testing.T) {
	w, processes := twinWorld()
	processes.Start(platform.Process{Args: []string{"prey"}, Unread: []string{"exe"}})
	choice, err := by(selector.Process{Exe: "prey"}).Choose(t.Context(), w, experiments.Pick{All: true})
	if err != nil || len(choice.Matched) != 0 || len(choice.Skipped) != 1 || choice.Skipped[0].Why != "could not read its exe: run as root, or as its user" {
		t.Errorf("matched %v, skipped %v (%v)", choice.Matched, choice.Skipped, err)
	}
	for range 99 {
		processes.Start(platform.Process{Args: []string{"prey"}, Unread: []string{"exe"}})
	}
	choice, err = by(selector.Process{Exe: "prey"}).Choose(t.Context(), w, experiments.Pick{All: true})
	if err != nil || len(choice.Skipped) != 1 || !strings.HasPrefix(choice.Skipped[0].Name, "100 processes (prey") {
		t.Errorf("skipped %v (%v), want one line for 100", choice.Skipped, err)
	}
}

func TestLinkToTheExecutableIsExplained(t *testing.T) {
	dir := t.TempDir()
	real := filepath.Join(dir, "real-program")
	if err := os.WriteFile(real, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "linked-name")
	if err := os.Symlink(real, link); err != nil {
		t.Fatal(err)
	}
	w, processes := twinWorld()
	processes.Start(platform.Process{Exe: real, Args: []string{"linked-name"}})
	choice, err := by(selector.Process{Exe: link}).Choose(t.Context(), w, experiments.Pick{All: true})
	if err != nil || len(choice.Matched) != 0 || len(choice.Skipped) != 1 || !strings.Contains(choice.Skipped[0].Why, real) {
		t.Errorf("matched %v, skipped %v (%v); want the link explained", choice.Matched, choice.Skipped, err)
	}
}

func TestTitlesAreShown(t *testing.T) {
	rows := []struct {
		sentence, exe, title, want string
	}{
		{"the same name once", "/usr/bin/redis-server", "redis-server", "redis-server (pid 7)"},
		{"by its path too", "/usr/bin/redis-server", "/usr/bin/redis-server", "redis-server (pid 7)"},
		{"what it calls itself", "/usr/bin/postgres", "postgres: checkpointer", "postgres [postgres: checkpointer] (pid 7)"},
		{"without what could move a cursor", "/bin/x", "\x1b[2J\ny", "x [[2Jy] (pid 7)"},
		{"a book is no title", "/bin/x", strings.Repeat("y", 1000), "x (pid 7)"},
	}
	for _, row := range rows {
		if got := processName(platform.Process{PID: 7, Exe: row.exe, Args: []string{row.title}}); got != row.want {
			t.Errorf("%s: %q, want %q", row.sentence, got, row.want)
		}
	}
}

func TestProcessSettingsSayWhatIsWrong(t *testing.T) {
	one := experiments.Pick{Count: 1}
	rows := []struct {
		sentence string
		settings experiments.Checker
		field    string // "" for none
	}{
		{"nothing selected is not everything", ProcessKillSettings{Pick: one}, "select"},
		{"a selector that can match many needs a pick", ProcessKillSettings{Select: by(selector.Process{Exe: "nginx"})}, "pick"},
		{"a pid needs none", ProcessKillSettings{Select: by(selector.Process{PID: 12})}, ""},
		{"a pidfile needs none", ProcessPauseSettings{Select: by(selector.Process{Pidfile: "/run/x.pid"})}, ""},
		{"a signal that stops is another fault", ProcessKillSettings{Select: by(selector.Process{PID: 12}), Signal: "SIGSTOP"}, "signal"},
		{"a relative executable", ProcessPauseSettings{Select: by(selector.Process{Exe: "bin/x"}), Pick: one}, "select.exe"},
		{"an expression that is none", ProcessPauseSettings{Select: by(selector.Process{Cmdline: "("}), Pick: one}, "select.cmdline"},
		{"exec without confirm", ExecSettings{Inject: []string{"x"}, Undo: []string{"y"}}, "confirm"},
		{"exec without undo may be meant", ExecSettings{Inject: []string{"x"}, Confirm: &ExecConfirm{None: true}}, ""},
		{"exec with nothing to run", ExecSettings{Confirm: &ExecConfirm{None: true}}, "inject"},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			problems := row.settings.Check()
			if row.field == "" && len(problems) > 0 || row.field != "" && (len(problems) != 1 || problems[0].Field != row.field) {
				t.Errorf("problems %v, want one of %q", problems, row.field)
			}
		})
	}
}

func TestSignalsAreReadAsPeopleWriteThem(t *testing.T) {
	for _, text := range []string{`"TERM"`, `"SIGTERM"`, `"term"`, `15`, `"15"`} {
		var s Signal
		if err := s.UnmarshalJSON([]byte(text)); err != nil || s != "SIGTERM" {
			t.Errorf("%s is read as %q (%v), want SIGTERM", text, s, err)
		}
	}
	for _, text := range []string{`"BOOM"`, `0`, `-9`, `9999`, `true`} {
		var s Signal
		if err := s.UnmarshalJSON([]byte(text)); err == nil {
			t.Errorf("%s is read as %q, want an error", text, s)
		}
	}
}

func TestGuardProtects(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w, processes := twinWorld()
	processes.SetAncestors(300, 200, 1)
	guard, err := newGuard(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	rows := []struct {
		sentence string
		process  platform.Process
		protects bool
	}{
		{"ourselves", platform.Process{PID: 300, Exe: "/usr/bin/x"}, true},
		{"the shell that started us", platform.Process{PID: 200, Exe: "/bin/bash"}, true},
		{"pid 1", platform.Process{PID: 1, Exe: "/sbin/anything"}, true},
		{"a kernel thread", platform.Process{PID: 40, Name: "kworker/0:0", Kernel: true}, true},
		{"another run's holder", platform.Process{PID: 500, Exe: self, Args: []string{"faultline", "__holder"}}, true},
		{"a holder whose executable may not be read", platform.Process{PID: 500, Args: []string{"f", "__holder"}, Unread: []string{"exe"}}, true},
		{"a process of the same binary that holds nothing", platform.Process{PID: 500, Exe: self, Args: []string{"faultline", "__replica"}}, false},
		{"the engine", platform.Process{PID: 600, Exe: "/usr/bin/dockerd"}, true},
		{"an engine whose executable may not be read", platform.Process{PID: 600, Args: []string{"/usr/bin/dockerd", "-H"}, Unread: []string{"exe"}}, true},
		{"a shim", platform.Process{PID: 601, Exe: "/usr/bin/containerd-shim-runc-v2"}, true},
		{"kubelet", platform.Process{PID: 602, Exe: "/usr/bin/kubelet"}, true},
		{"sshd", platform.Process{PID: 603, Exe: "/usr/sbin/sshd"}, true},
		{"anybody else", platform.Process{PID: 604, Exe: "/usr/bin/redis-server", Args: []string{"sshd"}}, false},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			if why := guard.Why(row.process); (why != "") != row.protects {
				t.Errorf("protected because %q, want protected %v", why, row.protects)
			}
		})
	}
}

// twinWorld is a machine in memory.
func twinWorld() (World, *twin.Processes) {
	host := twin.NewHost()
	processes := twin.NewProcesses(host)
	processes.SetAncestors(1)
	return &platform.World{Host: host, Processes: processes, Commands: platform.NewCommands()}, processes
}

func TestChooseSkipsWhatMustNotBeHit(t *testing.T) {
	w, processes := twinWorld()
	engine := processes.Start(platform.Process{Exe: "/usr/bin/dockerd", User: "root"})
	prey := processes.Start(platform.Process{Exe: "/usr/bin/prey", User: "root", Args: []string{"prey", "--password=hush", "--token", "hush"}})
	choice, err := by(selector.Process{User: "root"}).Choose(t.Context(), w, experiments.Pick{Count: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(choice.Matched) != 1 || choice.Matched[0].Name != "prey" {
		t.Errorf("matched %v, want prey only", choice.Matched)
	}
	if strings.Contains(choice.Matched[0].Detail, "hush") {
		t.Errorf("the detail tells a password: %s", choice.Matched[0].Detail)
	}
	if len(choice.Skipped) != 1 || choice.Skipped[0].Name != processName(engine) {
		t.Errorf("skipped %v, want dockerd", choice.Skipped)
	}
	if n := processes.Pinned(); n != 0 {
		t.Errorf("choosing left %d pins behind", n)
	}
	// And it is refused by name when it is meant in so many words.
	_, err = processPause{}.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, engine.PID))
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "dockerd") {
		t.Errorf("aiming at dockerd gives %v, want a refusal by name", err)
	}
	_ = prey
}

func orderAt(t *testing.T, w World, pid int) experiments.Order {
	t.Helper()
	id, err := w.Processes.Pin(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	w.Processes.Release(id)
	return experiments.Order{Run: "test", Fault: 1, Victim: experiments.Candidate{Kind: "process", ID: id.String(), Name: "victim"}}
}

func TestStalePidfileNamesNobody(t *testing.T) {
	w, processes := twinWorld()
	prey := processes.Start(platform.Process{Exe: "/usr/bin/prey"})
	file := filepath.Join(t.TempDir(), "prey.pid")
	if err := os.WriteFile(file, []byte(strconv.Itoa(prey.PID)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	choose := func() experiments.Choice {
		choice, err := by(selector.Process{Pidfile: file}).Choose(t.Context(), w, experiments.Pick{})
		if err != nil {
			t.Fatal(err)
		}
		return choice
	}
	if choice := choose(); len(choice.Matched) != 1 || choice.Pick.Count != 1 {
		t.Errorf("a fresh pidfile matches %v, picking %v; want one, picking 1", choice.Matched, choice.Pick)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(file, old, old); err != nil {
		t.Fatal(err)
	}
	if choice := choose(); len(choice.Matched) != 0 || len(choice.Skipped) != 1 {
		t.Errorf("a pidfile older than the process matches %v, skips %v; want it skipped", choice.Matched, choice.Skipped)
	}
}

func TestPauseLeavesForeignStopsAlone(t *testing.T) {
	for _, by := range []string{"ptrace", "signal"} {
		t.Run("stopped by somebody else, pausing by "+by, func(t *testing.T) {
			w, processes := twinWorld()
			if by == "signal" {
				w.Processes = untraceable{processes}
			}
			prey := processes.Start(platform.Process{Exe: "/usr/bin/prey"})
			order := orderAt(t, w, prey.PID)
			id, err := platform.ParseProcessID(order.Victim.ID)
			if err != nil {
				t.Fatal(err)
			}
			if err := processes.Signal(t.Context(), id, platform.SignalStop); err != nil {
				t.Fatal(err)
			}
			if _, err := (processPause{}).Aim(t.Context(), w, ProcessPauseSettings{}, order); !errors.Is(err, ErrForeign) {
				t.Errorf("aiming gives %v, want ErrForeign", err)
			}
			if state, err := processes.State(t.Context(), id); err != nil || state != "T" {
				t.Errorf("it is in state %q (%v) now, want it left in T", state, err)
			}
		})
	}
	w, processes := twinWorld()
	prey := processes.Start(platform.Process{Exe: "/usr/bin/prey"})
	processes.Trace(prey.PID, 77)
	if _, err := (processPause{}).Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, prey.PID)); !errors.Is(err, ErrForeign) {
		t.Errorf("aiming at a traced process gives %v, want ErrForeign", err)
	}
}

func TestH7_UndoWithoutRightsIsNoSuccess(t *testing.T) {
	w, processes := twinWorld()
	w.Processes = untraceable{processes}
	prey := processes.Start(platform.Process{Exe: "/usr/bin/prey"})
	pause := processPause{}
	targets, err := pause.Aim(t.Context(), w, ProcessPauseSettings{}, orderAt(t, w, prey.PID))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pause.Inject(t.Context(), w, targets[0]); err != nil {
		t.Fatal(err)
	}
	processes.Deny(prey.PID)
	err = pause.Undo(t.Context(), w, targets[0])
	if !errors.Is(err, platform.ErrDenied) || !strings.Contains(err.Error(), "needs root") {
		t.Errorf("undo gives %v, want a denial that says who can do it", err)
	}
}

func TestPlanLeavesNoPinBehind(t *testing.T) {
	w, processes := twinWorld()
	prey := processes.Start(platform.Process{Exe: "/usr/bin/prey"})
	order := orderAt(t, w, prey.PID)
	order.Run = ""
	for _, kind := range []string{"process.kill", "process.pause"} {
		fault, _ := Find(kind)
		if err := fault.Preflight(t.Context(), w, []byte("{}"), order); err != nil {
			t.Fatal(err)
		}
		if _, err := fault.Aim(t.Context(), w, []byte("{}"), order); err != nil {
			t.Fatal(err)
		}
	}
	if n := processes.Pinned(); n != 0 {
		t.Errorf("planning left %d pins", n)
	}
}
