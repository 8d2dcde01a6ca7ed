package experiments

import (
	"encoding/json"
	"time"
)

// Candidate is a logical target: what a selector matched at plan time. ID is
// the identity that a later look can compare (a full container ID, a process's
// boot-unique identity, a namespace's cookie), never a bare name or number.
type Candidate struct {
	Kind    string `json:"kind"` // process, container, netns, pod, command
	ID      string `json:"id"`
	Name    string `json:"name"`              // for people
	Group   string `json:"group,omitempty"`   // replica group it belongs to, "" for none
	Healthy bool   `json:"healthy,omitempty"` // counts as a healthy member of its group
	Detail  string `json:"detail,omitempty"`  // image, command line: for people
	Lease   string `json:"lease,omitempty"`   // what a fault on it leases, where that is known this early
	// Guests live in its namespaces, by name: what ends it ends their network too.
	Guests []string `json:"guests,omitempty"`
}

// Skipped is something that matched by name or label but is no target, and why.
type Skipped struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// Choice is what a fault's selector found.
type Choice struct {
	Matched []Candidate `json:"matched"` // in a stable order, so that a seed replays
	Skipped []Skipped   `json:"skipped,omitempty"`
	Pick    Pick        `json:"pick"`   // with its default filled in
	Groups  []Group     `json:"groups"` // every replica group a match belongs to, with all its healthy members
}

// Group is a replica group: a compose service or a Kubernetes owner with more than one member.
type Group struct {
	Name    string   `json:"name"`
	Members []string `json:"members"` // candidate IDs
	Healthy []string `json:"healthy"` // those that were healthy when looked at
}

// Keeper says what takes a fault back when faultline is killed.
type Keeper string

// The keepers. KeeperNone is for what cannot be undone and needs no undoing (a kill).
const (
	KeeperKernel  Keeper = "kernel"
	KeeperObject  Keeper = "object"
	KeeperJournal Keeper = "journal"
	KeeperNone    Keeper = "none"
)

// Description is what one aimed target says of itself, for plan and report.
type Description struct {
	Kind      string            `json:"kind"`
	ID        string            `json:"id"`
	Name      string            `json:"name"`
	Mechanism string            `json:"mechanism"`         // "pidfd_send_signal", "nfqueue", "engine API (remote)"
	Keeper    Keeper            `json:"keeper"`            //
	Undo      string            `json:"undo"`              // one sentence: what undoes it, or why nothing needs to
	Leases    []string          `json:"leases"`            // every thing touched, as "container/ID"; see internal/journal
	Hits      []string          `json:"hits,omitempty"`    // others that are hit too (shared namespace); counted in the blast radius
	HitsUs    bool              `json:"hits_us,omitempty"` // faultline's own network is hit too: probes asked from here would be
	Restart   string            `json:"restart,omitempty"` // restart policy, where there is one
	Asked     map[string]string `json:"asked,omitempty"`   // what was asked, for people: delay, jitter, signal
	Notes     []string          `json:"notes,omitempty"`   // "lo is not covered"
	Lands     Duration          `json:"lands,omitempty"`   // how long a started act can still land after its caller has gone
}

// Order is one victim's order, given to Aim just before Inject (and by plan, to print).
type Order struct {
	Run      string    `json:"run"`
	Fault    int       `json:"fault"` // 1-based place in the plan
	Victim   Candidate `json:"victim"`
	Length   Duration  `json:"length"`           // how long it is to be on; 0 for what has no length
	Deadline Boottime  `json:"deadline"`         // when it must be off, 0 while planning
	Wall     time.Time `json:"wall"`             // the same by the wall clock, the second limit
	Allow    []Door    `json:"allow,omitempty"`  //
	Exempt   []string  `json:"exempt,omitempty"` // control path: addr:port that is never hit
	Seed     uint64    `json:"seed"`
}

// Allows says whether the door is open for this order.
func (o Order) Allows(d Door) bool { return Fault{Allow: o.Allow}.Allows(d) }

// Injection is one aimed target, durable before anything is done to it: all
// that any process needs to heal it. Target is the fault's own plain data.
type Injection struct {
	ID          string          `json:"id"` // "2.1": fault 2, target 1; "2.1r1" after one reinjection
	Fault       int             `json:"fault"`
	Kind        string          `json:"kind"`
	Target      json.RawMessage `json:"target"`
	Description Description     `json:"description"`
	Deadline    Boottime        `json:"deadline,omitempty"`
	Wall        time.Time       `json:"wall"`
}

// Plan is a frozen choice: who is hit by what and when. It is plain data.
// `run --plan` fixes this choice, not the trust in it: all is checked again.
type Plan struct {
	Schema     string         `json:"schema"` // "faultline/plan/v1"
	Experiment Experiment     `json:"experiment"`
	Seed       uint64         `json:"seed"`
	Faults     []PlannedFault `json:"faults"`
	Targets    int            `json:"targets"`  // blast radius: all things hit
	Duration   Duration       `json:"duration"` // first inject to last undo
	Notes      []string       `json:"notes,omitempty"`
	Exempt     []string       `json:"exempt,omitempty"`  // control path kept open, shown
	Secrets    []string       `json:"secrets,omitempty"` // of a saved plan: references whose values were taken out
}

// PlannedFault is one fault's frozen choice.
type PlannedFault struct {
	Fault        int           `json:"fault"` // 1-based
	Name         string        `json:"name"`
	Kind         string        `json:"kind"`
	At           Duration      `json:"at"`
	For          Duration      `json:"for,omitempty"`
	OnRestart    OnRestart     `json:"on_restart,omitempty"`
	Matched      int           `json:"matched"`
	Victims      []Candidate   `json:"victims"`
	Groups       []Group       `json:"groups,omitempty"` // replica groups of what matched, as they were when planned
	Skipped      []Skipped     `json:"skipped,omitempty"`
	Descriptions []Description `json:"descriptions"` // one an aimed target
}

// PlanSchema names the format of a saved plan.
const PlanSchema = "faultline/plan/v1"
