package reports

import (
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
)

// States of a target that was not read back; the others are an EffectState.
const (
	stateNotInjected  = "not injected"
	stateInjectFailed = "failed to inject"
	stateUnconfirmed  = "not confirmed"
)

func targetName(fault, victim int) string { return fmt.Sprintf("%d.%d", fault, victim+1) }

// state is the target's state as it was last read back, and why.
func (t *targetRecord) state() (string, string) {
	switch {
	case t.injected == nil && t.refused != "":
		return stateNotInjected, t.refused
	case t.injected == nil && t.aimed == nil:
		return stateNotInjected, "the record does not say that it was reached"
	case t.injected == nil:
		return stateUnconfirmed, "the record ends before the inject was over; it may have happened"
	case t.injectError != "":
		return stateInjectFailed, t.injectError
	case len(t.effects) == 0:
		return stateUnconfirmed, "its state was never read back"
	}
	last := t.effects[len(t.effects)-1]
	return string(last.State), last.Why
}

// holds says whether the fault was in effect on the target, and if not why, as
// the end of a sentence that begins with the target's name.
func (t *targetRecord) holds(f *faultRecord) (bool, string) {
	state, why := t.state()
	switch {
	case t.injected == nil && state == stateNotInjected:
		return false, "was not injected: " + why
	case t.injected == nil, len(t.effects) == 0 && t.injectError == "":
		return false, "could not be confirmed: " + why
	case t.injectError != "":
		return false, "could not be injected: " + why
	case t.early != nil:
		return false, "was released early, " + length(t.early.Off-t.injected.off) + " after its start: " + t.early.Text
	}
	seen := false
	for _, e := range t.effects {
		on := e.State == experiments.EffectOn || e.State == experiments.EffectGone && (f.irreversible(t) || t.restarted && seen)
		seen = seen || on
		if e.State == experiments.EffectPartly || e.State == experiments.EffectOff && seen {
			return false, "was hit only partly or not all the time" + because(e.Why)
		}
	}
	if last := t.effects[len(t.effects)-1]; !seen || !t.stood(f, last) {
		return false, fmt.Sprintf("was read back as %q%s", string(last.State), because(last.Why))
	}
	return true, ""
}

// stood says whether the last reading is what was asked for. A target that is
// gone is, where being gone was asked for or a restart was to be borne.
func (t *targetRecord) stood(f *faultRecord, last effectAt) bool {
	switch last.State {
	case experiments.EffectOn:
		return true
	case experiments.EffectGone:
		return f.irreversible(t) || t.restarted
	}
	return false
}
