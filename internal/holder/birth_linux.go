package holder

import (
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

func ownSession() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// takePipes moves the pipe away from descriptors 0 and 1, closed on exec, so
// that no child of a fault inherits it and keeps the parent's death from being seen.
func takePipes() (in, out *os.File, err error) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, nil, err
	}
	defer null.Close()
	files := [2]*os.File{}
	for fd, name := range []string{"from parent", "to parent"} {
		moved, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 10)
		if err != nil {
			return nil, nil, fmt.Errorf("move descriptor %d: %w", fd, err)
		}
		if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
			return nil, nil, fmt.Errorf("put %s on descriptor %d: %w", os.DevNull, fd, err)
		}
		if err := unix.SetNonblock(moved, true); err != nil {
			return nil, nil, fmt.Errorf("make descriptor %d non-blocking: %w", moved, err)
		}
		files[fd] = os.NewFile(uintptr(moved), name)
	}
	return files[0], files[1], closeOnExec()
}

// closeOnExec marks everything above standard error: what the parent inherited from its own parent too.
func closeOnExec() error {
	if err := unix.CloseRange(3, ^uint(0)>>1&0x7fffffff, unix.CLOSE_RANGE_CLOEXEC); err != nil && err != unix.ENOSYS {
		return fmt.Errorf("mark inherited descriptors close-on-exec: %w", err)
	}
	return nil
}

// harden asks for what makes a holder last; what is refused is said, not fatal.
func harden() []string {
	var refused []string
	if err := lockMemory(); err != nil {
		refused = append(refused, fmt.Sprintf("memory is not locked: %v", err))
	}
	if err := leaveCgroup(); err != nil {
		refused = append(refused, err.Error())
	}
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0); err != nil {
		refused = append(refused, fmt.Sprintf("out-of-memory score is not lowered: %v", err))
	}
	return refused
}

// lockMemory keeps a holder from being swapped out. Under a limit it would make
// a later allocation fail, which is worse than swapping: so only without one.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return err
	}
	if limit.Cur != unix.RLIM_INFINITY && os.Geteuid() != 0 {
		return fmt.Errorf("the limit of locked memory is %d bytes", limit.Cur)
	}
	return unix.Mlockall(unix.MCL_CURRENT | unix.MCL_ONFAULT | unix.MCL_FUTURE)
}
