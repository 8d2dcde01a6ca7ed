//go:build unix

package platform

import "golang.org/x/sys/unix"

// uname is the kernel's release; "" when it does not say.
func uname() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}
