package netfault

import (
	"context"
	"fmt"
)

// Ability is what a trial in a scratch namespace showed of one mechanism.
type Ability struct {
	Mechanism Mechanism
	Works     bool
	By        string // by which means: "xtables NFQUEUE target", "netem"
	Peers     bool   // it can tell peers apart
	Ingress   bool   // it can delay what comes in
	RealTime  bool   // packets are released by a real-time thread
	Err       error  // why it does not work; ErrUnsupported when the kernel lacks it
	Why       string // the same for people, or what is missing of the rest
	Mend      string // the one command that would mend it, "" when there is none
}

// Can says whether the mechanism can do what is asked, and if not, why.
func (a Ability) Can(d Delay) (bool, string) {
	switch {
	case !a.Works:
		return false, a.Why
	case !a.Peers && len(d.Peers)+len(d.Exempt) > 0:
		return false, string(a.Mechanism) + " cannot tell peers apart here: " + a.Why
	case !a.Ingress && d.Direction.Covers(Ingress):
		return false, string(a.Mechanism) + " cannot delay what comes in here: " + a.Why
	}
	return true, ""
}

// Mechanisms is every mechanism, the best first: nfqueue, for the kernel takes
// it back when we die.
func Mechanisms() []Mechanism { return []Mechanism{NFQueue, Netem} }

// Try finds out what a mechanism can do here by using it in a scratch namespace.
func Try(ctx context.Context, m Mechanism) Ability {
	switch m {
	case NFQueue:
		return tryNFQueue(ctx)
	case Netem:
		return tryNetem(ctx)
	}
	err := fmt.Errorf("%w: there is no mechanism %q", ErrUnsupported, m)
	return Ability{Mechanism: m, Err: err, Why: err.Error()}
}
