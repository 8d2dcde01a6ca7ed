package journal

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of a run. Reports add their own.
const (
	JournalFile = "journal.jsonl"
	SamplesFile = "samples.bin"
	HolderLog   = "holder.log"
	lockName    = "lock"
)

// Run is one run's record: a directory named for it.
type Run struct {
	ID, Dir string

	home Home
}

// Samples is the path of the run's samples.
func (r Run) Samples() string { return filepath.Join(r.Dir, SamplesFile) }

// Path is the path of one of the run's files.
func (r Run) Path(name string) string { return filepath.Join(r.Dir, name) }

// What Find can say besides success; compare with errors.Is.
var (
	ErrNoRun     = errors.New("no such run")
	ErrAmbiguous = errors.New("it names several runs")
)

// Create makes the directory of a new run, durably, with its lock file in it.
func (h Home) Create(id string) (Run, error) {
	if !idShape.MatchString(id) {
		return Run{}, fmt.Errorf("create run %q: not an ID of this tool", id)
	}
	r := Run{ID: id, Dir: filepath.Join(h.runs(), id), home: h}
	if err := os.Mkdir(r.Dir, 0o700); err != nil {
		return Run{}, fmt.Errorf("create run %s: %w", id, err)
	}
	lock, err := os.OpenFile(r.Path(lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL|openNoFollow, 0o600)
	if err == nil {
		err = errors.Join(lock.Close(), syncDir(r.Dir), syncDir(h.runs()))
	}
	if err != nil {
		return Run{}, fmt.Errorf("create run %s: %w", id, err)
	}
	return r, nil
}

// list gives this home's runs, newest first.
func (h Home) list() ([]Run, error) {
	entries, err := os.ReadDir(h.runs())
	if err != nil {
		return nil, fmt.Errorf("list runs: %w", err)
	}
	var runs []Run
	for _, e := range entries {
		if idShape.MatchString(e.Name()) {
			runs = append(runs, Run{ID: e.Name(), Dir: filepath.Join(h.runs(), e.Name()), home: h})
		}
	}
	slices.SortFunc(runs, func(a, b Run) int { return strings.Compare(b.ID, a.ID) })
	return runs, nil
}

// Find gives the run that ref names: an ID, a unique prefix of one, or `last`.
func (h Home) Find(ref string) (Run, error) {
	runs, err := h.list()
	if err != nil {
		return Run{}, err
	}
	if ref == "last" && len(runs) > 0 {
		return runs[0], nil
	}
	var found []Run
	for _, r := range runs {
		if r.ID == ref {
			return r, nil
		}
		if ref != "" && strings.HasPrefix(r.ID, ref) {
			found = append(found, r)
		}
	}
	switch len(found) {
	case 0:
		return Run{}, fmt.Errorf("find run %q in %s: %w: `faultline list runs` names them", ref, h.runs(), ErrNoRun)
	case 1:
		return found[0], nil
	}
	return Run{}, fmt.Errorf("find run %q: %w: %s and %d more: write more of the ID", ref, ErrAmbiguous, found[0].ID, len(found)-1)
}

// Unreadable is a run that is active or left something behind and whose record
// is not in this home: somebody else's, or one of another state directory.
type Unreadable struct {
	ID    string
	User  string // who must heal it, as "name (uid)"
	State string // the state directory it is in
	Alive bool   // its holder is running
	Why   string // why it is not read here, and what to do
}

// Own gives this home's runs, newest first; it needs nothing of the host-wide place.
func (h Home) Own() ([]Run, error) { return h.list() }

// Runs is Own, and names what others have on this host. With an error, the runs
// that it gives are there all the same.
func (h Home) Runs() ([]Run, []Unreadable, error) {
	runs, err := h.list()
	if err != nil {
		return nil, nil, err
	}
	others, err := h.others()
	return runs, others, err
}
