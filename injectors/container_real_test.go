package injectors

import (
	"context"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// dockerAt runs the docker command against an engine; "" is the usual one.
func dockerAt(t *testing.T, host string, args ...string) string {
	t.Helper()
	if host != "" {
		args = append([]string{"--host", host}, args...)
	}
	out, err := exec.Command("docker", args...).CombinedOutput()
	if err != nil {
		t.Fatalf("docker %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestH53_CrashLeavesTheRestartPolicyInForce(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Restart("always"), testenv.Health())
	b.WaitHealth(20*time.Second, "healthy")
	before := b.PID()
	target := aimAt(t, w, containerCrash{}, ContainerCrashSpec{Select: ContainerSelect{Name: b.Name}})
	if target.Init == nil {
		t.Fatalf("a local container was taken for a remote one: %s", target.Remote)
	}
	inject(t, w, containerCrash{}, target)
	waitEffect(t, w, containerCrash{}, target, experiments.EffectOn)
	var back experiments.Return
	seen := map[experiments.ReturnState]bool{}
	testenv.Eventually(t, 20*time.Second, "the restart policy brings the container back, healthy", func() bool {
		var err error
		if back, err = (containerCrash{}).Return(t.Context(), w, target); err != nil {
			t.Fatal(err)
		}
		seen[back.State] = true
		return back.State == experiments.ReturnHealthy
	})
	if back.By != "restart policy always" || !seen[experiments.ReturnUp] {
		t.Errorf("it came back by %q, through %v", back.By, seen)
	}
	if after := b.PID(); after == before || after == 0 {
		t.Errorf("its pid was %d and is %d", before, after)
	}
	if got := b.Inspect("{{.RestartCount}}"); got != "1" {
		t.Errorf("the engine counts %s restarts, want 1", got)
	}
	undo(t, w, containerCrash{}, target)
}

func TestH53_StopLeavesItDownAndUndoStartsIt(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Restart("always"))
	target := aimAt(t, w, containerStop{}, ContainerStopSpec{Select: ContainerSelect{Name: b.Name}})
	inject(t, w, containerStop{}, target)
	waitEffect(t, w, containerStop{}, target, experiments.EffectOn)
	if state := b.State(); state != "exited" {
		t.Errorf("it is %s, want exited: restart: always must not bring a stopped container back", state)
	}
	undo(t, w, containerStop{}, target)
	if state := b.State(); state != "running" {
		t.Errorf("after undo it is %s", state)
	}
	pid := b.PID()
	undo(t, w, containerStop{}, target)
	if b.PID() != pid {
		t.Error("a second undo restarted it")
	}
}

func TestStopWithASignalOfItsOwn(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Args("-ignore-term"))
	grace := experiments.Duration(30 * time.Second)
	target := aimAt(t, w, containerStop{}, ContainerStopSpec{Select: ContainerSelect{Name: b.Name}, Signal: "SIGQUIT", Grace: &grace})
	began := time.Now()
	inject(t, w, containerStop{}, target)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s: SIGQUIT ends it at once, and this engine had to be told twice", took)
	}
	if code := b.Inspect("{{.State.ExitCode}}"); code != "2" {
		t.Errorf("exit code %s, want 2: Go's answer to SIGQUIT", code)
	}
	undo(t, w, containerStop{}, target)
	if state := b.State(); state != "running" {
		t.Errorf("after undo it is %s", state)
	}
}

// The act goes on in the engine when its caller has gone: undo has to wait for it.
func TestUndoJoinsAStopThatIsUnderWay(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Args("-ignore-term"))
	grace := experiments.Duration(2 * time.Second)
	target := aimAt(t, w, containerStop{}, ContainerStopSpec{Select: ContainerSelect{Name: b.Name}, Grace: &grace})
	ctx, abort := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer abort()
	began := time.Now()
	if _, err := (containerStop{}).Inject(ctx, w, target); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("inject: %v, want it cut short", err)
	}
	if took := time.Since(began); took > time.Second {
		t.Errorf("an aborted inject took %s", took)
	}
	started := b.Inspect("{{.State.StartedAt}}")
	undo(t, w, containerStop{}, target)
	if b.State() != "running" || b.Inspect("{{.State.StartedAt}}") == started {
		t.Errorf("after undo it is %s, started at %s: the stop landed after undo had looked", b.State(), b.Inspect("{{.State.StartedAt}}"))
	}
}

func TestStopRefusesWhatItsEngineWouldRemove(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Engine("--rm"))
	_, err := (containerStop{}).Aim(t.Context(), w, ContainerStopSpec{}, experiments.Order{Victim: experiments.Candidate{ID: b.ID}})
	if !errors.Is(err, ErrRefused) {
		t.Errorf("aim: %v, want it refused", err)
	}
}

func TestH55_PausedByOthersStaysPaused(t *testing.T) {
	w := dockerWorld(t)
	ours, theirs := box(t, testenv.Labelled("pair", t.Name())), box(t, testenv.Labelled("pair", t.Name()))
	dockerDo(t, "pause", theirs.ID)
	t.Cleanup(func() { dockerDo(t, "unpause", theirs.ID) })
	spec := ContainerPauseSpec{Select: ContainerSelect{Labels: map[string]string{"pair": t.Name()}}, Pick: experiments.Pick{All: true}}
	choice, err := (containerPause{}).Choose(t.Context(), w, spec)
	if err != nil {
		t.Fatal(err)
	}
	if len(choice.Matched) != 1 || len(choice.Skipped) != 1 || choice.Skipped[0].Name != theirs.Name {
		t.Fatalf("matched %v, skipped %v", choice.Matched, choice.Skipped)
	}
	target := aimAtVictim(t, w, containerPause{}, spec, choice.Matched[0])
	inject(t, w, containerPause{}, target)
	waitEffect(t, w, containerPause{}, target, experiments.EffectOn)
	if ours.State() != "paused" {
		t.Errorf("ours is %s", ours.State())
	}
	undo(t, w, containerPause{}, target)
	if ours.State() != "running" || theirs.State() != "paused" {
		t.Errorf("after undo ours is %s and theirs is %s", ours.State(), theirs.State())
	}
}

func TestUndoOfAPauseThatSomebodyElseEnded(t *testing.T) {
	w := dockerWorld(t)
	b := box(t)
	target := aimAt(t, w, containerPause{}, ContainerPauseSpec{Select: ContainerSelect{ID: b.ID}})
	inject(t, w, containerPause{}, target)
	dockerDo(t, "restart", "--time", "0", b.ID)
	dockerDo(t, "pause", b.ID)
	t.Cleanup(func() { dockerDo(t, "unpause", b.ID) })
	waitEffect(t, w, containerPause{}, target, experiments.EffectGone)
	undo(t, w, containerPause{}, target)
	if b.State() != "paused" {
		t.Errorf("it is %s: the second pause was not ours to end", b.State())
	}
}

func TestH12_RecreatedUnderTheSameNameIsAnother(t *testing.T) {
	w := dockerWorld(t)
	for _, fault := range []string{"container.pause", "container.stop", "container.restart", "container.crash"} {
		t.Run(fault, func(t *testing.T) {
			old := box(t)
			f, _ := Find(fault)
			aimed, err := f.Aim(t.Context(), w, []byte(`{"select":{"name":"`+old.Name+`"}}`), experiments.Order{Victim: experiments.Candidate{ID: old.ID}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Inject(t.Context(), w, aimed[0].Target); err != nil {
				t.Fatal(err)
			}
			dockerDo(t, "rm", "--force", old.ID)
			fresh := box(t, testenv.Named(old.Name))
			dockerDo(t, "pause", fresh.ID)
			t.Cleanup(func() { dockerDo(t, "unpause", fresh.ID) })
			effect, err := f.Confirm(t.Context(), w, aimed[0].Target)
			// A crash asks for its init only, and that is dead.
			if want := fault == "container.crash"; err == nil != want || (!want && !errors.Is(err, ErrGone)) {
				t.Errorf("confirm: %+v, %v", effect, err)
			}
			if err := f.Undo(t.Context(), w, aimed[0].Target); err != nil {
				t.Errorf("undo: %v", err)
			}
			if fresh.State() != "paused" {
				t.Errorf("the new container is %s: it was touched", fresh.State())
			}
			if _, err := f.Inject(t.Context(), w, aimed[0].Target); !errors.Is(err, ErrGone) {
				t.Errorf("inject into what is gone: %v", err)
			}
		})
	}
}

func TestH17_RealStatesAreSkipped(t *testing.T) {
	w := dockerWorld(t)
	label := testenv.Labelled("states", t.Name())
	up, paused, stopped := box(t, label), box(t, label), box(t, label)
	dockerDo(t, "pause", paused.ID)
	t.Cleanup(func() { dockerDo(t, "unpause", paused.ID) })
	dockerDo(t, "stop", "--time", "0", stopped.ID)
	created := dockerDo(t, "create", "--label", "states="+t.Name(), "--name", up.Name+"-created", testenv.Image(t))
	t.Cleanup(func() { dockerDo(t, "rm", "--force", created) })
	looping := box(t, label, testenv.Restart("always"), testenv.Args("-crash-after", "1ms"))
	looping.WaitState(30*time.Second, "restarting")
	var choice experiments.Choice
	testenv.Eventually(t, 30*time.Second, "the looping container is seen restarting", func() bool {
		var err error
		choice, err = ContainerSelect{Labels: map[string]string{"states": t.Name()}}.Choose(t.Context(), w, experiments.Pick{All: true})
		return err == nil && len(choice.Skipped) == 4
	})
	if len(choice.Matched) != 1 || choice.Matched[0].ID != up.ID {
		t.Errorf("matched %v, want %s alone", choice.Matched, up.Name)
	}
	why := map[string]string{paused.Name: "paused", stopped.Name: "exited", up.Name + "-created": "created", looping.Name: "restarting"}
	for _, skipped := range choice.Skipped {
		if !strings.Contains(skipped.Why, why[skipped.Name]) {
			t.Errorf("%s is skipped because %q, want %q", skipped.Name, skipped.Why, why[skipped.Name])
		}
	}
}

func TestH20_ASupervisorStartsItMeanwhile(t *testing.T) {
	w := dockerWorld(t)
	b := box(t)
	target := aimAt(t, w, containerStop{}, ContainerStopSpec{Select: ContainerSelect{Name: b.Name}})
	inject(t, w, containerStop{}, target)
	dockerDo(t, "start", b.ID)
	pid := b.PID()
	waitEffect(t, w, containerStop{}, target, experiments.EffectGone)
	undo(t, w, containerStop{}, target)
	if b.PID() != pid {
		t.Error("undo restarted what somebody else had started")
	}
}

func TestRestart(t *testing.T) {
	w := dockerWorld(t)
	b := box(t, testenv.Health())
	target := aimAt(t, w, containerRestart{}, ContainerRestartSpec{Select: ContainerSelect{Name: b.Name}})
	inject(t, w, containerRestart{}, target)
	waitEffect(t, w, containerRestart{}, target, experiments.EffectOn)
	testenv.Eventually(t, 20*time.Second, "it is healthy again", func() bool {
		back, err := (containerRestart{}).Return(t.Context(), w, target)
		return err == nil && back.State == experiments.ReturnHealthy && back.By == "the restart itself"
	})
	pid := b.PID()
	undo(t, w, containerRestart{}, target)
	if b.PID() != pid {
		t.Error("undo touched a container that had come back")
	}
}

func TestRemoveKeepsVolumesUnlessAsked(t *testing.T) {
	w := dockerWorld(t)
	for _, row := range []struct {
		name    string
		volumes bool
	}{{"unsaid, volumes stay", false}, {"asked for, anonymous volumes go too", true}} {
		t.Run(row.name, func(t *testing.T) {
			b := box(t, testenv.Engine("--volume", "/data"))
			volume := b.Inspect(`{{range .Mounts}}{{.Name}}{{end}}`)
			target := aimAt(t, w, containerRemove{}, ContainerRemoveSpec{Select: ContainerSelect{Name: b.Name}, Volumes: row.volumes})
			inject(t, w, containerRemove{}, target)
			waitEffect(t, w, containerRemove{}, target, experiments.EffectOn)
			undo(t, w, containerRemove{}, target)
			left := dockerDo(t, "volume", "ls", "--quiet", "--filter", "name="+volume)
			if (left == "") != row.volumes {
				t.Errorf("volume %s: %q is left", volume, left)
			}
			if left != "" {
				dockerDo(t, "volume", "rm", volume)
			}
		})
	}
}

func TestH52_NothingIsNeededInTheTarget(t *testing.T) {
	w := dockerWorld(t)
	for _, fault := range []string{"container.crash", "container.pause", "container.stop", "container.restart", "container.remove"} {
		t.Run(fault, func(t *testing.T) {
			// The image holds one static file. Nothing can be written, and nobody is root.
			b := box(t, testenv.Engine("--read-only", "--user", "65534:65534", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64"))
			f, _ := Find(fault)
			aimed, err := f.Aim(t.Context(), w, []byte(`{"select":{"name":"`+b.Name+`"}}`), experiments.Order{Victim: experiments.Candidate{ID: b.ID}})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.Inject(t.Context(), w, aimed[0].Target); err != nil {
				t.Fatal(err)
			}
			testenv.Eventually(t, 10*time.Second, "it is in effect", func() bool {
				effect, err := f.Confirm(t.Context(), w, aimed[0].Target)
				return err == nil && effect.State == experiments.EffectOn
			})
			if fault != "container.remove" {
				if changed := dockerDo(t, "diff", b.ID); strings.Contains(changed, "A ") {
					t.Errorf("something was written into it:\n%s", changed)
				}
			}
			if err := f.Undo(t.Context(), w, aimed[0].Target); err != nil {
				t.Errorf("undo: %v", err)
			}
			if f.About.Undoable && b.State() != "running" {
				t.Errorf("after undo it is %s", b.State())
			}
		})
	}
}

func TestGuestsOfARealNamespace(t *testing.T) {
	w := dockerWorld(t)
	host := box(t)
	guest := testenv.Container(t, testenv.Engine("--network", "container:"+host.Name), testenv.Args())
	choice, err := ContainerSelect{Name: host.Name}.Choose(t.Context(), w, experiments.Pick{})
	if err != nil || len(choice.Matched) != 1 {
		t.Fatalf("matched %v, %v", choice.Matched, err)
	}
	if guests := choice.Matched[0].Guests; len(guests) != 1 || guests[0] != guest.Name {
		t.Errorf("guests %v, want %s", guests, guest.Name)
	}
}
