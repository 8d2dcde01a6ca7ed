//go:build unix

package platform

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// The signals that stop a process and let it go on.
const (
	SignalStop = syscall.SIGSTOP
	SignalCont = syscall.SIGCONT
	SignalKill = syscall.SIGKILL
)

// SignalByName gives this system's number of a signal ("SIGTERM"); 0 when it has none of that name.
func SignalByName(name string) syscall.Signal { return unix.SignalNum(name) }

// SignalName is "SIGTERM" for 15; "" for a number that has no name here.
func SignalName(s syscall.Signal) string { return unix.SignalName(s) }
