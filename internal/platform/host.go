package platform

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// thisHost is the machine that we run on; all but the time is read once.
type thisHost struct {
	boot, machine, os string
}

// NewHost reads who this machine is.
func NewHost() (Host, error) {
	boot, err := bootID()
	if err != nil {
		return nil, fmt.Errorf("tell this boot from others: %w", err)
	}
	machine, err := machineID()
	if err != nil {
		return nil, fmt.Errorf("tell this machine from others: %w", err)
	}
	if _, err := readBoottime(); err != nil {
		return nil, fmt.Errorf("read the clock that counts since boot: %w", err)
	}
	return &thisHost{boot: boot, machine: machine, os: strings.TrimSpace(runtime.GOOS + " " + osRelease() + " " + runtime.GOARCH)}, nil
}

func (h *thisHost) BootID() string    { return h.boot }
func (h *thisHost) MachineID() string { return h.machine }
func (h *thisHost) OS() string        { return h.os }
func (h *thisHost) Now() time.Time    { return time.Now() }

// Boottime cannot fail any more: NewHost has read the same clock.
func (h *thisHost) Boottime() experiments.Boottime {
	b, _ := readBoottime()
	return b
}

// machineIDFrom takes the first of the files that holds an identity. Minimal
// images have none; then the host name stands in, and its form says so.
func machineIDFrom(files ...string) (string, error) {
	for _, file := range files {
		content, err := os.ReadFile(file)
		// systemd writes "uninitialized" while a machine is being set up.
		if id := strings.TrimSpace(string(content)); err == nil && id != "" && id != "uninitialized" {
			return id, nil
		}
	}
	return machineIDOfName()
}

func machineIDOfName() (string, error) {
	name, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("read the host name in place of a machine id: %w", err)
	}
	sum := sha256.Sum256([]byte(name))
	return "hostname-" + hex.EncodeToString(sum[:8]), nil
}
