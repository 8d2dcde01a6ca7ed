//go:build unix

package probes

import "syscall"

var (
	ownErrnos = []error{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EACCES, syscall.EPERM, syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT, syscall.EAGAIN,
	}
	// familyErrnos also mean that this host has no IPv6, or no IPv4.
	familyErrnos      = []error{syscall.EADDRNOTAVAIL, syscall.EAFNOSUPPORT}
	refusedErrnos     = []error{syscall.ECONNREFUSED}
	resetErrnos       = []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED}
	unreachableErrnos = []error{syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN}
)
