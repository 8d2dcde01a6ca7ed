package holder

import "syscall"

// ownSession: a console's Ctrl-C then reaches the parent only.
func ownSession() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
