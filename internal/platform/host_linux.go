package platform

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/experiments"
)

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return strings.TrimSpace(string(id)), nil
}

func machineID() (string, error) {
	return machineIDFrom("/etc/machine-id", "/var/lib/dbus/machine-id")
}

func readBoottime() (experiments.Boottime, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read CLOCK_BOOTTIME: %w", err)
	}
	return experiments.Boottime(t.Nano()), nil
}

func osRelease() string { return uname() }
