package crash_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// strace counts calls per thread, and a Go program's goroutines wander between
// threads: its nth call is another one in each run, and many are never met. This
// tracer counts the changes of one whole process, whatever thread makes them.

// An order is one command to run and where to kill it.
type order struct {
	Argv []string `json:"argv"`
	Env  []string `json:"env"`
	Dir  string   `json:"dir"`
	// Subject is whose changes count: tool or holder.
	Subject string `json:"subject"`
	// Match are the names of the points that count; empty: all.
	Match string `json:"match"`
	// Kill is the number of the point before which Dies die; 0: never.
	Kill int `json:"kill"`
	// Dies are tool, holder or both.
	Dies []string `json:"dies"`
	// Without is a capability that the command does not have, -1: none.
	Without int `json:"without"`
}

// An outcome is what the tracer saw.
type outcome struct {
	Points []string `json:"points"` // of the subject, in order, up to its death
	Killed bool     `json:"killed"`
	Exit   int      `json:"exit"` // of the tool; -1 when a signal ended it
	Output string   `json:"output"`
}

// tracer follows a tool and its holder. It lives on one thread: only the thread
// that attached may ask for anything.
type tracer struct {
	order  order
	tool   int
	pids   map[string]int // role to process
	roles  map[int]string // process to role
	groups map[int]int    // thread to process
	seen   outcome
	point  int
	killed func() // called once, at the kill
}

const outputName = "fl-crash-output-"

func (o order) trace(killed func()) (outcome, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	t := &tracer{order: o, pids: map[string]int{}, roles: map[int]string{}, groups: map[int]int{}, killed: killed}
	output, err := os.CreateTemp("", outputName)
	if err != nil {
		return outcome{}, err
	}
	defer output.Close()
	if err := os.Remove(output.Name()); err != nil {
		return outcome{}, err
	}
	if err := t.start(output); err != nil {
		return outcome{}, fmt.Errorf("start %v: %w", o.Argv, err)
	}
	if err := t.follow(); err != nil {
		return outcome{}, fmt.Errorf("trace %v: %w", o.Argv, err)
	}
	said := make([]byte, 64<<10)
	n, _ := output.ReadAt(said, 0) // io.EOF: it said less
	t.seen.Output = string(said[:n])
	return t.seen, nil
}

func (t *tracer) start(output *os.File) error {
	if t.order.Without >= 0 {
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(t.order.Without), 0, 0, 0); err != nil {
			return fmt.Errorf("drop capability %d: %w", t.order.Without, err)
		}
	}
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(t.order.Argv[0], t.order.Argv, &syscall.ProcAttr{
		Dir: t.order.Dir, Env: t.order.Env, Files: []uintptr{null.Fd(), output.Fd(), output.Fd()},
		Sys: &syscall.SysProcAttr{Ptrace: true},
	})
	if err != nil {
		return err
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(pid, &status, unix.WALL, nil); err != nil {
		return err
	}
	if !status.Stopped() {
		return fmt.Errorf("it did not stop at its start (%v)", status)
	}
	t.tool = pid
	t.groups[pid] = pid
	t.is(pid, "tool")
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK | unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC
	if err := unix.PtraceSetOptions(pid, options); err != nil {
		return err
	}
	return t.goOn(pid, 0)
}

func (t *tracer) is(pid int, role string) {
	t.roles[pid], t.pids[role] = role, pid
}

// follow returns when every traced process has ended.
func (t *tracer) follow() error {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case errors.Is(err, unix.ECHILD):
			return nil
		case err != nil:
			return err
		case status.Stopped():
			err = t.stopped(tid, status)
		default:
			t.ended(tid, status)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // killed meanwhile
			return err
		}
	}
}

func (t *tracer) ended(tid int, status unix.WaitStatus) {
	if tid == t.tool {
		t.seen.Exit = status.ExitStatus()
	}
	delete(t.groups, tid)
}

func (t *tracer) stopped(tid int, status unix.WaitStatus) error {
	_, known := t.groups[tid]
	if !known {
		t.groups[tid] = group(tid)
	}
	signal := status.StopSignal()
	switch {
	case signal == unix.SIGTRAP|0x80:
		if err := t.atCall(tid); err != nil {
			return err
		}
		signal = 0
	case int(status)>>16 == unix.PTRACE_EVENT_EXEC:
		t.groups[tid] = tid
		if !t.recognise(tid) {
			return unix.PtraceDetach(tid)
		}
		signal = 0
	case int(status)>>16 != 0, !known && signal == unix.SIGSTOP:
		signal = 0 // of the tracing itself
	}
	return t.goOn(tid, int(signal))
}

// recognise a process by what it executes; somebody's own command is not ours to follow.
func (t *tracer) recognise(pid int) bool {
	if t.roles[pid] != "" {
		return true
	}
	cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.Contains(cmdline, []byte("\x00__holder")) {
		return false
	}
	t.is(pid, "holder")
	return true
}

func (t *tracer) goOn(tid, signal int) error {
	if !t.seen.Killed && t.roles[t.groups[tid]] == t.order.Subject {
		return unix.PtraceSyscall(tid, signal)
	}
	return unix.PtraceCont(tid, signal)
}

func (t *tracer) atCall(tid int) error {
	c, entry, err := callOf(tid)
	if err != nil || !entry || t.seen.Killed {
		return err
	}
	name := c.point()
	if name == "" {
		return nil
	}
	t.seen.Points = append(t.seen.Points, name)
	if t.order.Match == "" || t.order.Match == name {
		t.point++
	}
	if t.point != t.order.Kill || t.order.Kill == 0 {
		return nil
	}
	t.seen.Killed = true
	for _, role := range t.order.Dies {
		// A process that has not begun, or has ended, cannot be killed: it is dead already.
		if pid := t.pids[role]; pid != 0 {
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	t.killed()
	return nil
}

// callInfo is the kernel's struct ptrace_syscall_info, as far as it is of use.
type callInfo struct {
	op     uint8
	_      [3]byte
	_      uint32
	ip, sp uint64
	nr     uint64
	args   [6]uint64
	_      [2]uint64
}

const (
	ptraceGetSyscallInfo = 0x420e
	syscallInfoEntry     = 1
)

func callOf(tid int) (c call, entry bool, err error) {
	var info callInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, ptraceGetSyscallInfo, uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return c, false, errno
	}
	return call{tid: tid, nr: info.nr, args: info.args}, info.op == syscallInfoEntry, nil
}

// group is the process that a thread belongs to.
func group(tid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return tid
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "Tgid:"); ok {
			if pid, err := strconv.Atoi(strings.TrimSpace(rest)); err == nil {
				return pid
			}
		}
	}
	return tid
}
