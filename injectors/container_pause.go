package injectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ContainerPauseSpec is what an author may ask of container.pause.
type ContainerPauseSpec struct {
	Select ContainerSelect  `json:"select"`
	Pick   experiments.Pick `json:"pick,omitzero"`
}

// Check gives every problem of the settings.
func (s ContainerPauseSpec) Check() []experiments.FieldProblem {
	return checkContainerFault(s.Select, s.Pick)
}

// ContainerPauseTarget is one container that ran when it was aimed at: only
// such a one is unpaused again, since a pause bears no name.
type ContainerPauseTarget struct {
	containerID
	Policy string  `json:"policy"`
	Lands  landing `json:"lands"`
}

// containerPause freezes every process of a container: it neither answers nor
// refuses, which is what a hung machine looks like from outside.
type containerPause struct{}

var containerPauseAbout = About{
	Kind:     "container.pause",
	Summary:  "freeze all processes of a container (engine pause); undo lets them go on",
	Undoable: true,
	Doors:    []string{string(experiments.DoorLastReplica), string(experiments.DoorOverlap), string(experiments.DoorUnkept)},
	Example: `- name: one replica hangs
  at: 0s
  for: 20s
  # Frozen, it keeps its connections and answers nobody: only timeouts help its clients.
  container.pause:
    # Keys: name, id, labels, image, compose: {project, service}, regexp (on the name); all given must hold.
    select: {labels: {app: checkout}}
    pick: 1 # or 50%, or all
`,
}

// pauseTakes is how long a pause that was asked for can take.
const pauseTakes = 2 * time.Second

func (containerPause) Choose(ctx context.Context, w World, s ContainerPauseSpec) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

func (containerPause) Aim(ctx context.Context, w World, _ ContainerPauseSpec, o experiments.Order) ([]ContainerPauseTarget, error) {
	c, id, err := aimContainer(ctx, w, o.Victim)
	if err != nil {
		return nil, err
	}
	return []ContainerPauseTarget{{containerID: id, Policy: c.RestartPolicy, Lands: landsWithin(w.Host, pauseTakes)}}, nil
}

// Describe says what is hit, and how.
func (t ContainerPauseTarget) Describe() experiments.Description {
	d := t.describe()
	d.Mechanism = "engine API pause (cgroup freezer)"
	d.Keeper = experiments.KeeperJournal
	d.Undo = "the engine unpauses it, and it is seen running; one that was removed or started again is left alone"
	d.Restart = t.Policy
	d.Lands = t.Lands.Takes
	return d
}

func (containerPause) Inject(ctx context.Context, w World, t ContainerPauseTarget) (Held, error) {
	if err := t.stillRuns(ctx, w, t.Lands); err != nil {
		return nil, err
	}
	return nil, w.Engine.Pause(ctx, t.ID)
}

func (containerPause) Confirm(ctx context.Context, w World, t ContainerPauseTarget) (experiments.Effect, error) {
	c, err := t.look(ctx, w)
	switch {
	case err != nil:
		return experiments.Effect{}, err
	case !t.is(c):
		return t.another(c), nil
	case c.State == "paused":
		return experiments.Effect{State: experiments.EffectOn, Why: "the engine says that it is paused"}, nil
	case down(c):
		return experiments.Effect{State: experiments.EffectGone, Why: fmt.Sprintf("container %s is %s", t.Name, c.State)}, nil
	}
	return experiments.Effect{State: experiments.EffectOff, Why: "the engine says that it is " + c.State}, nil
}

// Undo joins a pause that may still be under way, and unpauses what it froze.
func (containerPause) Undo(ctx context.Context, w World, t ContainerPauseTarget) error {
	c, err := t.Lands.join(ctx, w, t.containerID, func(c platform.Container) bool { return !t.is(c) || c.State != "running" })
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err != nil:
		return fmt.Errorf("unpause container %s: %w", t.Name, err)
	case !t.is(c), c.State != "paused":
		return nil // started again, ended, or never paused: a pause in it now is somebody else's
	}
	unpaused := w.Engine.Unpause(ctx, t.ID) // whatever it says: what counts is what is seen now
	c, err = t.look(ctx, w)
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err != nil:
		return fmt.Errorf("see whether container %s goes on: %w", t.Name, errors.Join(err, unpaused))
	case t.is(c) && c.State == "paused":
		return errors.Join(unpaused, fmt.Errorf("container %s is still paused: `docker unpause %s` may say why", t.Name, t.Name))
	}
	return nil
}
