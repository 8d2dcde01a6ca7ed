package platform

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/experiments"
)

// NewProcesses gives this host's process table. This system has no handle on a
// process: the start time (in microseconds) is read again just before a signal,
// and the short gap between the two stays.
func NewProcesses(h Host) Processes { return sysctlTable{host: h} }

type sysctlTable struct{ host Host }

func (t sysctlTable) List(ctx context.Context, withPorts bool) ([]Process, error) {
	infos, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var all []Process
	for i := range infos {
		if ctx.Err() != nil {
			return nil, fmt.Errorf("list processes: %w", context.Cause(ctx))
		}
		if infos[i].Proc.P_stat != zombie {
			all = append(all, t.describe(&infos[i], withPorts))
		}
	}
	return all, nil
}

// The states of sys/proc.h, as the letters of proc(5).
const zombie = 5

var letters = map[int8]string{1: "I", 2: "R", 3: "S", 4: "T", zombie: "Z"}

func (t sysctlTable) describe(info *unix.KinfoProc, withPorts bool) Process {
	p := Process{
		PID: int(info.Proc.P_pid), PPID: int(info.Eproc.Ppid), Start: startOf(info), Born: t.born(info),
		Name: unix.ByteSliceToString(info.Proc.P_comm[:]), State: letters[info.Proc.P_stat],
		UID: int(info.Eproc.Ucred.Uid), Kernel: info.Proc.P_pid == 0, Unread: []string{"cgroup", "unit"},
	}
	p.User = strconv.Itoa(p.UID)
	if u, err := user.LookupId(p.User); err == nil {
		p.User = u.Username
	}
	var err error
	if p.Exe, p.Args, err = readProcArgs(p.PID); err != nil {
		p.Unread = append(p.Unread, "exe", "args")
	}
	if withPorts {
		p.Unread = append(p.Unread, "ports")
	}
	return p
}

func startOf(info *unix.KinfoProc) uint64 {
	start := info.Proc.P_starttime
	return uint64(start.Sec)*1e6 + uint64(start.Usec)
}

func (t sysctlTable) born(info *unix.KinfoProc) experiments.Boottime {
	age := t.host.Now().UnixNano() - int64(startOf(info))*1000
	return t.host.Boottime() - experiments.Boottime(age)
}

// readProcArgs reads kern.procargs2: the count of arguments, the executable's path, zeros, the arguments.
func readProcArgs(pid int) (exe string, args []string, err error) {
	raw, err := unix.SysctlRaw("kern.procargs2", pid)
	if err != nil {
		return "", nil, fmt.Errorf("read the arguments of process %d: %w", pid, err)
	}
	if len(raw) < 4 {
		return "", nil, fmt.Errorf("read the arguments of process %d: %d bytes only", pid, len(raw))
	}
	count := int(binary.LittleEndian.Uint32(raw))
	path, rest, _ := bytes.Cut(raw[4:], []byte{0})
	rest = bytes.TrimLeft(rest, "\x00")
	for range count {
		arg, after, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			break
		}
		args, rest = append(args, string(arg)), after
	}
	return string(path), args, nil
}

func (t sysctlTable) Pin(_ context.Context, pid int) (ProcessID, error) {
	info, err := readInfo(pid)
	if err != nil {
		return ProcessID{}, err
	}
	return ProcessID{BootID: t.host.BootID(), PID: pid, Start: startOf(info)}, nil
}

func readInfo(pid int) (*unix.KinfoProc, error) {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	switch {
	case errors.Is(err, unix.ESRCH), errors.Is(err, unix.EIO): // EIO: an empty answer
		return nil, fmt.Errorf("read process %d: %w", pid, ErrGone)
	case err != nil:
		return nil, fmt.Errorf("read process %d: %w", pid, err)
	case info.Proc.P_stat == zombie:
		return nil, fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	return info, nil
}

// same reads the process again and says why it is not the one that was meant.
func (t sysctlTable) same(id ProcessID) (*unix.KinfoProc, error) {
	info, err := readInfo(id.PID)
	if err != nil {
		return nil, err
	}
	now := ProcessID{BootID: t.host.BootID(), PID: id.PID, Start: startOf(info)}
	return info, id.Verify(now)
}

func (t sysctlTable) Signal(_ context.Context, id ProcessID, sig syscall.Signal) error {
	if _, err := t.same(id); err != nil {
		return err
	}
	err := unix.Kill(id.PID, sig)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("send %s to process %d: %w", SignalName(sig), id.PID, ErrGone)
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("send %s to process %d: needs root, or the user whose process it is: %w", SignalName(sig), id.PID, ErrDenied)
	}
	return fmt.Errorf("send %s to process %d: %w", SignalName(sig), id.PID, err)
}

func (t sysctlTable) MaySignal(ctx context.Context, id ProcessID) error {
	return t.Signal(ctx, id, 0) // signal 0 is only the question
}

func (t sysctlTable) State(_ context.Context, id ProcessID) (string, error) {
	info, err := t.same(id)
	if err != nil {
		return "", err
	}
	return letters[info.Proc.P_stat], nil
}

// Threads gives one entry: a signal stops the whole process, and its threads are not to be listed without cgo.
func (t sysctlTable) Threads(ctx context.Context, id ProcessID) ([]Thread, error) {
	info, err := t.same(id)
	if err != nil {
		return nil, err
	}
	thread := Thread{TID: id.PID, State: letters[info.Proc.P_stat]}
	const traced = 0x800 // P_TRACED of sys/proc.h
	if info.Proc.P_flag&traced != 0 {
		thread.Tracer = int(info.Eproc.Ppid) // a tracer becomes the parent here
	}
	return []Thread{thread}, nil
}

var errNoFreeze = fmt.Errorf("freeze a process so that the kernel lets it go: there is no PTRACE_SEIZE on this system: %w", ErrUnsupported)

func (sysctlTable) CanFreeze(context.Context, ProcessID) error        { return errNoFreeze }
func (sysctlTable) Freeze(context.Context, ProcessID) (Frozen, error) { return nil, errNoFreeze }
func (sysctlTable) Release(ProcessID)                                 {}

func (t sysctlTable) Ancestors(context.Context) ([]int, error) {
	chain := []int{os.Getpid()}
	for pid := os.Getpid(); pid > 1; {
		info, err := readInfo(pid)
		if err != nil {
			return nil, fmt.Errorf("find the ancestors of this process: %w", err)
		}
		pid = int(info.Eproc.Ppid)
		chain = append(chain, pid)
	}
	return chain, nil
}
