package injectors

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

func (s scene) state(t *testing.T, id string) string {
	t.Helper()
	c, err := s.engine.Inspect(t.Context(), id)
	if errors.Is(err, platform.ErrGone) {
		return "gone"
	}
	if err != nil {
		t.Fatal(err)
	}
	return c.State
}

func TestCrashOnARemoteEngineSaysWhatItCannot(t *testing.T) {
	s := newScene()
	s.engine.SetRemote(true)
	c := s.engine.Add(platform.Container{Name: "web", RestartPolicy: "always"})
	target := aimAt(t, s.World, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: "web"}})
	d := target.Describe()
	if !strings.Contains(d.Mechanism, "remote") || !strings.Contains(strings.Join(d.Notes, " "), "restart policy always will NOT apply") {
		t.Errorf("it says %q and %q", d.Mechanism, d.Notes)
	}
	inject(t, s.World, containerCrash{}, target)
	waitEffect(t, s.World, containerCrash{}, target, experiments.EffectOn)
	if state := s.state(t, c.ID); state != "exited" {
		t.Errorf("it is %s", state)
	}
	back, err := (containerCrash{}).Return(t.Context(), s.World, target)
	if err != nil || back.State != experiments.ReturnDown {
		t.Errorf("return: %+v, %v", back, err)
	}
}

func TestCrashWithoutTheRightToSignalGoesThroughTheEngine(t *testing.T) {
	s := newScene()
	c := s.engine.Add(platform.Container{Name: "web"})
	s.processes.Deny(c.PID)
	target := aimAt(t, s.World, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: "web"}})
	if target.Init != nil || !strings.Contains(target.Remote, platform.ErrDenied.Error()) {
		t.Errorf("init %v, because %q", target.Init, target.Remote)
	}
	if n := s.processes.Pinned(); n != 0 {
		t.Errorf("%d processes stay pinned", n)
	}
}

func TestCrashGivesItsPidfdBack(t *testing.T) {
	s := newScene(platform.Container{Name: "web", RestartPolicy: "always"})
	target := aimAt(t, s.World, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: "web"}})
	inject(t, s.World, containerCrash{}, target)
	waitEffect(t, s.World, containerCrash{}, target, experiments.EffectOn)
	undo(t, s.World, containerCrash{}, target)
	if n := s.processes.Pinned(); n != 0 {
		t.Errorf("%d processes stay pinned", n)
	}
	back, err := (containerCrash{}).Return(t.Context(), s.World, target)
	if err != nil || back.State != experiments.ReturnUp || back.By != "restart policy always" {
		t.Errorf("return: %+v, %v", back, err)
	}
}

func TestCrashNeverHitsTheNextInit(t *testing.T) {
	s := newScene(platform.Container{Name: "web"})
	target := aimAt(t, s.World, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: "web"}})
	if err := s.engine.Restart(t.Context(), target.ID, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := (containerCrash{}).Inject(t.Context(), s.World, target); !errors.Is(err, ErrGone) {
		t.Errorf("inject: %v, want %v", err, ErrGone)
	}
	if state := s.state(t, target.ID); state != "running" {
		t.Errorf("the restarted container is %s", state)
	}
}

// A record of one engine is never held against another: "not found" there is no news of the container.
func TestUndoOnAnotherEngineIsNotGone(t *testing.T) {
	s := newScene(platform.Container{Name: "web"})
	target := aimAt(t, s.World, containerPause{}, ContainerPauseSpec{Select: ContainerSelect{Name: "web"}})
	inject(t, s.World, containerPause{}, target)
	elsewhere := newScene()
	elsewhere.engine.SetInfo(platform.EngineInfo{ID: "OTHER", Endpoint: "memory://other"})
	err := (containerPause{}).Undo(t.Context(), elsewhere.World, target)
	if !errors.Is(err, platform.ErrUnreachable) || !strings.Contains(err.Error(), "DOCKER_HOST=memory://twin") {
		t.Errorf("undo: %v, want that it names the engine to ask", err)
	}
	moved := newScene()
	moved.engine.SetInfo(platform.EngineInfo{ID: "TWIN", Endpoint: "tcp://10.0.0.1:2375"})
	if err := (containerPause{}).Undo(t.Context(), moved.World, target); err != nil {
		t.Errorf("undo through another endpoint of the same engine: %v", err)
	}
}

func TestUndoOfAStop(t *testing.T) {
	for _, row := range []struct {
		name      string
		container platform.Container
		between   func(*testing.T, scene, ContainerStopTarget) // what happens from the inject to the undo
		inject    bool
		want      string
		wantErr   string
	}{
		{name: "it is started again", inject: true, want: "running"},
		{name: "never injected, it is not even touched", want: "running"},
		{name: "removed meanwhile, nothing is left", inject: true, want: "gone", between: func(t *testing.T, s scene, target ContainerStopTarget) {
			do(t, s.engine.Remove(t.Context(), target.ID, false))
		}},
		{name: "it comes down again at once, and that is said", inject: true, want: "exited", wantErr: "was started again",
			between: func(t *testing.T, s scene, target ContainerStopTarget) {
				do(t, s.engine.Start(t.Context(), target.ID))
				do(t, s.engine.Stop(t.Context(), target.ID, 0, ""))
			}},
		{name: "somebody started it, used it and stopped it: that is theirs", inject: true, want: "exited",
			between: func(t *testing.T, s scene, target ContainerStopTarget) {
				do(t, s.engine.Start(t.Context(), target.ID))
				time.Sleep(time.Minute)
				do(t, s.engine.Stop(t.Context(), target.ID, 0, ""))
			}},
		{name: "the engine is away, and that is not gone", inject: true, wantErr: platform.ErrUnreachable.Error(),
			between: func(_ *testing.T, s scene, _ ContainerStopTarget) { s.engine.SetDown(true) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(platform.Container{Name: "web", RestartPolicy: "always"})
				target := aimAt(t, s.World, containerStop{}, ContainerStopSpec{Select: ContainerSelect{Name: "web"}})
				if row.inject {
					inject(t, s.World, containerStop{}, target)
				}
				if row.between != nil {
					row.between(t, s, target)
				}
				before := s.starts(target.ID)
				err := (containerStop{}).Undo(t.Context(), s.World, target)
				if (err == nil) != (row.wantErr == "") || (err != nil && !strings.Contains(err.Error(), row.wantErr)) {
					t.Errorf("undo: %v, want %q", err, row.wantErr)
				}
				if row.want != "" && s.state(t, target.ID) != row.want {
					t.Errorf("it is %s, want %s", s.state(t, target.ID), row.want)
				}
				if !row.inject && s.starts(target.ID) != before {
					t.Error("undo restarted what was never stopped")
				}
			})
		})
	}
}

func do(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// starts tells one start of a container from another.
func (s scene) starts(id string) string {
	c, err := s.engine.Inspect(context.Background(), id)
	if err != nil {
		return err.Error()
	}
	return c.StartedAt
}

// Whoever asks cannot take it back: the engine goes on when its caller is gone.
func TestUndoWaitsForWhatIsUnderWay(t *testing.T) {
	for _, kind := range []string{"container.stop", "container.pause", "container.restart"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(platform.Container{Name: "web", StopGrace: 8 * time.Second})
				c := s.named(t, "web")
				s.engine.SetStubborn(c.ID)
				s.engine.SetSlow(time.Second)
				fault, _ := Find(kind)
				aimed, err := fault.Aim(t.Context(), s.World, []byte(`{"select":{"name":"web"}}`), experiments.Order{Victim: experiments.Candidate{ID: c.ID}})
				do(t, err)
				ctx, abort := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer abort()
				began := time.Now()
				if _, err := fault.Inject(ctx, s.World, aimed[0].Target); !errors.Is(err, context.DeadlineExceeded) {
					t.Fatalf("inject: %v", err)
				}
				if time.Since(began) > 100*time.Millisecond {
					t.Errorf("an aborted inject took %s", time.Since(began))
				}
				s.engine.SetSlow(0)
				do(t, fault.Undo(t.Context(), s.World, aimed[0].Target))
				time.Sleep(time.Minute)
				if state := s.state(t, c.ID); state != "running" {
					t.Errorf("a minute later it is %s: the act landed after undo had looked", state)
				}
			})
		})
	}
}

// An undo that is called long after the aim does not wait, and an inject does not begin any more.
func TestAnOldAimIsNeitherWaitedForNorUsed(t *testing.T) {
	for _, kind := range []string{"container.stop", "container.pause", "container.restart", "container.remove"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(platform.Container{Name: "web"})
				c := s.named(t, "web")
				fault, _ := Find(kind)
				aimed, err := fault.Aim(t.Context(), s.World, []byte(`{"select":{"name":"web"}}`), experiments.Order{Victim: experiments.Candidate{ID: c.ID}})
				do(t, err)
				s.host.Suspend(time.Hour)
				if _, err := fault.Inject(t.Context(), s.World, aimed[0].Target); !errors.Is(err, ErrChanged) {
					t.Errorf("inject: %v, want it refused", err)
				}
				began := time.Now()
				do(t, fault.Undo(t.Context(), s.World, aimed[0].Target))
				if time.Since(began) != 0 || s.state(t, c.ID) != "running" {
					t.Errorf("undo took %s, and it is %s", time.Since(began), s.state(t, c.ID))
				}
			})
		})
	}
}

func TestRestartThatStoppedHalfWayIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(platform.Container{Name: "web"})
		target := aimAt(t, s.World, containerRestart{}, ContainerRestartSpec{Select: ContainerSelect{Name: "web"}})
		do(t, s.engine.Stop(t.Context(), target.ID, 0, "")) // the first half of a restart, after which the engine died
		undo(t, s.World, containerRestart{}, target)
		if state := s.state(t, target.ID); state != "running" {
			t.Errorf("it is %s", state)
		}
	})
}

func TestAimAtWhatHasChanged(t *testing.T) {
	s := newScene(platform.Container{Name: "web"})
	c := s.named(t, "web")
	order := experiments.Order{Victim: experiments.Candidate{ID: c.ID, Name: "web"}}
	do(t, s.engine.Pause(t.Context(), c.ID))
	if _, err := (containerPause{}).Aim(t.Context(), s.World, ContainerPauseSpec{}, order); !errors.Is(err, ErrChanged) {
		t.Errorf("aim at a paused container: %v, want %v", err, ErrChanged)
	}
	do(t, s.engine.Remove(t.Context(), c.ID, false))
	if _, err := (containerPause{}).Aim(t.Context(), s.World, ContainerPauseSpec{}, order); !errors.Is(err, ErrGone) {
		t.Errorf("aim at a removed container: %v, want %v", err, ErrGone)
	}
}

func TestContainerDescriptionsAreComplete(t *testing.T) {
	for _, kind := range []string{"container.crash", "container.pause", "container.stop", "container.restart", "container.remove"} {
		t.Run(kind, func(t *testing.T) {
			s := newScene(platform.Container{Name: "web", RestartPolicy: "on-failure"})
			c := s.named(t, "web")
			fault, _ := Find(kind)
			aimed, err := fault.Aim(t.Context(), s.World, []byte(`{"select":{"name":"web"}}`), experiments.Order{Victim: experiments.Candidate{ID: c.ID}})
			do(t, err)
			d := aimed[0].Description
			if d.Kind != "container" || d.ID != c.ID || d.Name != "web" || d.Mechanism == "" || d.Keeper == "" || d.Undo == "" || !strings.Contains(d.Restart, "on-failure") {
				t.Errorf("%+v", d)
			}
			if len(d.Leases) != 1 || d.Leases[0] != "container/"+c.ID {
				t.Errorf("leases %v", d.Leases)
			}
			if about := fault.About; about.Undoable != (d.Keeper == experiments.KeeperJournal) && kind != "container.restart" {
				t.Errorf("undoable %v, kept by %s", about.Undoable, d.Keeper)
			}
		})
	}
}

func TestStopSettingsAreChecked(t *testing.T) {
	for _, row := range []struct {
		name  string
		grace time.Duration
		bad   bool
	}{
		{"no grace at all", 0, false},
		{"whole seconds", 90 * time.Second, false},
		{"half a second, which no engine knows", 500 * time.Millisecond, true},
		{"less than nothing", -time.Second, true},
		{"longer than an undo would wait", time.Hour, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			grace := experiments.Duration(row.grace)
			spec := ContainerStopSpec{Select: ContainerSelect{Name: "web"}, Grace: &grace}
			if problems := spec.Check(); (len(problems) > 0) != row.bad {
				t.Errorf("problems: %v", problems)
			}
		})
	}
}

// Who lives in another's network namespace loses its network when the other ends, and for good.
func TestH34_WhoLivesInAnothersNamespaceIsNotForgotten(t *testing.T) {
	s := newScene(platform.Container{Name: "web"}, platform.Container{Name: "sleeper", State: "exited"})
	web := s.named(t, "web")
	s.engine.Add(platform.Container{Name: "sidecar", NetworkMode: "container:" + web.ID})
	for _, kind := range []string{"container.crash", "container.stop", "container.restart", "container.remove", "container.pause"} {
		t.Run(kind, func(t *testing.T) {
			fault, _ := Find(kind)
			settings := []byte(`{"select":{"name":"web"}}`)
			choice, err := fault.Choose(t.Context(), s.World, settings)
			do(t, err)
			order := experiments.Order{Victim: choice.Matched[0]}
			aimed, err := fault.Aim(t.Context(), s.World, settings, order)
			if kind == "container.pause" { // nothing ends
				if err != nil || len(aimed[0].Description.Hits) != 0 {
					t.Errorf("%v, %+v", err, aimed)
				}
				return
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "sidecar") || !strings.Contains(err.Error(), "shared-namespace") {
				t.Errorf("aim: %v, want it refused by the name of who would suffer", err)
			}
			order.Allow = []experiments.Door{experiments.DoorSharedNamespace}
			aimed, err = fault.Aim(t.Context(), s.World, settings, order)
			do(t, err)
			if hits := aimed[0].Description.Hits; len(hits) != 1 || hits[0] != "sidecar" {
				t.Errorf("hits %v, want the sidecar counted", hits)
			}
		})
	}
}
