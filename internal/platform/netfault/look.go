package netfault

import "time"

// Look is what the kernel says of a table of ours, read from outside.
type Look struct {
	Present bool          // the table is there
	Armed   time.Duration // how long it stays armed without another word; 0: disarmed
	Hooks   int           // base chains that still lead to a queue
	Holds   int           // chains that queue
	Heard   int           // of them, those whose queue somebody listens to
	Matched uint64        // packets that met the rules
	Waiting int
	Dropped uint64
}

// On says that everything is in place: hooks, armed, and somebody listens.
func (l Look) On() bool {
	return l.Present && l.Armed > 0 && l.Hooks > 0 && l.Holds > 0 && l.Heard == l.Holds
}
