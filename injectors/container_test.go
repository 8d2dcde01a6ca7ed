package injectors

import (
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// dockerWorld is this host with its real engine.
func dockerWorld(t *testing.T) World {
	t.Helper()
	testenv.Require(t, "docker", "root")
	host, err := platform.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	processes := platform.NewProcesses(host)
	engine := platform.NewDocker(processes)
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return &platform.World{Host: host, Processes: processes, Engine: engine}
}

// aimAt chooses by the settings and aims at the one container that they match.
func aimAt[S Spec, T Target](t *testing.T, w World, i Injector[S, T], s S) T {
	t.Helper()
	choice, err := i.Choose(t.Context(), w, s)
	if err != nil {
		t.Fatal(err)
	}
	if len(choice.Matched) != 1 {
		t.Fatalf("matched %d containers, want 1; skipped: %v", len(choice.Matched), choice.Skipped)
	}
	targets, err := i.Aim(t.Context(), w, s, experiments.Order{Fault: 1, Victim: choice.Matched[0], Allow: experiments.Doors()})
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 {
		t.Fatalf("aimed at %d targets, want 1", len(targets))
	}
	return targets[0]
}

// waitEffect waits until reading the state back shows what is wanted.
func waitEffect[S Spec, T Target](t *testing.T, w World, i Injector[S, T], target T, want experiments.EffectState) {
	t.Helper()
	testenv.Eventually(t, 10*time.Second, "the effect is "+string(want), func() bool {
		effect, err := i.Confirm(t.Context(), w, target)
		return err == nil && effect.State == want
	})
}
