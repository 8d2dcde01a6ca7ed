package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
)

// askLimit is how long a live holder has to heal once it was asked.
const askLimit = 20 * time.Second

// requestFile in a run's folder tells its holder why it is being signalled.
const requestFile = "undo-request"

// Undo heals a run whoever carries it: a live holder is asked, one that does
// not answer is ended, and what is left then is healed here. Doing it again is fine.
func (h Healer) Undo(ctx context.Context, run journal.Run) (Healed, error) {
	asked := Healed{Run: run.ID}
	for try := 1; ; try++ {
		alive, err := run.Locked()
		if err != nil {
			return asked, fmt.Errorf("look whether run %s is alive: %w", run.ID, err)
		}
		if alive {
			more, err := h.ask(ctx, run)
			asked.Undone = append(asked.Undone, more.Undone...)
			if err != nil {
				return asked, err
			}
		}
		healed, err := h.Heal(ctx, run, experiments.Event{})
		if errors.Is(err, journal.ErrLocked) && try < lockTries {
			continue // the holder's parent has begun to heal, or another undo: it is asked as well
		}
		healed.Undone = append(asked.Undone, healed.Undone...)
		return healed, err
	}
}

// lockTries is how often an undo that was overtaken by another healer begins again.
const lockTries = 3

// birth is how long a holder that has just taken its lock has to write its first line.
const birth = 3 * time.Second

// begun gives what stands in a live run's record, as soon as it has a first
// line; ok is false when the run ended before.
func (h Healer) begun(ctx context.Context, run journal.Run) (state journal.State, ok bool, err error) {
	for limit := h.World.Host.Boottime().Add(birth); ; {
		record, err := run.Read()
		if err != nil {
			return journal.State{}, false, err
		}
		if state = journal.Fold(record.Events); state.Header != nil {
			return state, true, nil
		}
		if free(ctx, run, lookOften) {
			return state, false, nil
		}
		if h.World.Host.Boottime() > limit {
			return state, false, fmt.Errorf("run %s is alive and has no record after %s: see %s", run.ID, birth, run.Path(journal.HolderLog))
		}
	}
}

// ask tells a live holder to heal and end, and ends it when it does not.
func (h Healer) ask(ctx context.Context, run journal.Run) (Healed, error) {
	healed := Healed{Run: run.ID}
	before, ok, err := h.begun(ctx, run)
	if err != nil || !ok {
		return healed, err
	}
	id, err := holderOf(before)
	if err != nil {
		return healed, err
	}
	if err := os.WriteFile(filepath.Join(run.Dir, requestFile), []byte(h.By), 0o600); err != nil {
		return healed, fmt.Errorf("ask the holder of run %s to end: %w", run.ID, err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := h.World.Processes.Signal(ctx, id, signal); err != nil && !errors.Is(err, platform.ErrGone) {
			return healed, fmt.Errorf("signal the holder of run %s (pid %d): %w", run.ID, id.PID, err)
		}
		if free(ctx, run, askLimit) {
			break
		}
	}
	record, err := run.Read()
	if err != nil {
		return healed, err
	}
	left := map[string]bool{}
	for _, open := range journal.Fold(record.Events).Open {
		left[open.Injection.ID] = true
	}
	for _, open := range before.Open {
		if i := open.Injection; !left[i.ID] {
			healed.Undone = append(healed.Undone, fmt.Sprintf("%s of %s", i.Kind, i.Description.Name))
		}
	}
	return healed, nil
}

// free waits until nobody holds the run's lock.
func free(ctx context.Context, run journal.Run, limit time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		if locked, err := run.Locked(); err == nil && !locked {
			return true
		}
		if !pause(ctx, 20*time.Millisecond) {
			return false
		}
	}
}

// identity writes a process's identity into a header; holderOf reads it back.
func identity(id platform.ProcessID) string {
	raw, err := json.Marshal(id)
	if err != nil {
		return "" // a struct of numbers and strings always marshals
	}
	return string(raw)
}

func holderOf(state journal.State) (platform.ProcessID, error) {
	var id platform.ProcessID
	if err := json.Unmarshal([]byte(state.Header.HolderID), &id); err != nil {
		return id, fmt.Errorf("read who holds run %s: %w: end that faultline by hand, then run undo again", state.Header.Run, err)
	}
	return id, nil
}

func undoRequest(run journal.Run) (who string, ok bool) {
	raw, err := os.ReadFile(filepath.Join(run.Dir, requestFile))
	if errors.Is(err, fs.ErrNotExist) || err != nil {
		return "", false
	}
	return strings.TrimSpace(string(raw)), true
}

// HealOrphans heals every run of this user whose holder and parent are both
// dead. What it could not read or heal is in the error: never "nothing left".
func (h Healer) HealOrphans(ctx context.Context) ([]Healed, error) {
	runs, unreadable, err := h.Home.Runs()
	errs := []error{err}
	for _, u := range unreadable {
		errs = append(errs, unread(u))
	}
	var all []Healed
	for _, run := range runs {
		orphan, err := isOrphan(run)
		if err != nil {
			errs = append(errs, err)
		}
		if !orphan {
			continue
		}
		healed, err := h.Heal(ctx, run, experiments.Event{})
		if errors.Is(err, journal.ErrLocked) {
			continue // somebody else is healing it right now
		}
		all, errs = append(all, healed), append(errs, err)
	}
	return all, errors.Join(errs...)
}

// isOrphan: nobody carries the run and its record is open.
func isOrphan(run journal.Run) (bool, error) {
	locked, err := run.Locked()
	if err != nil || locked {
		return false, err
	}
	record, err := run.Read()
	if err != nil {
		return false, err
	}
	state := journal.Fold(record.Events)
	return len(record.Events) > 0 && (state.Closed == nil || !state.Done()), nil
}

// unread is somebody else's run that is active or left something behind.
func unread(u journal.Unreadable) error {
	return fmt.Errorf("run %s of %s in %s: %s", u.ID, u.User, u.State, u.Why)
}
