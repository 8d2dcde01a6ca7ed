package injectors

import (
	"context"
	"errors"
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ContainerCrashSpec is what an author may ask of container.crash.
type ContainerCrashSpec struct {
	Select ContainerSelect  `json:"select"`
	Pick   experiments.Pick `json:"pick,omitzero"`
}

// Check gives every problem of the settings.
func (s ContainerCrashSpec) Check() []experiments.FieldProblem {
	return checkContainerFault(s.Select, s.Pick)
}

// ContainerCrashTarget is one container that is to crash.
type ContainerCrashTarget struct {
	containerID
	Init     *platform.ProcessID `json:"init,omitempty"`   // nil: only the engine can reach it
	Remote   string              `json:"remote,omitempty"` // why
	Policy   string              `json:"policy"`
	Restarts int                 `json:"restarts"` // counted before the crash
	Checked  bool                `json:"checked"`  // it has a health check of its own
}

// containerCrash kills a container's init from outside, as the kernel does when
// memory runs out: the engine sees a crash, and the restart policy applies.
type containerCrash struct{}

var containerCrashAbout = About{
	Kind:    "container.crash",
	Summary: "kill a container's init from outside (SIGKILL), so that its restart policy applies",
	Doors:   []string{string(experiments.DoorLastReplica), string(experiments.DoorSharedNamespace), string(experiments.DoorOverlap)},
	Example: `- name: crash one replica
  at: 0s
  # SIGKILL from outside: unlike docker kill, it leaves the restart policy in force.
  container.crash:
    # Keys: name, id, labels, image, compose: {project, service}, regexp (on the name); all given must hold.
    select: {labels: {app: checkout}}
    pick: 1 # or 50%, or all
`,
}

func (containerCrash) Choose(ctx context.Context, w World, s ContainerCrashSpec) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

func (containerCrash) Aim(ctx context.Context, w World, _ ContainerCrashSpec, o experiments.Order) ([]ContainerCrashTarget, error) {
	if err := mayEnd(o); err != nil {
		return nil, err
	}
	c, err := inspectVictim(ctx, w, o.Victim)
	if err != nil {
		return nil, err
	}
	t := ContainerCrashTarget{Policy: c.RestartPolicy, Restarts: c.RestartCount, Checked: c.Health != "none"}
	init, err := w.Engine.Init(ctx, c)
	if err == nil {
		if err = w.Processes.MaySignal(ctx, init); err != nil {
			w.Processes.Release(init)
		}
		t.Init = &init
	}
	switch {
	case err == nil:
	case errors.Is(err, platform.ErrUnsupported), errors.Is(err, platform.ErrDenied):
		t.Init, t.Remote = nil, err.Error()
	case errors.Is(err, platform.ErrGone), errors.Is(err, platform.ErrNotOurs):
		return nil, fmt.Errorf("%w: %w", ErrChanged, err)
	default:
		return nil, err
	}
	if t.containerID, err = identify(ctx, w, c); err != nil {
		if t.Init != nil {
			w.Processes.Release(*t.Init)
		}
		return nil, err
	}
	t.Guests = o.Victim.Guests
	return []ContainerCrashTarget{t}, nil
}

// Describe says what is hit, and how.
func (t ContainerCrashTarget) Describe() experiments.Description {
	d := t.describe()
	d.Keeper = experiments.KeeperNone
	d.Undo = "nothing to undo: a crash is over at once, and what starts the container again is what is being tested"
	d.Restart = t.Policy
	d.Asked = map[string]string{"signal": "SIGKILL"}
	d.Mechanism = "pidfd_send_signal to the container's init"
	if t.Init == nil {
		d.Mechanism = "engine API kill (remote)"
		d.Notes = append(d.Notes, "its init cannot be reached from here: "+t.Remote)
		if t.Policy != "no" {
			d.Notes = append(d.Notes, "the engine takes its own kill for a manual stop: restart policy "+t.Policy+" will NOT apply, and the container stays down until somebody starts it")
		}
	}
	return d
}

func (containerCrash) Inject(ctx context.Context, w World, t ContainerCrashTarget) (Held, error) {
	if t.Init == nil {
		return nil, killByEngine(ctx, w, t.containerID)
	}
	err := w.Processes.Signal(ctx, *t.Init, platform.SignalKill)
	if errors.Is(err, platform.ErrGone) {
		err = fmt.Errorf("container %s ended before it was hit: %w: %w", t.Name, ErrGone, err)
	}
	return nil, err
}

func killByEngine(ctx context.Context, w World, id containerID) error {
	c, err := id.look(ctx, w)
	if err != nil {
		return err
	}
	if !id.is(c) || c.State != "running" {
		return fmt.Errorf("kill container %s: it is %s since %s: %w", id.Name, c.State, c.StartedAt, ErrChanged)
	}
	return w.Engine.Kill(ctx, id.ID, "SIGKILL")
}

func (containerCrash) Confirm(ctx context.Context, w World, t ContainerCrashTarget) (experiments.Effect, error) {
	if t.Init == nil {
		return t.confirmByEngine(ctx, w)
	}
	state, err := w.Processes.State(ctx, *t.Init)
	switch {
	case errors.Is(err, platform.ErrGone):
		return experiments.Effect{State: experiments.EffectOn, Why: fmt.Sprintf("its init, pid %d, has died", t.Init.PID)}, nil
	case err != nil:
		return experiments.Effect{}, err
	}
	return experiments.Effect{State: experiments.EffectOff, Why: fmt.Sprintf("its init, pid %d, is there (state %s)", t.Init.PID, state)}, nil
}

func (t ContainerCrashTarget) confirmByEngine(ctx context.Context, w World) (experiments.Effect, error) {
	c, err := t.look(ctx, w)
	switch {
	case errors.Is(err, ErrGone):
		return experiments.Effect{State: experiments.EffectOn, Why: "the engine removed the container when it died"}, nil
	case err != nil:
		return experiments.Effect{}, err
	case t.is(c) && c.State == "running":
		return experiments.Effect{State: experiments.EffectOff, Why: "the engine says that it runs"}, nil
	}
	return experiments.Effect{State: experiments.EffectOn, Why: fmt.Sprintf("the engine says that it is %s (exit code %d)", c.State, c.ExitCode)}, nil
}

// Return tells what brought the container back.
func (containerCrash) Return(ctx context.Context, w World, t ContainerCrashTarget) (experiments.Return, error) {
	return returned(ctx, w, t.containerID, t.Policy, t.Restarts)
}

// returned looks whether a container runs again, and who started it: only a
// restart policy raises the engine's restart count.
func returned(ctx context.Context, w World, id containerID, policy string, restarts int) (experiments.Return, error) {
	c, err := id.look(ctx, w)
	if errors.Is(err, ErrGone) {
		return experiments.Return{State: experiments.ReturnDown, Why: err.Error()}, nil
	}
	if err != nil {
		return experiments.Return{}, err
	}
	if id.is(c) || c.State != "running" {
		return experiments.Return{State: experiments.ReturnDown}, nil
	}
	back := experiments.Return{State: experiments.ReturnUp, By: "somebody who started it", As: fmt.Sprintf("pid %d, started at %s", c.PID, c.StartedAt)}
	if c.RestartCount > restarts {
		back.By = "restart policy " + policy
	}
	if c.Health == "healthy" {
		back.State = experiments.ReturnHealthy
	}
	return back, nil
}

// Undo closes the pidfd and changes nothing: what a crash broke is the
// container's own to mend, and starting it here would hide that it did not.
func (containerCrash) Undo(_ context.Context, w World, t ContainerCrashTarget) error {
	if t.Init != nil {
		w.Processes.Release(*t.Init)
	}
	return nil
}

var _ Returner[ContainerCrashTarget] = containerCrash{}
