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
	testenv.Require(t, "docker", "root", "pidfd")
	host, err := platform.NewHost()
	if err != nil {
		t.Fatal(err)
	}
	processes := platform.NewProcesses(host)
	return &platform.World{Host: host, Processes: processes, Engine: closed(t, platform.NewDocker(processes))}
}

// closed closes an engine's connections when t ends.
func closed(t *testing.T, engine *platform.Docker) *platform.Docker {
	t.Helper()
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

// box starts a real container. None of these faults needs a network.
func box(t *testing.T, options ...testenv.Option) *testenv.Box {
	t.Helper()
	return testenv.Container(t, append(options, testenv.Engine("--network", "none"))...)
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
	return aimAtVictim(t, w, i, s, choice.Matched[0])
}

func aimAtVictim[S Spec, T Target](t *testing.T, w World, i Injector[S, T], s S, victim experiments.Candidate) T {
	t.Helper()
	targets, err := i.Aim(t.Context(), w, s, experiments.Order{Fault: 1, Victim: victim, Allow: experiments.Doors()})
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 {
		t.Fatalf("aimed at %d targets, want 1", len(targets))
	}
	return targets[0]
}

func inject[S Spec, T Target](t *testing.T, w World, i Injector[S, T], target T) {
	t.Helper()
	if _, err := i.Inject(t.Context(), w, target); err != nil {
		t.Fatalf("inject: %v", err)
	}
}

func undo[S Spec, T Target](t *testing.T, w World, i Injector[S, T], target T) {
	t.Helper()
	if err := i.Undo(t.Context(), w, target); err != nil {
		t.Errorf("undo: %v", err)
	}
}

// waitEffect waits until reading the state back shows what is wanted.
func waitEffect[S Spec, T Target](t *testing.T, w World, i Injector[S, T], target T, want experiments.EffectState) {
	t.Helper()
	var effect experiments.Effect
	var err error
	testenv.Eventually(t, 10*time.Second, "the effect is "+string(want), func() bool {
		effect, err = i.Confirm(t.Context(), w, target)
		return err == nil && effect.State == want
	})
}

// dockerDo lets the docker command itself act, as somebody else would.
func dockerDo(t *testing.T, args ...string) string {
	t.Helper()
	return dockerAt(t, "", args...)
}
