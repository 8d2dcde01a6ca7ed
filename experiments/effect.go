package experiments

// EffectState is what reading the real state back showed.
type EffectState string

// The states. Unknown is "could not look": neither in effect nor not.
const (
	EffectOn      EffectState = "in effect"
	EffectPartly  EffectState = "partly"
	EffectOff     EffectState = "not"
	EffectGone    EffectState = "gone" // the target itself is no more
	EffectUnknown EffectState = "unknown"
)

// Effect is one reading back. Why is for people; Measured has figures with
// their units ("p50": "100.2ms").
type Effect struct {
	State    EffectState       `json:"state"`
	Why      string            `json:"why,omitempty"`
	Measured map[string]string `json:"measured,omitempty"`
}

// ReturnState is how far a target that was hit has come back by itself.
type ReturnState string

// The return states, in the order in which they are passed.
const (
	ReturnDown    ReturnState = "down"
	ReturnUp      ReturnState = "up"      // runs again
	ReturnHealthy ReturnState = "healthy" // runs and its own health check says so
	ReturnUnknown ReturnState = "unknown" // could not look
)

// Return is what brought a target back, seen by looking.
type Return struct {
	State ReturnState `json:"state"`
	By    string      `json:"by,omitempty"`  // "restart policy always", "supervisor (pid 412)"
	As    string      `json:"as,omitempty"`  // the new identity, for people
	Why   string      `json:"why,omitempty"` // why unknown
}
