//go:build !linux && !darwin

package platform

import (
	"context"
	"fmt"
	"runtime"
	"syscall"
)

// NewProcesses: this system's processes are out of reach; every question says so.
func NewProcesses(Host) Processes { return noProcesses{} }

type noProcesses struct{}

var errNoProcesses = fmt.Errorf("look at the processes of this host: faultline does that on Linux and macOS, not on %s: %w", runtime.GOOS, ErrUnsupported)

func (noProcesses) List(context.Context, bool) ([]Process, error) { return nil, errNoProcesses }
func (noProcesses) Pin(context.Context, int) (ProcessID, error)   { return ProcessID{}, errNoProcesses }
func (noProcesses) Signal(context.Context, ProcessID, syscall.Signal) error {
	return errNoProcesses
}
func (noProcesses) MaySignal(context.Context, ProcessID) error           { return errNoProcesses }
func (noProcesses) State(context.Context, ProcessID) (string, error)     { return "", errNoProcesses }
func (noProcesses) Release(ProcessID)                                    {}
func (noProcesses) Threads(context.Context, ProcessID) ([]Thread, error) { return nil, errNoProcesses }
func (noProcesses) CanFreeze(context.Context, ProcessID) error           { return errNoProcesses }
func (noProcesses) Freeze(context.Context, ProcessID) (Frozen, error)    { return nil, errNoProcesses }
func (noProcesses) Ancestors(context.Context) ([]int, error)             { return nil, errNoProcesses }
