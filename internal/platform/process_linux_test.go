package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/internal/testenv"
)

func thisTable(t *testing.T) (Host, *procTable) {
	t.Helper()
	testenv.Require(t, "pidfd")
	host, err := NewHost()
	if err != nil {
		t.Fatal(err)
	}
	return host, NewProcesses(host).(*procTable)
}

func TestStatIsReadWhateverTheName(t *testing.T) {
	rest := " S 17 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 8123 9 9"
	for _, name := range []string{"redis", "a b", "x) R 1 (y", "", "\n"} {
		s, err := parseStat("12 (" + name + ")" + rest)
		if err != nil || s.name != name || s.state != "S" || s.ppid != 17 || s.threads != 3 || s.start != 8123 {
			t.Errorf("name %q: read %+v (%v)", name, s, err)
		}
	}
	for _, line := range []string{"", "12 redis S", "12 (redis) S 17", strings.Replace("12 (x)"+rest, "8123", "soon", 1)} {
		if s, err := parseStat(line); err == nil {
			t.Errorf("%q is read as %+v, want an error", line, s)
		}
	}
}

func TestCgroupsOfEveryAge(t *testing.T) {
	rows := []struct{ sentence, text, path, unit string }{
		{"version 2", "0::/system.slice/redis.service\n", "/system.slice/redis.service", "redis.service"},
		{"hybrid, version 2 in use", "4:memory:/a\n1:name=systemd:/b\n0::/user.slice/user-0.slice/session-1.scope\n", "/user.slice/user-0.slice/session-1.scope", "session-1.scope"},
		{"hybrid, version 2 empty", "4:memory:/docker/abc\n1:name=systemd:/docker/abc\n0::/\n", "/docker/abc", ""},
		{"version 1 without systemd", "3:cpu,cpuacct:/\n2:memory:/docker/abc\n", "/docker/abc", ""},
		{"a service that has groups of its own", "0::/system.slice/docker.service/init\n", "/system.slice/docker.service/init", "docker.service"},
		{"a path with colons", "0::/a:b/c\n", "/a:b/c", ""},
		{"the root", "0::/\n", "/", ""},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			c := parseCgroups(row.text)
			if c.path() != row.path || c.unit() != row.unit {
				t.Errorf("path %q, unit %q; want %q, %q", c.path(), c.unit(), row.path, row.unit)
			}
		})
	}
}

func TestMachineWithoutIDIsKnownByItsName(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, []byte("uninitialized\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	id, err := machineIDFrom(filepath.Join(dir, "none"), empty)
	if err != nil || !strings.HasPrefix(id, "hostname-") {
		t.Errorf("without a file the machine is %q (%v)", id, err)
	}
	set := filepath.Join(dir, "set")
	if err := os.WriteFile(set, []byte("abc\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if id, err := machineIDFrom(set); err != nil || id != "abc" {
		t.Errorf("with a file the machine is %q (%v)", id, err)
	}
}

func TestListReadsARealProcess(t *testing.T) {
	host, table := thisTable(t)
	server := testenv.Process(t, "-http", "127.0.0.1:0", "-tcp", "[::1]:0", "-udp", "127.0.0.1:0", "-name", "two words")
	p := find(t, table, server.PID)
	if p.Exe != server.Exe || !slices.Contains(p.Args, "two words") || p.PPID != os.Getpid() || p.Kernel || len(p.Unread) > 0 {
		t.Errorf("read %+v", p)
	}
	if p.UID != os.Getuid() || p.User == "" || p.Cgroup == "" {
		t.Errorf("user %q (%d), cgroup %q", p.User, p.UID, p.Cgroup)
	}
	for _, kind := range []string{"http", "tcp", "udp"} {
		addr := server.Addr[kind]
		port, err := strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
		if err != nil || !slices.Contains(p.Ports, port) {
			t.Errorf("ports %v, want %s's %s among them", p.Ports, kind, addr)
		}
	}
	if age := host.Boottime().Sub(p.Born); age < 0 || age > time.Minute {
		t.Errorf("it was born %s ago, want just now", age)
	}
}

func TestPortsAreThoseOfTheOwnNamespace(t *testing.T) {
	_, table := thisTable(t)
	space := testenv.Netns(t)
	server := space.Process(t, "-http", "0.0.0.0:80")
	if p := find(t, table, server.PID); !slices.Equal(p.Ports, []int{80}) {
		t.Errorf("ports %v (unread %v), want 80, in a namespace that is not ours", p.Ports, p.Unread)
	}
}

func find(t *testing.T, table *procTable, pid int) Process {
	t.Helper()
	all, err := table.List(t.Context(), true)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range all {
		if p.PID == pid {
			return p
		}
	}
	t.Fatalf("process %d is not listed", pid)
	return Process{}
}

func TestIdentitySurvivesText(t *testing.T) {
	for _, id := range []ProcessID{
		{BootID: "b-1", PID: 12, PidfdInode: 7, Start: 99},
		{BootID: "b-1", PID: 12, Start: 99, ExeInode: 5, Cgroup: "/a b@c-d/e"},
	} {
		if got, err := ParseProcessID(id.String()); err != nil || got != id {
			t.Errorf("%q is read as %+v (%v), want %+v", id, got, err, id)
		}
	}
	for _, text := range []string{"", "412", "1-2-3@b", "1-2-3-4", "a-2-3-4@b"} {
		if id, err := ParseProcessID(text); err == nil {
			t.Errorf("%q is read as %+v, want an error", text, id)
		}
	}
}

func TestEndedProcessIsGone(t *testing.T) {
	_, table := thisTable(t)
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	id, err := table.Pin(t.Context(), cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := table.State(t.Context(), id); err != nil || state == "" {
		t.Errorf("state %q (%v) of a living process", state, err)
	}
	if err := table.Signal(t.Context(), id, SignalKill); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 5*time.Second, "a zombie is gone", func() bool {
		_, err := table.State(t.Context(), id)
		return errors.Is(err, ErrGone)
	})
	cmd.Wait()
	if err := table.Signal(t.Context(), id, SignalKill); !errors.Is(err, ErrGone) {
		t.Errorf("signalling a reaped process gives %v, want ErrGone", err)
	}
	table.Release(id)
	table.Release(id)
	if err := table.Signal(t.Context(), id, SignalKill); !errors.Is(err, ErrGone) {
		t.Errorf("after Release: %v, want ErrGone", err)
	}
	other := id
	other.BootID = "another boot"
	if _, err := table.State(t.Context(), other); !errors.Is(err, ErrGone) {
		t.Errorf("of another boot: %v, want ErrGone", err)
	}
}

// As another user the kernel refuses, and what may not be read is named.
func TestWithoutRights(t *testing.T) {
	if os.Getenv("FAULTLINE_TEST_INNER") == "" {
		testenv.Require(t, "root", "pidfd")
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		victim := exec.Command("sleep", "600")
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		defer victim.Wait()
		defer victim.Process.Kill()
		cmd := exec.Command("/proc/self/fd/3", "-test.run=^TestWithoutRights$", "-test.v")
		cmd.ExtraFiles, cmd.Dir = []*os.File{self}, "/"
		cmd.Env = append(os.Environ(), "FAULTLINE_TEST_INNER="+strconv.Itoa(victim.Process.Pid))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Fatalf("as nobody: %v\n%s", err, out)
		}
		return
	}
	pid, err := strconv.Atoi(os.Getenv("FAULTLINE_TEST_INNER"))
	if err != nil {
		t.Fatal(err)
	}
	_, table := thisTable(t)
	p := find(t, table, pid)
	if !slices.Contains(p.Unread, "exe") || !slices.Contains(p.Unread, "ports") || p.User != "root" || len(p.Args) != 2 {
		t.Errorf("read %+v, want exe and ports unread", p)
	}
	id, err := table.Pin(t.Context(), pid)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Signal(t.Context(), id, SignalKill); !errors.Is(err, ErrDenied) {
		t.Errorf("signal: %v, want ErrDenied", err)
	}
	if err := table.CanFreeze(t.Context(), id); !errors.Is(err, ErrDenied) {
		t.Errorf("can freeze: %v, want ErrDenied", err)
	}
	if _, err := table.Freeze(t.Context(), id); !errors.Is(err, ErrDenied) {
		t.Errorf("freeze: %v, want ErrDenied", err)
	}
	if threads, err := table.Threads(t.Context(), id); err != nil || len(threads) != 1 {
		t.Errorf("threads %v (%v)", threads, err)
	}
}

func TestAncestorsEndAtTheTop(t *testing.T) {
	_, table := thisTable(t)
	chain, err := table.Ancestors(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if chain[0] != os.Getpid() || !slices.Contains(chain, os.Getppid()) || chain[len(chain)-1] != 1 {
		t.Errorf("ancestors %v", chain)
	}
}

func TestCommandTellsHowItEnded(t *testing.T) {
	rows := []struct {
		sentence string
		command  Command
		holds    func(CommandResult) bool
	}{
		{"its code and its words", Command{Argv: []string{"sh", "-c", "echo out; echo err >&2; exit 3"}},
			func(r CommandResult) bool { return r.Code == 3 && r.Stdout == "out\n" && r.Stderr == "err\n" && !r.Cut }},
		{"the signal that ended it", Command{Argv: []string{"sh", "-c", "kill -TERM $$"}},
			func(r CommandResult) bool { return r.Code == -1 && r.Signal == "SIGTERM" && !r.TimedOut }},
		{"a flood of words, cut", Command{Argv: []string{"sh", "-c", "yes | head -c 1000000"}},
			func(r CommandResult) bool { return r.Code == 0 && len(r.Stdout) == kept && r.Cut }},
		{"what it left in the background holds nobody up", Command{Argv: []string{"sh", "-c", "sleep 5 & echo $!"}},
			func(r CommandResult) bool {
				pid, err := strconv.Atoi(strings.TrimSpace(r.Stdout))
				return err == nil && unix.Kill(pid, unix.SIGKILL) == nil && r.Code == 0 && r.Took < 3*time.Second
			}},
		{"nothing to read on its input", Command{Argv: []string{"cat"}},
			func(r CommandResult) bool { return r.Code == 0 && r.Stdout == "" }},
		{"an end by its timeout", Command{Argv: []string{"sleep", "600"}, Timeout: 50 * time.Millisecond},
			func(r CommandResult) bool { return r.TimedOut && r.Signal == "SIGKILL" }},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			result, err := NewCommands().Run(t.Context(), row.command)
			if err != nil || !row.holds(result) {
				result.Stdout = fmt.Sprintf("%.40q", result.Stdout)
				t.Errorf("ended %+v (%v)", result, err)
			}
		})
	}
}

func TestTimeoutKillsTheWholeGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	_, err := NewCommands().Run(t.Context(), Command{Argv: []string{"sh", "-c", `sleep 600 & echo $! > "$0"; wait`, file}, Timeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 5*time.Second, "the grandchild ends", func() bool {
		stat, err := readStat(pid)
		return errors.Is(err, ErrGone) || stat.dead()
	})
}

func TestCommandEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	result, err := NewCommands().Run(ctx, Command{Argv: []string{"sleep", "600"}})
	if err != nil || result.Signal != "SIGKILL" || result.TimedOut {
		t.Errorf("ended %+v (%v), want it killed, and not for its timeout", result, err)
	}
}

// The death of this process is the death of its commands.
func TestCommandDiesWithItsParent(t *testing.T) {
	if file := os.Getenv("FAULTLINE_TEST_INNER"); file != "" {
		NewCommands().Run(t.Context(), Command{Argv: []string{"sh", "-c", `echo $$ > "$0.new"; mv "$0.new" "$0"; exec sleep 600`, file}})
		return
	}
	file := filepath.Join(t.TempDir(), "pid")
	parent := exec.Command("/proc/self/exe", "-test.run=^TestCommandDiesWithItsParent$")
	parent.Env = append(os.Environ(), "FAULTLINE_TEST_INNER="+file)
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	testenv.Eventually(t, 10*time.Second, "the command runs", func() bool {
		content, err := os.ReadFile(file)
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(content)))
		}
		return err == nil && pid > 0
	})
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	testenv.Eventually(t, 5*time.Second, "the command ends with it", func() bool {
		stat, err := readStat(pid)
		return errors.Is(err, ErrGone) || stat.dead()
	})
}
