//go:build unix

package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

func userID() string { return strconv.Itoa(os.Geteuid()) }

// ownerOf gives the owner's uid; known is false where the system does not say.
func ownerOf(info fs.FileInfo) (uid string, known bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", false
	}
	return strconv.FormatUint(uint64(stat.Uid), 10), true
}

// sharedParents are tried in order. Which one is taken depends on the machine
// alone, never on the user, so that all users meet. The first outlives a reboot.
var sharedParents = []string{"/var/tmp", "/tmp"}

func sharedPath(getenv func(string) string) (string, error) {
	if dir := getenv(EnvShared); dir != "" {
		return filepath.Abs(dir)
	}
	for _, parent := range sharedParents {
		info, err := os.Lstat(parent)
		if err != nil {
			continue
		}
		owner, _ := ownerOf(info)
		if info.IsDir() && owner == "0" && info.Mode()&os.ModeSticky != 0 && info.Mode().Perm()&0o002 != 0 {
			return filepath.Join(parent, "faultline"), nil
		}
	}
	return "", fmt.Errorf("find a place for leases that all users of this host share: none of %v is a sticky directory of root: set %s", sharedParents, EnvShared)
}

// openNoFollow refuses symbolic links and does not wait for the other end of a FIFO.
const openNoFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC

// mayWrite asks the kernel, which knows of rights and of read-only mounts.
func mayWrite(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK, unix.AT_EACCESS)
}

// syncDir makes the names in dir durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil // such a file system keeps names by itself and refuses to be asked
	}
	return errors.Join(err, d.Close())
}
