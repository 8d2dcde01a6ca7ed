package netfault

import "time"

// Look is what the kernel says of a table of ours, read from outside.
type Look struct {
	Present bool          // the table is there
	Armed   time.Duration // how long it stays armed without another word; 0: disarmed
	Hooks   int           // base chains that lead to a queue
	Ingress bool          // both families are led there on their way in
	Egress  bool          // and on their way out
	Holds   int           // chains that queue
	Heard   int           // of them, those whose queue somebody listens to
	Matched uint64        // packets that met the rules
	Waiting int
	Dropped uint64
}

// On says that everything is in place for the direction: hooks of both
// families, armed, and somebody listens.
func (l Look) On(d Direction) bool {
	hooked := (l.Ingress || !d.Covers(Ingress)) && (l.Egress || !d.Covers(Egress))
	return l.Present && l.Armed > 0 && hooked && l.Holds > 0 && l.Heard == l.Holds
}
