//go:build unix

package platform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// waitOrKill waits for the command's end, or kills its whole group when ctx
// ends. It reaps only afterwards: until then nobody else can have the group's number.
func waitOrKill(ctx context.Context, cmd *exec.Cmd) (cut bool, err error) {
	pid := cmd.Process.Pid
	ended := make(chan error, 1)
	go func() { ended <- waitUnreaped(pid) }()
	select {
	case err = <-ended:
	case <-ctx.Done():
		cut = true
		if err := unix.Kill(-pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return true, errors.Join(fmt.Errorf("kill process group %d: %w", pid, err), cmd.Process.Kill(), cmd.Wait())
		}
		err = <-ended
	}
	return cut, errors.Join(err, cmd.Wait())
}

func endSignal(state *os.ProcessState) string {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return SignalName(status.Signal())
	}
	return ""
}
