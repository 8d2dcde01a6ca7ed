package experiments

import "encoding/json"

// APIVersion and Kind are the only ones this build reads; others are refused, never guessed.
const (
	APIVersion     = "faultline/v1"
	KindExperiment = "Experiment"
)

// Experiment is one document as its author wrote it, with defaults filled in
// and every variable substituted. It is plain data and survives a JSON round trip.
type Experiment struct {
	APIVersion string            `json:"apiVersion"`
	Kind       string            `json:"kind"`
	Name       string            `json:"name"`
	Hypothesis string            `json:"hypothesis,omitempty"`
	Labels     map[string]string `json:"labels,omitempty"`
	Timeline   Timeline          `json:"timeline"`
	Limits     Limits            `json:"limits"`
	Probes     []Probe           `json:"probes,omitempty"`
	Faults     []Fault           `json:"faults,omitempty"`
	Schedule   *Schedule         `json:"schedule,omitempty"`
	Source     string            `json:"source,omitempty" doc:"-"` // file:line of the document, for messages

	// Secrets are the values that references had; they never go into JSON.
	Secrets Secrets `json:"-"`
}

// Timeline is how long the phases last. During runs from the first inject to
// the last undo and at least During, which is needed when no fault has a `for`.
type Timeline struct {
	Before Duration `json:"before"` // default 10s; 0s skips the baseline
	During Duration `json:"during,omitempty"`
	After  Duration `json:"after"` // default 30s
}

// Limits bound the blast radius of the whole plan. More than a limit is refused, never cut down.
type Limits struct {
	Targets  int      `json:"targets"`         // default 10
	Share    *Share   `json:"share,omitempty"` // victims / matched, per fault; checked when given
	Duration Duration `json:"duration"`        // first inject to last undo; default 1h
}

// Fault is one thing to break. Settings is the canonical JSON of what stands
// under the kind's key; the fault's own file says its shape.
type Fault struct {
	Name      string          `json:"name"`
	Kind      string          `json:"kind"`
	At        Duration        `json:"at"`            // from the start of During
	For       Duration        `json:"for,omitempty"` // required of everything that can be undone
	OnRestart OnRestart       `json:"on_restart,omitempty"`
	Allow     []Door          `json:"allow,omitempty"`
	Settings  json.RawMessage `json:"settings"`
	Source    string          `json:"source,omitempty"`
}

// Allows says whether the author opened this door for this fault.
func (f Fault) Allows(d Door) bool {
	for _, open := range f.Allow {
		if open == d {
			return true
		}
	}
	return false
}

// OnRestart is what to do when a target comes back as another one during its fault.
type OnRestart string

// The policies; OnRestartStop is the default.
const (
	OnRestartStop     OnRestart = "stop"
	OnRestartReinject OnRestart = "reinject"
	OnRestartIgnore   OnRestart = "ignore"
)

// Door is a safety limit that an author opens by name.
type Door string

// The doors, one list for the whole tool.
const (
	DoorIrreversible    Door = "irreversible"
	DoorLastReplica     Door = "last-replica"
	DoorHostNetwork     Door = "host-network"
	DoorSharedNamespace Door = "shared-namespace"
	DoorAllTraffic      Door = "all-traffic"
	DoorKubeSystem      Door = "kube-system"
	DoorOverlap         Door = "overlap"
	DoorUnkept          Door = "unkept"
)

// Doors lists every door there is.
func Doors() []Door {
	return []Door{DoorIrreversible, DoorLastReplica, DoorHostNetwork, DoorSharedNamespace, DoorAllTraffic, DoorKubeSystem, DoorOverlap, DoorUnkept}
}

// Probe is one question asked again and again. Settings is the canonical JSON
// under the kind's key; Expect is CEL over the kind's reading.
type Probe struct {
	Name     string          `json:"name"`
	Kind     string          `json:"kind"`
	Every    Duration        `json:"every"` // default 1s
	Expect   string          `json:"expect,omitempty"`
	Tolerate Tolerance       `json:"tolerate"`
	Settings json.RawMessage `json:"settings"`
	Source   string          `json:"source,omitempty"`
}

// Tolerance is how much of the steady state may be lost, and for how long.
// A nil pointer means that the author said nothing.
type Tolerance struct {
	Before  *Share    `json:"before,omitempty"`  // least share of good answers for the baseline; nil: all of them
	During  *Share    `json:"during,omitempty"`  // least share of good answers; nil: 100%
	Outage  *Duration `json:"outage,omitempty"`  // longest stretch of bad answers, over During and After
	Recover *Duration `json:"recover,omitempty"` // from the last undo to good for good; nil: all of After
	Abort   int       `json:"abort,omitempty"`   // bad answers in a row that end the run; 0: never
	Blind   Duration  `json:"blind"`             // longest time without being able to look; default 10s
}

// Schedule is parsed, checked and shown here; carrying it out is the work of `serve`.
type Schedule struct {
	Cron     string   `json:"cron"`
	Timezone string   `json:"timezone,omitempty"`
	Window   string   `json:"window,omitempty"`
	Skip     []string `json:"skip,omitempty"`
	Missed   string   `json:"missed,omitempty"`
	Jitter   Duration `json:"jitter,omitempty"`
}
