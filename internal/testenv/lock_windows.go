package testenv

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lockFile waits for the lock on path and returns what lets it go.
func lockFile(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("locking the test binaries: %w", err)
	}
	err = windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK, 0, 1, 0, &windows.Overlapped{})
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("locking the test binaries: %w", err)
	}
	return func() { file.Close() }, nil
}

// ownFolder trusts Windows: its temporary folder is already the user's own.
func ownFolder(string) error { return nil }
