package platform

import (
	"errors"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// ownGroup: a group of its own, to be killed as a whole. This system cannot tie
// its life to ours.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// waitUnreaped waits for the process's end by kqueue, which leaves it unreaped.
func waitUnreaped(pid int) error {
	queue, err := unix.Kqueue()
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	defer unix.Close(queue)
	var change unix.Kevent_t
	unix.SetKevent(&change, pid, unix.EVFILT_PROC, unix.EV_ADD|unix.EV_ONESHOT)
	change.Fflags = unix.NOTE_EXIT
	events := make([]unix.Kevent_t, 1)
	for {
		_, err := unix.Kevent(queue, []unix.Kevent_t{change}, events, nil)
		switch {
		case err == nil, errors.Is(err, unix.ESRCH): // ESRCH: it has ended already
			return nil
		case errors.Is(err, unix.EINTR):
			continue
		}
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
}
