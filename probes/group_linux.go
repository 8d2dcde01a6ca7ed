package probes

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// awaitEnd returns when the child has ended, and leaves it unreaped: its number stays taken.
func awaitEnd(pid int) error {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for process %d: %w", pid, err)
		}
	}
}
