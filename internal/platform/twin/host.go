// Package twin is an in-memory world for tests: a host, processes, container
// engines. It keeps state, as the real ones do, and honours contexts. It refuses
// to be scripted: a test sets the scene, acts, and reads the state.
package twin

import (
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Host is a machine whose time is the test's: real, or that of testing/synctest.
type Host struct {
	Boot, Machine string

	mu    sync.Mutex
	began time.Time
	slept time.Duration // by suspends: counts for Boottime
	wall  time.Duration // by which the wall clock was set
}

// NewHost makes a machine that booted an hour ago.
func NewHost() *Host {
	return &Host{Boot: "boot-1", Machine: "machine-1", began: time.Now().Add(-time.Hour)}
}

// BootID is this boot's.
func (h *Host) BootID() string { return h.Boot }

// MachineID is the machine's.
func (h *Host) MachineID() string { return h.Machine }

// OS names no real system.
func (h *Host) OS() string { return "twin 1 memory" }

// Boottime counts from the boot, suspends included.
func (h *Host) Boottime() experiments.Boottime {
	h.mu.Lock()
	defer h.mu.Unlock()
	return experiments.Boottime(time.Since(h.began) + h.slept)
}

// Now is the wall clock.
func (h *Host) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return time.Now().Add(h.slept + h.wall)
}

// Suspend lets the machine sleep: both clocks go on, timers do not.
func (h *Host) Suspend(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slept += d
}

// SetWall jumps the wall clock by d.
func (h *Host) SetWall(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wall += d
}
