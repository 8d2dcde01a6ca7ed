//go:build unix

package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type lockHow int

const (
	lockShared    lockHow = unix.LOCK_SH
	lockExclusive lockHow = unix.LOCK_EX
)

// tryFlock locks the open file or gives ErrLocked at once.
func tryFlock(f *os.File, how lockHow) error {
	for {
		err := unix.Flock(int(f.Fd()), int(how)|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		default:
			return fmt.Errorf("flock %s: %w", f.Name(), err)
		}
	}
}
