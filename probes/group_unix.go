//go:build unix

package probes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

func lead(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

func killGroup(cmd *exec.Cmd) error {
	// ESRCH and, where only a zombie is left, EPERM on some systems: nothing runs any more.
	err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	if err == nil || errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return fmt.Errorf("end process group %d: %w", cmd.Process.Pid, err)
}

// exitCode is the code as a shell gives it: 128 and the signal's number for a killed one.
func exitCode(state *os.ProcessState) int {
	if status, ok := state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return state.ExitCode()
}
