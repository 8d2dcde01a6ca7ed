package platform

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"syscall"
)

func ownGroup() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// waitOrKill ends the command itself; what it started goes on: groups of
// processes cannot be killed here without a job object.
func waitOrKill(ctx context.Context, cmd *exec.Cmd) (cut bool, err error) {
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err = <-ended:
		return false, err
	case <-ctx.Done():
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return true, errors.Join(err, <-ended)
		}
		return true, <-ended
	}
}

func endSignal(*os.ProcessState) string { return "" }
