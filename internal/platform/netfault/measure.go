package netfault

import "time"

// Measured is what packets really met, from the kernel's stamp of their arrival
// (where it has one, else from when we were told of them) to their release.
type Measured struct {
	Packets uint64        // that passed the fault
	P50     time.Duration //
	P99     time.Duration //
	Least   time.Duration //
	Most    time.Duration //
	Stamped uint64        // of them, by the kernel's own clock
	Waiting int           // held back right now
	Longest int           // the most that ever waited
	Dropped uint64        // lost because the queue was full
	Lapsed  bool          // the kernel disarmed the fault, for this process did not run
	Real    bool          // released from a thread with real-time priority
}
