package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"
)

// ErrLocked says that another process holds the run.
var ErrLocked = errors.New("another process holds it")

// Lock is the right to write a run's journal and to act on what stands in it.
// It ends with the process, however that ends.
type Lock struct {
	run  Run
	file *os.File
}

// probeTime is how long somebody else's look at the lock (Locked) can keep it
// from being taken: a look holds it for microseconds.
const probeTime = 50 * time.Millisecond

// lockPoll is how often a lock that is taken is tried again: waiting in the kernel cannot be given a limit.
const lockPoll = time.Millisecond

// TryLock takes the run's lock or says ErrLocked; it does not wait for a holder.
func (r Run) TryLock() (*Lock, error) {
	if err := checkOurs(r.Dir); err != nil {
		return nil, fmt.Errorf("lock run %s: %w", r.ID, err)
	}
	// To read is enough to lock, also on a disk that has become read-only. It is
	// missing where a crash came between making the directory and the file.
	f, err := openOrCreate(r.Path(lockName), 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock run %s: %w", r.ID, err)
	}
	if err := lockWithin(f, lockExclusive, probeTime); err != nil {
		return nil, errors.Join(fmt.Errorf("lock run %s: %w", r.ID, err), f.Close())
	}
	return &Lock{run: r, file: f}, nil
}

// Locked says whether a process holds the run now.
func (r Run) Locked() (bool, error) {
	f, err := os.OpenFile(r.Path(lockName), os.O_RDONLY|openNoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Stat(r.Dir) // only of a run that is there it can be said that nobody ever locked it
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("look at the lock of run %s: %w", r.ID, err)
	}
	err = tryFlock(f, lockShared) // shared: two lookers do not see each other
	closeErr := f.Close()
	if errors.Is(err, ErrLocked) {
		return true, closeErr
	}
	return false, errors.Join(err, closeErr)
}

// Run is what is locked.
func (l *Lock) Run() Run { return l.run }

// Unlock gives the run back. Where nothing is open any more, its name and
// leases leave the host-wide place first.
func (l *Lock) Unlock() error {
	err := l.run.forgetIfClosed()
	if closeErr := l.file.Close(); closeErr != nil {
		err = errors.Join(err, fmt.Errorf("unlock run %s: %w", l.run.ID, closeErr))
	}
	return err
}

// lockWithin tries until the lock is free or the time is over.
func lockWithin(f *os.File, how lockHow, limit time.Duration) error {
	for end := time.Now().Add(limit); ; {
		err := tryFlock(f, how)
		if !errors.Is(err, ErrLocked) || !time.Now().Before(end) {
			return err
		}
		<-time.After(lockPoll)
	}
}
