package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

type lockHow uint32

const (
	lockShared    lockHow = 0
	lockExclusive lockHow = windows.LOCKFILE_EXCLUSIVE_LOCK
)

// tryFlock locks one byte far behind any content: locks are mandatory here, and
// content must stay readable.
func tryFlock(f *os.File, how lockHow) error {
	far := windows.Overlapped{OffsetHigh: 1 << 30}
	err := windows.LockFileEx(windows.Handle(f.Fd()), uint32(how)|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &far)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return ErrLocked
	}
	return fmt.Errorf("lock %s: %w", f.Name(), err)
}
