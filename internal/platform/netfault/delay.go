package netfault

import (
	"fmt"
	"time"
)

// Direction is the way of the packets as the target sees it.
type Direction string

// The directions. Both adds the delay twice to a round trip.
const (
	Ingress Direction = "ingress"
	Egress  Direction = "egress"
	Both    Direction = "both"
)

// Covers says whether packets going this way are meant.
func (d Direction) Covers(one Direction) bool { return d == one || d == Both }

// MaxDelay is the longest delay that is still a delay: connection attempts are
// given up after one to two minutes, so a longer one would be a partition.
const MaxDelay = time.Minute

// Mechanism is what holds the packets back.
type Mechanism string

// The mechanisms.
const (
	NFQueue Mechanism = "nfqueue"
	Netem   Mechanism = "netem"
)

// Delay is what is asked for, as plain data.
type Delay struct {
	Direction Direction     `json:"direction"`
	Delay     time.Duration `json:"delay_ns"`
	Jitter    time.Duration `json:"jitter_ns,omitempty"` // uniform, plus or minus
	Peers     []Peer        `json:"peers,omitempty"`     // empty: everybody
	Exempt    []Peer        `json:"exempt,omitempty"`    // never delayed: the control path
	Loopback  bool          `json:"loopback,omitempty"`  // lo too
}

// Validate gives the first thing that is wrong.
func (d Delay) Validate() error {
	switch {
	case d.Direction != Ingress && d.Direction != Egress && d.Direction != Both:
		return fmt.Errorf("direction %q is not ingress, egress or both", d.Direction)
	case d.Delay <= 0:
		return fmt.Errorf("delay %s is not above zero", d.Delay)
	case d.Delay > MaxDelay:
		return fmt.Errorf("delay %s is above %s: connections are given up before, that would be a partition", d.Delay, MaxDelay)
	case d.Jitter < 0:
		return fmt.Errorf("jitter %s is below zero", d.Jitter)
	case d.Jitter > d.Delay:
		return fmt.Errorf("jitter %s is above the delay %s: packets cannot leave before they came", d.Jitter, d.Delay)
	}
	return nil
}

// Packets a second that the queues are sized for, and the bounds of a queue.
// An entry is a packet of up to 64 KiB, so the upper bound is also a bound on
// the kernel memory that a fault may hold.
const (
	sizedFor = 200_000
	minQueue = 4_096
	maxQueue = 400_000
)

// queueLength is the longest delay times the rate, within bounds: a shorter
// queue would turn delay into loss.
func (d Delay) queueLength() uint32 {
	n := int64((d.Delay + d.Jitter).Seconds() * sizedFor)
	return uint32(min(max(n, minQueue), maxQueue))
}
