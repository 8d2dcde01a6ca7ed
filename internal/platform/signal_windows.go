package platform

import (
	"maps"
	"slices"
	"syscall"
)

// This system has no signals: documents that name some still validate here, and
// every use is refused by Processes.
const (
	SignalStop = syscall.Signal(19)
	SignalCont = syscall.Signal(18)
	SignalKill = syscall.SIGKILL
)

// names have Linux's numbers.
var names = map[string]syscall.Signal{
	"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6, "SIGBUS": 7, "SIGFPE": 8, "SIGKILL": 9,
	"SIGUSR1": 10, "SIGSEGV": 11, "SIGUSR2": 12, "SIGPIPE": 13, "SIGALRM": 14, "SIGTERM": 15, "SIGCHLD": 17, "SIGCONT": 18,
	"SIGSTOP": 19, "SIGTSTP": 20, "SIGTTIN": 21, "SIGTTOU": 22,
}

// SignalByName gives a signal's number; 0 when there is none of that name.
func SignalByName(name string) syscall.Signal { return names[name] }

// SignalName is "SIGTERM" for 15; "" for a number without a name.
func SignalName(s syscall.Signal) string {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name] == s {
			return name
		}
	}
	return ""
}
