package netfault

import (
	"errors"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// A mechanism either works or says why not by an error number; there is nothing between.
func TestH33_AbilitiesAreTriedNotGuessed(t *testing.T) {
	testenv.Require(t, "netns")
	for _, m := range Mechanisms() {
		a := Try(t.Context(), m)
		t.Logf("%s: works %v by %q, peers %v, ingress %v, real time %v, why %q, mend %q", a.Mechanism, a.Works, a.By, a.Peers, a.Ingress, a.RealTime, a.Why, a.Mend)
		if a.Works == (a.Err != nil) {
			t.Errorf("%s: works %v and error %v", a.Mechanism, a.Works, a.Err)
		}
		if !a.Works && (!errors.Is(a.Err, ErrUnsupported) || a.Why == "") {
			t.Errorf("%s does not work here, and the error does not say that it is unsupported: %v", a.Mechanism, a.Err)
		}
		if can, why := a.Can(Delay{Direction: Both}); can != (a.Works && a.Ingress) || !can && why == "" {
			t.Errorf("%s: can delay both ways: %v, %q", a.Mechanism, can, why)
		}
	}
}
