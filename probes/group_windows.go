package probes

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/windows"
)

// lead does nothing: Windows has no process groups that can be ended as one.
func lead(*exec.Cmd) {}

// killGroup ends the command itself; what it started is not known here.
func killGroup(cmd *exec.Cmd) error {
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) && !errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return fmt.Errorf("end process %d: %w", cmd.Process.Pid, err)
	}
	return nil
}

func exitCode(state *os.ProcessState) int { return state.ExitCode() }

// awaitEnd returns when the child has ended; its number stays taken while cmd holds its handle.
func awaitEnd(pid int) error {
	handle, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if err != nil {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	defer windows.CloseHandle(handle) //nolint:errcheck // a handle that was only waited on
	if _, err := windows.WaitForSingleObject(handle, windows.INFINITE); err != nil {
		return fmt.Errorf("wait for process %d: %w", pid, err)
	}
	return nil
}
