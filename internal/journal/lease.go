package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Lease is a run's sole right to touch some things, on the whole host.
type Lease struct {
	home Home
	run  Run
	file *os.File // locked (shared) as long as the lease is in use: how others see that the run is alive
	n    int
}

// LeaseInfo is one lease as it stands in the host-wide place.
type LeaseInfo struct {
	Things []string  `json:"things"`
	Run    string    `json:"run"`
	User   string    `json:"user"` // "name (uid)"
	Until  time.Time `json:"until"`
	What   string    `json:"what"`
	State  string    `json:"state"` // the state directory with the run's record
	Alive  bool      `json:"alive"` // a process carries it now
}

// HeldError says that another run has a thing.
type HeldError struct {
	Thing string
	Run   string
	User  string
	Until time.Time
	What  string
	Left  bool // nobody carries the run any more: it left the thing unhealed
}

func (e *HeldError) Error() string {
	if e.Left {
		return fmt.Sprintf("%s was left unhealed by run %s (%s) of %s: %s heals it with `faultline undo %s`", e.Thing, e.Run, e.What, e.User, e.User, e.Run)
	}
	return fmt.Sprintf("%s is busy: run %s (%s) of %s has it until %s", e.Thing, e.Run, e.What, e.User, e.Until.UTC().Format(time.RFC3339))
}

// entry is one line of an active run's file: who it is, a lease, or a lease's end.
type entry struct {
	Run     string    `json:"run,omitempty"`
	User    string    `json:"user,omitempty"`
	State   string    `json:"state,omitempty"`
	Started time.Time `json:"started,omitzero"`

	Lease   int       `json:"lease,omitempty"`
	Things  []string  `json:"things,omitempty"`
	Until   time.Time `json:"until,omitzero"`
	What    string    `json:"what,omitempty"`
	Release int       `json:"release,omitempty"`
}

// active is a run's file in the host-wide place, read.
type active struct {
	path   string
	uid    string
	who    entry
	leases []entry // not released
	last   int     // highest lease number ever given
	alive  bool
}

// Lease gives the run all of the things, or none and a *HeldError. A run has its
// own things already; a lease of no things only tells the other users of the
// host that the run is active. The run must be locked.
func (h Home) Lease(run Run, things []string, until time.Time, what string) (*Lease, error) {
	var lease *Lease
	err := h.exclusively(func() error {
		if locked, err := run.Locked(); err != nil || !locked {
			return errors.Join(err, fmt.Errorf("lease for run %s: its lock must be held first", run.ID))
		}
		if err := h.checkLeases(run.ID, things, true); err != nil {
			return err
		}
		var err error
		lease, err = h.enter(run, entry{Things: things, Until: until.UTC().Round(0), What: what})
		return err
	})
	if err != nil {
		return nil, err
	}
	return lease, nil
}

// enter appends a lease to the run's file, which it makes where it is missing.
// It is not flushed: it must outlive this process, not the machine. What must
// outlive that stands in the journal.
func (h Home) enter(run Run, e entry) (*Lease, error) {
	dir, err := h.ownShared()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, run.ID+runSuffix)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|openNoFollow, 0o644)
	if err != nil {
		return nil, fmt.Errorf("enter run %s in the host-wide list: %w", run.ID, err)
	}
	a, err := readActive(path, userID(), false)
	if err == nil {
		e.Lease = a.last + 1
		lines := []entry{e}
		if a.who.Run == "" {
			lines = []entry{{Run: run.ID, User: userName(), State: h.State, Started: time.Now().UTC().Round(0)}, e}
		}
		err = errors.Join(lockWithin(f, lockShared, probeTime), showToAll(f, 0o644), appendLines(f, lines...))
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("enter run %s in the host-wide list: %w", run.ID, err), f.Close())
	}
	return &Lease{home: h, run: run, file: f, n: e.Lease}, nil
}

// appendLines begins with an end of line: one that was cut short by a crash stays alone.
func appendLines(f *os.File, entries ...entry) error {
	var text bytes.Buffer
	text.WriteByte('\n')
	enc := json.NewEncoder(&text)
	for _, e := range entries {
		if err := enc.Encode(e); err != nil {
			return err
		}
	}
	_, err := f.Write(text.Bytes())
	return err
}

// Release gives the things back; again is fine.
func (l *Lease) Release() error {
	if l.file == nil {
		return nil
	}
	err := l.home.exclusively(func() error {
		err := appendLines(l.file, entry{Release: l.n})
		err = errors.Join(err, l.file.Close())
		l.file = nil
		return err
	})
	if err != nil {
		return fmt.Errorf("release lease %d of run %s: %w", l.n, l.run.ID, err)
	}
	return nil
}

// CheckLeases says whether all of the things could be leased now; a *HeldError if not. It only reads.
func (h Home) CheckLeases(things []string) error { return h.checkLeases("", things, false) }

// Held lists every lease of the host.
func (h Home) Held() ([]LeaseInfo, error) {
	runs, err := h.actives()
	if err != nil {
		return nil, err
	}
	var held []LeaseInfo
	for _, a := range runs {
		if free, err := h.free(a); err != nil || free {
			if err != nil {
				return nil, err
			}
			continue
		}
		for _, l := range a.leases {
			if len(l.Things) > 0 {
				held = append(held, a.info(l))
			}
		}
	}
	return held, nil
}

func (a active) info(l entry) LeaseInfo {
	return LeaseInfo{Things: l.Things, Run: a.who.Run, User: a.who.User, Until: l.Until, What: l.What, State: a.who.State, Alive: a.alive}
}

// checkLeases compares the things with what every other run has. Where it may
// write (with the mutex in hand), it clears what finished runs left behind.
func (h Home) checkLeases(run string, things []string, clear bool) error {
	runs, err := h.actives()
	if err != nil {
		return err
	}
	for _, a := range runs {
		if a.who.Run == run && run != "" && a.uid == userID() {
			continue
		}
		free, err := h.free(a)
		if err != nil {
			return err
		}
		if free {
			if clear && a.uid == userID() {
				err = os.Remove(a.path)
			}
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("clear what run %s left in the host-wide list: %w", a.who.Run, err)
			}
			continue
		}
		if err := a.conflict(things); err != nil {
			return err
		}
	}
	return nil
}

func (a active) conflict(things []string) error {
	for _, l := range a.leases {
		for _, thing := range l.Things {
			if slices.Contains(things, thing) {
				return &HeldError{Thing: thing, Run: a.who.Run, User: a.who.User, Until: l.Until, What: l.What, Left: !a.alive}
			}
		}
	}
	return nil
}

// free says that a run has let go of everything: nobody holds its lock and its
// record has nothing open. Of another user's run only its own user can know.
func (h Home) free(a active) (bool, error) {
	if a.alive || a.uid != userID() {
		return false, nil
	}
	run := Run{ID: a.who.Run, Dir: filepath.Join(a.who.State, "runs", a.who.Run), home: h}
	locked, err := run.Locked()
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // its record is gone or elsewhere: nobody knows what it left
	}
	if err != nil || locked {
		return false, err
	}
	record, err := run.Read()
	if err != nil {
		return false, err
	}
	return record.Actionable() == nil && Fold(record.Events).Done(), nil
}

// actives reads all active runs of the host. One that cannot be read is an error: it may hold anything.
func (h Home) actives() ([]active, error) {
	dirs, err := h.sharedDirs()
	if err != nil {
		return nil, err
	}
	var runs []active
	for _, d := range dirs {
		entries, err := os.ReadDir(d.path)
		if err != nil {
			return nil, fmt.Errorf("read the list of runs of uid %s: %w", d.uid, err)
		}
		for _, e := range entries {
			id, ok := strings.CutSuffix(e.Name(), runSuffix)
			if !ok || !idShape.MatchString(id) {
				continue
			}
			a, err := readActive(filepath.Join(d.path, e.Name()), d.uid, true)
			if errors.Is(err, fs.ErrNotExist) {
				continue // it has just ended
			}
			if err != nil {
				return nil, fmt.Errorf("read the entry of run %s of uid %s: %w", id, d.uid, err)
			}
			a.who.Run = id
			runs = append(runs, a)
		}
	}
	return runs, nil
}

// readActive reads one run's file; with look, also whether a process carries it.
func readActive(path, uid string, look bool) (active, error) {
	a := active{path: path, uid: uid, who: entry{User: "uid " + uid}}
	raw, err := readShared(path)
	if err != nil {
		return a, err
	}
	for line := range bytes.Lines(raw) {
		var e entry
		if json.Unmarshal(line, &e) != nil {
			continue // cut short by a crash, before it was in force
		}
		a.add(e)
	}
	if look {
		a.alive, err = carried(path)
	}
	return a, err
}

func (a *active) add(e entry) {
	switch {
	case e.Run != "":
		a.who = entry{Run: plainText(e.Run), User: plainText(e.User), State: plainText(e.State), Started: e.Started}
	case e.Lease > 0:
		e.What = plainText(e.What)
		a.leases = append(a.leases, e)
		a.last = max(a.last, e.Lease)
	case e.Release > 0:
		a.leases = slices.DeleteFunc(a.leases, func(l entry) bool { return l.Lease == e.Release })
	}
}

// carried says whether a process keeps the file locked. Its carriers lock it
// shared, so a look that locks it exclusively for a moment tells them from none.
func carried(path string) (bool, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return false, err
	}
	err = tryFlock(f, lockExclusive)
	closeErr := f.Close()
	if errors.Is(err, ErrLocked) {
		return true, closeErr
	}
	return false, errors.Join(err, closeErr)
}

// forgetIfClosed takes the run out of the host-wide list when nothing of it is open.
func (r Run) forgetIfClosed() error {
	record, err := r.Read()
	if errors.Is(err, fs.ErrNotExist) {
		record, err = Record{}, nil // pruned
	}
	if err != nil || record.Actionable() != nil || !Fold(record.Events).Done() {
		return err
	}
	dirs, err := r.home.ownSharedDirs()
	if err != nil || len(dirs) == 0 {
		return err
	}
	return r.home.exclusively(func() error {
		var errs []error
		for _, dir := range dirs {
			if err := os.Remove(filepath.Join(dir, r.ID+runSuffix)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				errs = append(errs, fmt.Errorf("take run %s out of the host-wide list: %w", r.ID, err))
			}
		}
		return errors.Join(errs...)
	})
}

// others names the active runs whose record is not in this home, and who must heal them.
func (h Home) others() ([]Unreadable, error) {
	runs, err := h.actives()
	if err != nil {
		return nil, err
	}
	var others []Unreadable
	for _, a := range runs {
		if a.uid == userID() && a.who.State == h.State {
			continue
		}
		if free, err := h.free(a); err != nil || free {
			if err != nil {
				return nil, err
			}
			continue
		}
		others = append(others, a.unreadable())
	}
	return others, nil
}

func (a active) unreadable() Unreadable {
	u := Unreadable{ID: a.who.Run, User: a.who.User, State: a.who.State, Alive: a.alive}
	heal := fmt.Sprintf("%s=%s faultline undo %s", EnvHome, a.who.State, a.who.Run)
	switch {
	case a.alive:
		u.Why = fmt.Sprintf("%s is running it", a.who.User)
	case a.uid == userID():
		u.Why = fmt.Sprintf("it was left behind in another state directory: run `%s`", heal)
	default:
		u.Why = fmt.Sprintf("it was left behind: %s must run `%s`", a.who.User, heal)
	}
	return u
}
