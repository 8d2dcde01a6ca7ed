package experiments

import "time"

// JournalSchema names the format of a run's journal.
const JournalSchema = "faultline/journal/v1"

// Event is one line of a run's journal. It is one flat record: each type uses
// the few fields it needs and leaves the others out. Unknown types are kept and
// shown, never acted on.
type Event struct {
	Seq  uint64    `json:"seq"`
	At   time.Time `json:"at"`   // wall clock, UTC, for people
	Boot Boottime  `json:"boot"` // for every length of time
	Type EventType `json:"type"`

	// BootID is set by whoever writes in another boot than the header's: then
	// Boot does not compare with the run's own readings, and At must do.
	BootID string `json:"boot_id,omitempty"`

	Fault     int        `json:"fault,omitempty"`     // 1-based
	Target    string     `json:"target,omitempty"`    // an Injection's ID
	Injection *Injection `json:"injection,omitempty"` // of EventAimed
	Effect    *Effect    `json:"effect,omitempty"`    // of EventConfirmed, EventUndone
	Return    *Return    `json:"return,omitempty"`    // of EventReturned
	Phase     Phase      `json:"phase,omitempty"`     // of EventPhase
	Abort     AbortBy    `json:"abort,omitempty"`     // of EventAbort
	By        string     `json:"by,omitempty"`        // who did it: "holder", "parent", "undo by pid 12 (root)"
	Why       string     `json:"why,omitempty"`       // for people
	Error     string     `json:"error,omitempty"`     // what went wrong, whole chain
	Header    *Header    `json:"header,omitempty"`    // of EventRun
	Close     *Close     `json:"close,omitempty"`     // of EventClosed
}

// EventType is what happened.
type EventType string

// The types, in the order in which a run meets them.
const (
	EventRun        EventType = "run"         // first line: Header
	EventPhase      EventType = "phase"       // Phase began
	EventBaseline   EventType = "baseline"    // Why; Error when it did not hold
	EventAimed      EventType = "aimed"       // Injection is durable; from here on it must be healed
	EventRefused    EventType = "refused"     // Target or Fault was not injected: nothing was changed (lease, limit, gone)
	EventInjected   EventType = "injected"    // Inject returned; Error when it failed (it may still have happened)
	EventConfirmed  EventType = "confirmed"   // first Confirm that settled, and every change of state after it
	EventReturned   EventType = "returned"    // a target came back by itself
	EventRestarted  EventType = "restarted"   // target is another one now; Why says what the policy does
	EventEndedEarly EventType = "ended-early" // the fault ended before its time on Target
	EventAbort      EventType = "abort"       // the run leaves by the door: Abort, Why
	EventUndoing    EventType = "undoing"     // first try begins
	EventUndone     EventType = "undone"      // Error == "": verified; else not verified (yet)
	EventParentLost EventType = "parent-lost" // the holder lost its parent and heals
	EventHolderLost EventType = "holder-lost" // the parent lost its holder and took over
	EventNote       EventType = "note"        // Why
	EventFailed     EventType = "failed"      // the tool itself failed: Error
	EventClosed     EventType = "closed"      // last line of a run: Close. Later heals may still follow
)

// Phase is a part of the timeline.
type Phase string

// The phases.
const (
	PhaseBefore Phase = "before"
	PhaseDuring Phase = "during"
	PhaseAfter  Phase = "after"
)

// AbortBy says which way a run was made to end early.
type AbortBy string

// The ways; they decide the exit code.
const (
	AbortGuard AbortBy = "guard"   // a probe's abort or blind tolerance: 4
	AbortHalt  AbortBy = "halt"    // 4
	AbortDisk  AbortBy = "disk"    // the journal could not be written: healed, 4
	AbortInt   AbortBy = "SIGINT"  // 130
	AbortTerm  AbortBy = "SIGTERM" // 143
	AbortHup   AbortBy = "SIGHUP"  // 129; also a closed terminal
	AbortLimit AbortBy = "limit"   // limits.duration reached: 4
	AbortUndo  AbortBy = "undo"    // somebody else's `faultline undo`: 4
)

// Header is a run's first event: what, who, where.
type Header struct {
	Schema   string    `json:"schema"`
	Run      string    `json:"run"`
	Version  string    `json:"version"`
	Machine  string    `json:"machine"`          // machine id
	BootID   string    `json:"boot_id"`          //
	Host     string    `json:"host"`             // host name
	User     string    `json:"user"`             // name (uid)
	OS       string    `json:"os"`               // "linux 6.18.44 amd64"
	Command  []string  `json:"command"`          // the reproduction command, redacted
	HolderID string    `json:"holder"`           // process identity of the holder
	ParentID string    `json:"parent"`           // and of its parent
	Secrets  []string  `json:"secrets"`          // names of references in use ("env:TOKEN"), never values
	Started  time.Time `json:"started"`          //
	Plan     Plan      `json:"plan"`             //
	Document string    `json:"document"`         // the experiment as YAML, redacted
	Engine   string    `json:"engine,omitempty"` // "Docker 20.10.24, local"
}

// Close says how a run's own processes ended it.
type Close struct {
	By       string `json:"by"`               // holder, parent, undo …
	Undone   *bool  `json:"undone,omitempty"` // nil: nothing had been injected
	Complete bool   `json:"complete"`         // the timeline ran to its end and all samples were taken
}
