package injectors

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// stageSet is one real target and somebody who looks at it without faultline's code.
type stageSet struct {
	world    World
	settings any
	allow    []experiments.Door
	state    func() string // what can be seen of the target from outside
	vanish   func()        // the target ends, behind faultline's back
	again    func() World  // another faultline process's view of the same machine; nil: the same world
}

// conformance is what every fault promises. A fault joins by one line here.
var conformance = []struct {
	sentence string
	kind     string
	stage    func(*testing.T) stageSet
}{
	{"a process is killed", "process.kill", stageKill},
	{"a process is paused by ptrace", "process.pause", stagePause},
	{"a process is paused by signals", "process.pause", stagePauseBySignal},
	{"a container crashes", "container.crash", stageContainerCrash},
	{"a container is paused", "container.pause", stageContainerPause},
	{"a container is removed", "container.remove", stageContainerRemove},
	{"a container is restarted", "container.restart", stageContainerRestart},
	{"a container is stopped", "container.stop", stageContainerStop},
	{"packets of a namespace are late", "network.latency", stageLatency},
	{"a file is made by the user's own commands", "exec", stageExec},
}

func TestEveryFaultConforms(t *testing.T) {
	for _, row := range conformance {
		t.Run(row.sentence, func(t *testing.T) {
			fault, ok := Find(row.kind)
			if !ok {
				t.Fatalf("the table has no %s", row.kind)
			}
			conform(t, fault, row.stage)
		})
	}
}

func conform(t *testing.T, fault Fault, stage func(*testing.T) stageSet) {
	t.Run("aim changes nothing", func(t *testing.T) {
		s := stage(t)
		before := s.state()
		s.aim(t, fault)
		if after := s.state(); after != before {
			t.Errorf("the target was %s before Aim and is %s after it", before, after)
		}
	})
	t.Run("inject takes effect, and undo takes it back", func(t *testing.T) {
		s := stage(t)
		before := s.state()
		target := s.aim(t, fault)
		s.inject(t, fault, target)
		s.undo(t, s.world, fault, target)
		if after := s.state(); fault.About.Undoable && after != before {
			t.Errorf("the target was %s before and is %s after the undo", before, after)
		}
		s.undo(t, s.world, fault, target) // twice is fine
	})
	t.Run("another process takes it back", func(t *testing.T) {
		s := stage(t)
		before := s.state()
		target := s.aim(t, fault)
		s.inject(t, fault, target)
		s.undo(t, s.other(), fault, target)
		if after := s.state(); fault.About.Undoable && after != before {
			t.Errorf("the target was %s before and is %s after the undo", before, after)
		}
	})
	t.Run("undo without an inject changes nothing", func(t *testing.T) {
		s := stage(t)
		before := s.state()
		s.undo(t, s.world, fault, s.aim(t, fault))
		if after := s.state(); after != before {
			t.Errorf("the target was %s before and is %s after", before, after)
		}
	})
	t.Run("undo of a target that has vanished", func(t *testing.T) {
		s := stage(t)
		target := s.aim(t, fault)
		s.inject(t, fault, target)
		s.vanish()
		s.undo(t, s.other(), fault, target)
	})
}

// aim chooses and aims as a run does, and gives the target as it stands in a journal.
func (s stageSet) aim(t *testing.T, fault Fault) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(s.settings)
	if err != nil {
		t.Fatal(err)
	}
	choice, err := fault.Choose(t.Context(), s.world, raw)
	if err != nil {
		t.Fatalf("choose: %v", err)
	}
	if len(choice.Matched) != 1 {
		t.Fatalf("matched %d targets, want 1; skipped: %v", len(choice.Matched), choice.Skipped)
	}
	order := experiments.Order{Run: "test", Fault: 1, Victim: choice.Matched[0], Allow: s.allow}
	if fault.About.Undoable {
		order.Length = experiments.Duration(time.Minute)
		order.Deadline, order.Wall = s.world.Host.Boottime().Add(time.Minute), s.world.Host.Now().Add(time.Minute)
	}
	if err := fault.Preflight(t.Context(), s.world, raw, order); err != nil {
		t.Fatalf("preflight: %v", err)
	}
	aimed, err := fault.Aim(t.Context(), s.world, raw, order)
	if err != nil {
		t.Fatalf("aim: %v", err)
	}
	if len(aimed) != 1 {
		t.Fatalf("aimed at %d targets, want 1", len(aimed))
	}
	return aimed[0].Target
}

// inject injects, sees the effect, and closes what was held, as the engine does before it undoes.
func (s stageSet) inject(t *testing.T, fault Fault, target json.RawMessage) {
	t.Helper()
	held, err := fault.Inject(t.Context(), s.world, target)
	if err != nil {
		t.Fatalf("inject: %v", err)
	}
	var last experiments.Effect
	testenv.Eventually(t, 5*time.Second, "the fault is in effect", func() bool {
		last, err = fault.Confirm(t.Context(), s.world, target)
		return err == nil && last.State == experiments.EffectOn
	})
	if held != nil {
		if err := held.Close(); err != nil {
			t.Fatalf("close what was held: %v", err)
		}
	}
}

func (s stageSet) undo(t *testing.T, w World, fault Fault, target json.RawMessage) {
	t.Helper()
	if err := fault.Undo(t.Context(), w, target); err != nil {
		t.Fatalf("undo: %v", err)
	}
}

func (s stageSet) other() World {
	if s.again == nil {
		return s.world
	}
	return s.again()
}
