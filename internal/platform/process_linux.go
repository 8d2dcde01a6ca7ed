package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// NewProcesses gives this host's process table.
func NewProcesses(h Host) Processes {
	return &procTable{host: h, pins: map[ProcessID]int{}}
}

// procTable reads /proc and signals through pidfds.
type procTable struct {
	host Host

	mu   sync.RWMutex // held for reading while a pinned fd is in use
	pins map[ProcessID]int
}

func (t *procTable) List(ctx context.Context, withPorts bool) ([]Process, error) {
	pids, err := listPIDs()
	if err != nil {
		return nil, err
	}
	reader := newReader(t.host, withPorts)
	var all []Process
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("list processes: %w", context.Cause(ctx))
		}
		p, err := reader.read(pid)
		if errors.Is(err, ErrGone) {
			continue // it ended while we were reading
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

func listPIDs() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (t *procTable) Pin(_ context.Context, pid int) (ProcessID, error) {
	fd, err := openPidfd(pid)
	if err != nil {
		return ProcessID{}, err
	}
	id, err := t.identify(fd, pid, false)
	if err != nil {
		unix.Close(fd)
		return ProcessID{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.pins[id]; known {
		unix.Close(fd)
		return id, nil
	}
	t.pins[id] = fd
	return id, nil
}

func (t *procTable) Release(id ProcessID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fd, known := t.pins[id]; known {
		unix.Close(fd)
		delete(t.pins, id)
	}
}

func openPidfd(pid int) (int, error) {
	fd, err := unix.PidfdOpen(pid, 0)
	switch {
	case err == nil:
		return fd, nil
	case errors.Is(err, unix.ESRCH):
		return -1, fmt.Errorf("open process %d: %w", pid, ErrGone)
	case errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOENT):
		return -1, fmt.Errorf("open process %d: it is a thread of a process, or no pid at all: %w", pid, ErrGone)
	case errors.Is(err, unix.ENOSYS):
		return -1, fmt.Errorf("open process %d: this kernel has no pidfd_open (Linux 5.3): %w", pid, ErrUnsupported)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return -1, fmt.Errorf("open process %d: %w: %w", pid, ErrDenied, err)
	}
	return -1, fmt.Errorf("open process %d: %w", pid, err)
}

// identify reads who the process behind fd is. What it reads by number belongs
// to that process if it has not been reaped afterwards: until then nobody else
// can have its number. plain leaves the pidfd's inode out, as where it is not unique.
func (t *procTable) identify(fd, pid int, plain bool) (ProcessID, error) {
	id := ProcessID{BootID: t.host.BootID(), PID: pid}
	inode, err := uniqueInode(fd)
	if err != nil {
		return ProcessID{}, err
	}
	stat, err := readStat(pid)
	if err != nil {
		return ProcessID{}, err
	}
	id.Start = stat.start
	if !plain {
		id.PidfdInode = inode
	}
	if id.PidfdInode == 0 {
		if id.ExeInode, err = exeInode(pid); err != nil {
			return ProcessID{}, err
		}
		lines, err := readCgroups(pid)
		if err != nil {
			return ProcessID{}, err
		}
		id.Cgroup = lines.path()
	}
	if err := alive(fd, pid); err != nil {
		return ProcessID{}, err
	}
	if stat.dead() {
		return ProcessID{}, fmt.Errorf("process %d has ended and waits for its parent: %w", pid, ErrGone)
	}
	return id, nil
}

// uniqueInode is the pidfd's inode number where the kernel makes it unique for
// the whole boot: where pidfds are files of pidfs (Linux 6.9). Else 0.
func uniqueInode(fd int) (uint64, error) {
	var system unix.Statfs_t
	if err := unix.Fstatfs(fd, &system); err != nil {
		return 0, fmt.Errorf("ask which file system a pidfd is of: %w", err)
	}
	if int64(system.Type) != unix.PID_FS_MAGIC || strconv.IntSize < 64 {
		return 0, nil
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("read a pidfd's inode: %w", err)
	}
	return stat.Ino, nil
}

// exeInode is 0 where it may not be read (another user's process).
func exeInode(pid int) (uint64, error) {
	var stat unix.Stat_t
	err := unix.Stat(fmt.Sprintf("/proc/%d/exe", pid), &stat)
	switch {
	case err == nil:
		return stat.Ino, nil
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOENT): // ENOENT: a kernel thread
		return 0, nil
	case errors.Is(err, unix.ESRCH):
		return 0, fmt.Errorf("read the executable of process %d: %w", pid, ErrGone)
	}
	return 0, fmt.Errorf("read the executable of process %d: %w", pid, err)
}

// alive sends no signal: it asks whether one could be sent. EPERM means that somebody is there.
func alive(fd, pid int) error {
	err := unix.PidfdSendSignal(fd, 0, nil, 0)
	switch {
	case err == nil, errors.Is(err, unix.EPERM):
		return nil
	case errors.Is(err, unix.ESRCH):
		return fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	return fmt.Errorf("ask whether process %d still runs: %w", pid, err)
}

// with calls do with a pidfd of exactly this process: the pinned one, or a fresh
// one whose identity was found equal (in another process, after a crash).
func (t *procTable) with(id ProcessID, do func(fd int) error) error {
	if id.BootID != t.host.BootID() {
		return fmt.Errorf("process %d was of an earlier boot: %w", id.PID, ErrGone)
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fd, pinned := t.pins[id]; pinned {
		return do(fd)
	}
	fd, err := openPidfd(id.PID)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	now, err := t.identify(fd, id.PID, id.PidfdInode == 0)
	if err != nil {
		return err
	}
	if err := id.Verify(now); err != nil {
		return err
	}
	return do(fd)
}

func (t *procTable) Signal(_ context.Context, id ProcessID, sig syscall.Signal) error {
	return t.with(id, func(fd int) error {
		if _, err := liveStat(fd, id.PID); err != nil {
			return err // a zombie takes signals and does nothing
		}
		err := unix.PidfdSendSignal(fd, sig, nil, 0)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.ESRCH):
			return fmt.Errorf("send %s to process %d: %w", SignalName(sig), id.PID, ErrGone)
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("send %s to process %d: needs root, or the user whose process it is: %w", SignalName(sig), id.PID, ErrDenied)
		}
		return fmt.Errorf("send %s to process %d: %w", SignalName(sig), id.PID, err)
	})
}

func (t *procTable) MaySignal(ctx context.Context, id ProcessID) error {
	return t.Signal(ctx, id, 0) // signal 0 is only the question
}

func (t *procTable) State(_ context.Context, id ProcessID) (string, error) {
	var state string
	err := t.with(id, func(fd int) error {
		stat, err := liveStat(fd, id.PID)
		state = stat.state
		return err
	})
	return state, err
}

// liveStat reads the state of the process behind fd; ErrGone for a zombie.
func liveStat(fd, pid int) (procStat, error) {
	stat, err := readStat(pid)
	if err != nil {
		return procStat{}, err
	}
	if err := alive(fd, pid); err != nil {
		return procStat{}, err // and what was read may be another's
	}
	if stat.dead() {
		return procStat{}, fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	return stat, nil
}

func (t *procTable) Ancestors(context.Context) ([]int, error) {
	chain := []int{os.Getpid()}
	for pid := os.Getpid(); pid > 1; {
		stat, err := readStat(pid)
		if err != nil {
			return nil, fmt.Errorf("find the ancestors of this process: %w", err)
		}
		if stat.ppid == 0 { // its parent is outside of our pid namespace
			break
		}
		pid = stat.ppid
		chain = append(chain, pid)
	}
	return chain, nil
}

// gone turns the ways in which /proc says that a process has ended into ErrGone.
func gone(err error, doing string, pid int) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%s of process %d: %w", doing, pid, ErrGone)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s of process %d: %w", doing, pid, ErrDenied)
	}
	return fmt.Errorf("%s of process %d: %w", doing, pid, err)
}
