package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// HaltInfo is who stopped everything, and why.
type HaltInfo struct {
	Who  string    `json:"who"`
	Why  string    `json:"why,omitempty"`
	At   time.Time `json:"at"`
	Copy string    `json:"copy,omitempty"` // the same in the state directory, where it outlives the host-wide place
}

// Halt stops every run on the host and keeps new ones from starting, until
// Resume. It stands in the host-wide place and, for restarts, in this home.
func (h Home) Halt(who, why string, now time.Time) error {
	info := HaltInfo{Who: who, Why: why, At: now.UTC().Round(0), Copy: filepath.Join(h.State, haltName)}
	err := h.exclusively(func() error {
		dir, err := h.ownShared()
		if err != nil {
			return err
		}
		return writeWhole(filepath.Join(dir, haltName), info, 0o644)
	})
	// The copy is written in any case: it stops at least this user's runs.
	if err := errors.Join(err, writeWhole(info.Copy, info, 0o600)); err != nil {
		return fmt.Errorf("halt: %w", err)
	}
	return nil
}

// Resume takes this user's halt back. Where another user's remains it says so.
func (h Home) Resume() error {
	err := h.exclusively(func() error {
		paths, err := h.haltFiles()
		if err != nil {
			return err
		}
		var errs []error
		for _, p := range paths {
			errs = append(errs, h.liftHalt(p))
		}
		return errors.Join(errs...)
	})
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	info, halted, err := h.Halted()
	if err == nil && halted {
		err = fmt.Errorf("%s halted this host (%s): only they or root can resume it", info.Who, info.Why)
	}
	if err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// liftHalt removes one halt and its copy, the copy first: what is left by a crash still halts.
func (h Home) liftHalt(f haltFile) error {
	info, halted, err := readHalt(f.path)
	switch {
	case err == nil && !halted:
		return nil
	case f.uid != userID() && os.Geteuid() != 0:
		return nil // Halted names it
	}
	// A copy's path is believed only when this user wrote it. An unreadable halt is lifted as well: that is what was asked for.
	if f.uid == userID() && filepath.Base(info.Copy) == haltName {
		if err := remove(info.Copy); err != nil {
			return err
		}
	}
	return remove(f.path)
}

func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Halted says whether anybody halted this host. An error is "could not look",
// and never means that it is not halted.
func (h Home) Halted() (HaltInfo, bool, error) {
	paths, err := h.haltFiles()
	if err != nil {
		return HaltInfo{}, false, fmt.Errorf("look whether this host is halted: %w", err)
	}
	for _, p := range paths {
		info, halted, err := readHalt(p.path)
		if err != nil {
			return HaltInfo{}, false, fmt.Errorf("look whether this host is halted: %w", err)
		}
		if halted {
			return info, true, nil
		}
	}
	return HaltInfo{}, false, nil
}

type haltFile struct{ path, uid string }

// haltFiles are the places where a halt can stand.
func (h Home) haltFiles() ([]haltFile, error) {
	dirs, err := h.sharedDirs()
	if err != nil {
		return nil, err
	}
	var files []haltFile
	for _, d := range dirs {
		files = append(files, haltFile{filepath.Join(d.path, haltName), d.uid})
	}
	return append(files, haltFile{filepath.Join(h.State, haltName), userID()}), nil
}

func readHalt(path string) (HaltInfo, bool, error) {
	raw, err := readShared(path)
	if errors.Is(err, fs.ErrNotExist) {
		return HaltInfo{}, false, nil
	}
	if err != nil {
		return HaltInfo{}, false, err
	}
	var info HaltInfo
	if err := json.Unmarshal(raw, &info); err != nil {
		return HaltInfo{}, false, fmt.Errorf("read %s: %w: `faultline resume` removes it", path, err)
	}
	info.Who, info.Why = plainText(info.Who), plainText(info.Why)
	return info, true, nil
}

const (
	haltPoll  = 50 * time.Millisecond // from halt to undo at most 100 ms
	haltBlind = 2 * time.Second       // a holder that cannot look for so long stops, as if halted
)

// WatchHalt sends once, as soon as the host is halted, or when that could not be
// looked at for 2 s (Why then says so). The channel closes after that or with ctx.
func (h Home) WatchHalt(ctx context.Context) <-chan HaltInfo {
	news := make(chan HaltInfo, 1)
	go func() {
		defer close(news)
		tick := time.NewTicker(haltPoll)
		defer tick.Stop()
		seen := time.Now()
		for {
			info, halted, err := h.Halted()
			if err == nil {
				seen = time.Now()
			} else if time.Since(seen) > haltBlind {
				info, halted = HaltInfo{Who: "faultline", Why: err.Error(), At: time.Now().UTC()}, true
			}
			if halted {
				news <- info
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	}()
	return news
}
