package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
)

// StatusSchema names the format of `faultline status --json`.
const StatusSchema = "faultline/status/v1"

// Status is what is running, held, halted and left behind on this host, as far
// as this user can see. Problems says what could not be looked at.
type Status struct {
	Schema   string              `json:"schema"`
	Halted   *journal.HaltInfo   `json:"halted,omitempty"`
	Runs     []RunStatus         `json:"runs"` // alive, orphaned or with something left, and the latest one
	Leases   []journal.LeaseInfo `json:"leases"`
	Others   []OtherRun          `json:"others"` // runs of other users or state directories
	Problems []string            `json:"problems"`
}

// RunState is how a run stands, told from its lock and its record.
type RunState string

// The states. Orphan: nobody carries it and its record is open.
const (
	RunAlive  RunState = "running"
	RunOrphan RunState = "orphan"
	RunLeft   RunState = "left something"
	RunClosed RunState = "closed"
	RunAway   RunState = "of another machine"
)

// RunStatus is one run.
type RunStatus struct {
	ID       string            `json:"id"`
	Name     string            `json:"name"`
	State    RunState          `json:"state"`
	Phase    experiments.Phase `json:"phase,omitempty"`
	Started  time.Time         `json:"started"`
	On       []OnTarget        `json:"on"`                  // what is not known to be undone
	ClosedBy string            `json:"closed_by,omitempty"` // who closed it: parent, holder, undo …
	Undone   string            `json:"undone"`              // "nothing was injected", "undone by holder", …
}

// OnTarget is one injection that is not known to be undone.
type OnTarget struct {
	Kind   string             `json:"kind"`
	Target string             `json:"target"`
	Keeper experiments.Keeper `json:"keeper"`
	Until  time.Time          `json:"until"`
	Error  string             `json:"error,omitempty"`
}

// OtherRun is a run whose record is not read here.
type OtherRun struct {
	ID    string `json:"id"`
	User  string `json:"user"` // who must heal it
	Alive bool   `json:"alive"`
	Why   string `json:"why"`
}

// LookAround reads the status; it touches nothing.
func LookAround(home journal.Home, host platform.Host) Status {
	s := Status{Schema: StatusSchema, Runs: []RunStatus{}, Leases: []journal.LeaseInfo{}, Others: []OtherRun{}, Problems: []string{}}
	if halt, halted, err := home.Halted(); err != nil {
		s.Problems = append(s.Problems, fmt.Sprintf("look whether this host is halted: %v", err))
	} else if halted {
		s.Halted = &halt
	}
	leases, err := home.Held()
	if err != nil {
		s.Problems = append(s.Problems, fmt.Sprintf("read the leases: %v", err))
	}
	s.Leases = append(s.Leases, leases...)
	runs, others, err := home.Runs()
	if err != nil {
		s.Problems = append(s.Problems, fmt.Sprintf("list the runs: %v", err))
	}
	for _, o := range others {
		s.Others = append(s.Others, OtherRun{o.ID, o.User, o.Alive, o.Why})
	}
	for n, run := range runs {
		one, err := statusOf(run, host)
		if err != nil {
			s.Problems = append(s.Problems, fmt.Sprintf("read run %s: %v", run.ID, err))
		} else if n == 0 || one.State != RunClosed {
			s.Runs = append(s.Runs, one)
		}
	}
	return s
}

// Exit is 6 when something is left or could not be looked at; a live run is neither.
func (s Status) Exit() experiments.Exit {
	for _, r := range s.Runs {
		if r.State == RunOrphan && len(r.On) > 0 || r.State == RunLeft {
			return experiments.ExitStillBroken
		}
	}
	for _, o := range s.Others {
		if !o.Alive {
			return experiments.ExitStillBroken
		}
	}
	if len(s.Problems) > 0 {
		return experiments.ExitInconclusive
	}
	return experiments.ExitPassed
}

func statusOf(run journal.Run, host platform.Host) (RunStatus, error) {
	locked, err := run.Locked()
	if err != nil {
		return RunStatus{}, err
	}
	record, err := run.Read()
	if err != nil {
		return RunStatus{}, err
	}
	if err := record.Actionable(); err != nil {
		return RunStatus{}, err
	}
	state := journal.Fold(record.Events)
	if !locked && !state.Done() { // did it begin between the two looks?
		if locked, err = run.Locked(); err != nil {
			return RunStatus{}, err
		}
	}
	s := RunStatus{ID: run.ID, On: []OnTarget{}, Undone: "nothing was injected"}
	if state.Header != nil {
		s.Name, s.Started = state.Header.Plan.Experiment.Name, state.Header.Started
	}
	for _, e := range record.Events {
		s.see(e)
	}
	for _, open := range state.Open {
		i := open.Injection
		s.On = append(s.On, OnTarget{i.Kind, i.Description.Name, i.Description.Keeper, i.Wall, open.LastError})
	}
	if len(s.On) > 0 {
		s.Undone = fmt.Sprintf("%d not undone", len(s.On))
	}
	s.State = stateOf(state, locked, len(record.Events) == 0, host)
	return s, nil
}

func (s *RunStatus) see(e experiments.Event) {
	switch e.Type {
	case experiments.EventPhase:
		s.Phase = e.Phase
	case experiments.EventUndone:
		if by := e.By; e.Error == "" {
			if by == "" {
				by = "holder"
			}
			s.Undone = "undone by " + by
		}
	case experiments.EventClosed:
		if e.Close != nil {
			s.ClosedBy = e.Close.By
		}
	}
}

func stateOf(state journal.State, locked, empty bool, host platform.Host) RunState {
	switch {
	case locked:
		return RunAlive
	case state.Header != nil && state.Header.Machine != host.MachineID():
		return RunAway
	case !state.Done() && state.Closed != nil:
		return RunLeft
	case !state.Done() || state.Closed == nil && !empty:
		return RunOrphan
	}
	return RunClosed
}

// LeftBehind says, for other commands' stderr, what earlier runs left; nil when
// nothing is left. It touches nothing.
func LeftBehind(home journal.Home, host platform.Host) error {
	status := LookAround(home, host)
	var errs []error
	for _, r := range status.Runs {
		if r.State == RunOrphan && len(r.On) > 0 || r.State == RunLeft {
			for _, on := range r.On {
				errs = append(errs, fmt.Errorf("run %s left %s on %s: `faultline undo %s` heals it", r.ID, on.Kind, on.Target, r.ID))
			}
		}
	}
	for _, o := range status.Others {
		if !o.Alive {
			errs = append(errs, fmt.Errorf("run %s of %s left something behind: %s", o.ID, o.User, o.Why))
		}
	}
	for _, problem := range status.Problems {
		errs = append(errs, errors.New(problem))
	}
	return errors.Join(errs...)
}
