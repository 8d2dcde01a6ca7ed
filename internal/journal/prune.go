package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// removing is the beginning of a record's name while it is removed: a crash in
// the middle leaves no half record behind.
const removing = ".removing-"

// Prune removes the records that are older than a time and not among the newest
// keep. One that is open, locked, damaged or of another version stays: open names those.
func (h Home) Prune(now time.Time, olderThan time.Duration, keep int) (removed, open []Run, err error) {
	runs, err := h.list()
	if err != nil {
		return nil, nil, err
	}
	var errs []error
	for _, r := range runs[min(max(keep, 0), len(runs)):] {
		started, err := idStarted(r.ID)
		if err == nil && now.Sub(started) < olderThan {
			continue
		}
		gone, err := r.remove()
		switch {
		case err != nil:
			errs = append(errs, fmt.Errorf("remove run %s: %w", r.ID, err))
		case gone:
			removed = append(removed, r)
		default:
			open = append(open, r)
		}
	}
	return removed, open, errors.Join(append(errs, h.clearRemoved())...)
}

// remove takes the record away unless it is locked or something in it is open.
func (r Run) remove() (gone bool, err error) {
	lock, err := r.TryLock()
	if errors.Is(err, ErrLocked) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	record, err := r.Read()
	if err != nil || record.Actionable() != nil || !Fold(record.Events).Done() {
		return false, errors.Join(err, lock.Unlock())
	}
	away := filepath.Join(r.home.runs(), removing+r.ID)
	// First out of the host-wide list, while the lock is still held and the record still there.
	if err := r.forgetIfClosed(); err != nil {
		return false, errors.Join(err, lock.file.Close())
	}
	if runtime.GOOS == "windows" { // which moves no directory with an open file in it
		err = lock.file.Close()
	} else {
		defer lock.file.Close()
	}
	if err = errors.Join(err, os.Rename(r.Dir, away)); err != nil {
		return false, err
	}
	return true, os.RemoveAll(away)
}

// clearRemoved finishes what a crash interrupted.
func (h Home) clearRemoved() error {
	entries, err := os.ReadDir(h.runs())
	if err != nil {
		return fmt.Errorf("list runs: %w", err)
	}
	var errs []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), removing) {
			errs = append(errs, os.RemoveAll(filepath.Join(h.runs(), e.Name())))
		}
	}
	return errors.Join(errs...)
}
