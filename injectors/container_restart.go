package injectors

import (
	"context"
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ContainerRestartSpec is what an author may ask of container.restart.
type ContainerRestartSpec struct {
	Select ContainerSelect       `json:"select"`
	Pick   experiments.Pick      `json:"pick,omitzero"`
	Grace  *experiments.Duration `json:"grace,omitempty"` // until it is killed; default: the container's own
}

// Check gives every problem of the settings.
func (s ContainerRestartSpec) Check() []experiments.FieldProblem {
	return append(checkContainerFault(s.Select, s.Pick), checkGrace(s.Grace)...)
}

// ContainerRestartTarget is one container that is to be restarted.
type ContainerRestartTarget struct {
	containerID
	Grace  experiments.Duration `json:"grace"`
	Policy string               `json:"policy"`
	Lands  landing              `json:"lands"`
}

// containerRestart stops a container with grace and starts it at once, as a deployment does.
type containerRestart struct{}

var containerRestartAbout = About{
	Kind:    "container.restart",
	Summary: "stop a container with grace and start it at once, as docker restart does",
	Doors:   []string{string(experiments.DoorLastReplica), string(experiments.DoorSharedNamespace), string(experiments.DoorOverlap), string(experiments.DoorUnkept)},
	Example: `- name: one replica restarts
  at: 0s
  container.restart:
    # Keys: name, id, labels, image, compose: {project, service}, regexp (on the name); all given must hold.
    select: {labels: {app: checkout}}
    pick: 1 # or 50%, or all
    grace: 10s # until it is killed; left out: the container's own
`,
}

func (containerRestart) Choose(ctx context.Context, w World, s ContainerRestartSpec) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

func (containerRestart) Aim(ctx context.Context, w World, s ContainerRestartSpec, o experiments.Order) ([]ContainerRestartTarget, error) {
	c, id, err := aimToEnd(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if c.AutoRemove {
		return nil, fmt.Errorf("restart container %s: it was started with --rm, and an engine that dies half-way would remove it: use container.crash or container.pause: %w", c.Name, ErrRefused)
	}
	grace := graceOf(c, s.Grace)
	return []ContainerRestartTarget{{
		containerID: id, Grace: experiments.Duration(grace), Policy: c.RestartPolicy,
		Lands: landsWithin(w.Host, grace+2*stopSlack),
	}}, nil
}

// Describe says what is hit, and how.
func (t ContainerRestartTarget) Describe() experiments.Description {
	d := t.describe()
	d.Mechanism = "engine API restart"
	d.Keeper = experiments.KeeperJournal
	d.Undo = "nothing to undo once it runs again; one that was stopped and not started (the engine died in between) is started"
	d.Restart = t.Policy
	d.Asked = map[string]string{"grace": t.Grace.String()}
	d.Lands = t.Lands.Takes
	return d
}

func (containerRestart) Inject(ctx context.Context, w World, t ContainerRestartTarget) (Held, error) {
	if err := t.stillRuns(ctx, w, t.Lands); err != nil {
		return nil, err
	}
	return nil, w.Engine.Restart(ctx, t.ID, t.Grace.Std())
}

func (containerRestart) Confirm(ctx context.Context, w World, t ContainerRestartTarget) (experiments.Effect, error) {
	c, err := t.look(ctx, w)
	switch {
	case err != nil:
		return experiments.Effect{}, err
	case !t.is(c):
		return experiments.Effect{State: experiments.EffectOn, Why: fmt.Sprintf("it was started again at %s and is %s", c.StartedAt, c.State)}, nil
	case c.State == "running":
		return experiments.Effect{State: experiments.EffectOff, Why: "it has been running since " + c.StartedAt}, nil
	}
	return experiments.Effect{State: experiments.EffectPartly, Why: "it is " + c.State + " and has not been started again"}, nil
}

// Return tells whether the container is up again after its restart.
func (containerRestart) Return(ctx context.Context, w World, t ContainerRestartTarget) (experiments.Return, error) {
	back, err := returned(ctx, w, t.containerID, t.Policy, 1<<30)
	if back.By != "" {
		back.By = "the restart itself"
	}
	return back, err
}

// Undo joins a restart that may still be under way, and starts what it left stopped.
func (containerRestart) Undo(ctx context.Context, w World, t ContainerRestartTarget) error {
	c, err := t.Lands.join(ctx, w, t.containerID, func(c platform.Container) bool { return !t.is(c) })
	return t.bringBack(ctx, w, c, err)
}
