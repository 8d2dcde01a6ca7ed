package probes

import (
	"syscall"

	"golang.org/x/sys/windows"
)

var (
	ownErrnos = []error{
		windows.WSAEMFILE, windows.WSAENOBUFS, windows.WSAEACCES, windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT,
		windows.ERROR_TOO_MANY_OPEN_FILES, windows.ERROR_NOT_ENOUGH_MEMORY, windows.ERROR_ACCESS_DENIED,
		syscall.EMFILE, syscall.EACCES,
	}
	// familyErrnos also mean that this host has no IPv6, or no IPv4.
	familyErrnos      = []error{windows.WSAEADDRNOTAVAIL, windows.WSAEAFNOSUPPORT}
	refusedErrnos     = []error{windows.WSAECONNREFUSED}
	resetErrnos       = []error{windows.WSAECONNRESET, windows.WSAECONNABORTED}
	unreachableErrnos = []error{windows.WSAENETUNREACH, windows.WSAEHOSTUNREACH, windows.WSAEHOSTDOWN, windows.WSAENETDOWN}
)
