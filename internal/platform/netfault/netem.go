package netfault

import "time"

// Shaping is a delay by netem, aimed: everything that any process needs to put
// it on, to read it back and to take it off. The kernel keeps it until then.
type Shaping struct {
	Handle uint16 `json:"handle"` // major number of our root qdisc; no other has it
	Delay  Delay  `json:"delay"`
	Spots  []Spot `json:"spots"`
	Tag    string `json:"tag"` // marks the interfaces that we add
}

// Spot is one interface and way that is shaped.
type Spot struct {
	Interface string    `json:"interface"`
	Index     int       `json:"index"`
	Way       Direction `json:"way"`
	Via       string    `json:"via,omitempty"` // the ifb that ingress is led through
}

// ShapingLook is what the kernel says of a Shaping.
type ShapingLook struct {
	On      int    // spots in place, with the delay that was asked for
	Off     int    // spots where nothing of ours is
	Foreign string // what is in a spot's place, by kind and handle; "" when nothing is
	Packets uint64 // that passed
	Waiting int
	Dropped uint64 // the queue was full
}

// drainShaping is the longest that undoing waits for packets on their way.
const drainShaping = 5 * time.Second
