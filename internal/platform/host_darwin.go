package platform

import (
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/experiments"
)

func bootID() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("read kern.bootsessionuuid: %w", err)
	}
	return id, nil
}

// machineID: the hardware's UUID is not to be had without IOKit, which needs cgo.
func machineID() (string, error) { return machineIDOfName() }

// readBoottime: this system's CLOCK_MONOTONIC counts while the machine sleeps.
func readBoottime() (experiments.Boottime, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return experiments.Boottime(t.Nano()), nil
}

func osRelease() string { return uname() }
