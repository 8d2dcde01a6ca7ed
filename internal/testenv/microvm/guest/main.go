//go:build linux

// Command guest is the first and only program of a micro-VM: it mounts what a
// test needs, loads the kernel modules it was given, runs the test and turns
// the machine off. It refuses nothing: the machine is its own.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	err := run()
	code := 0
	var exited *exec.ExitError
	switch {
	case errors.As(err, &exited):
		code = exited.ExitCode()
	case err != nil:
		fmt.Println("guest:", err)
		code = 125
	}
	// The host looks for this line; see package microvm.
	fmt.Printf("\nfaultline-guest: exit %d\n", code)
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART); err != nil {
		fmt.Println("guest: turn off:", err)
	}
}

func run() error {
	for _, m := range []struct{ kind, at string }{
		{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}, {"tmpfs", "/run"},
	} {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.at, m.kind, 0, ""); err != nil {
			return fmt.Errorf("mount %s at %s: %w", m.kind, m.at, err)
		}
	}
	modules, err := lines("/modules/order")
	if err != nil {
		return err
	}
	for _, name := range modules {
		if err := load("/modules/" + name); err != nil {
			return err
		}
	}
	args, err := lines("/args")
	if err != nil {
		return err
	}
	test := exec.Command("/test", args...)
	test.Dir = "/tmp"
	test.Stdout, test.Stderr = os.Stdout, os.Stdout
	test.Env = []string{"PATH=/bin", "HOME=/tmp", "TMPDIR=/tmp", "FAULTLINE_MICROVM=inside"}
	return test.Run()
}

func lines(path string) ([]string, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	return strings.Fields(string(raw)), nil
}

func load(path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := unix.FinitModule(int(file.Fd()), "", 0); err != nil && !errors.Is(err, unix.EEXIST) {
		return fmt.Errorf("load module %s: %w", path, err)
	}
	return nil
}
