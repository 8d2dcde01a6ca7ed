package injectors

import (
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestH53_CrashLeavesTheRestartPolicyInForce(t *testing.T) {
	w := dockerWorld(t)
	box := testenv.Container(t, testenv.Restart("always"))
	before := box.PID()
	target := aimAt(t, w, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: box.Name}})
	if target.Init == nil {
		t.Fatalf("a local container was taken for a remote one: %s", target.Remote)
	}
	if _, err := (containerCrash{}).Inject(t.Context(), w, target); err != nil {
		t.Fatal(err)
	}
	waitEffect(t, w, containerCrash{}, target, experiments.EffectOn)
	testenv.Eventually(t, 15*time.Second, "the restart policy starts the container again", func() bool {
		back, err := (containerCrash{}).Return(t.Context(), w, target)
		return err == nil && back.State == experiments.ReturnUp && back.By == "restart policy always"
	})
	if after := box.PID(); after == before || after == 0 {
		t.Errorf("its pid was %d and is %d", before, after)
	}
	if got := box.Inspect("{{.RestartCount}}"); got != "1" {
		t.Errorf("the engine counts %s restarts, want 1", got)
	}
	if err := (containerCrash{}).Undo(t.Context(), w, target); err != nil {
		t.Error(err)
	}
}
