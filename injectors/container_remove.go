package injectors

import (
	"context"
	"errors"
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
)

// ContainerRemoveSpec is what an author may ask of container.remove.
type ContainerRemoveSpec struct {
	Select  ContainerSelect  `json:"select"`
	Pick    experiments.Pick `json:"pick,omitzero"`
	Volumes bool             `json:"volumes,omitempty"` // its anonymous volumes too
}

// Check gives every problem of the settings.
func (s ContainerRemoveSpec) Check() []experiments.FieldProblem {
	return checkContainerFault(s.Select, s.Pick)
}

// ContainerRemoveTarget is one container that is to be removed.
type ContainerRemoveTarget struct {
	containerID
	Volumes bool    `json:"volumes"`
	Policy  string  `json:"policy"`
	Lands   landing `json:"lands"`
}

// containerRemove kills a container and removes it with all that was written into it.
type containerRemove struct{}

var containerRemoveAbout = About{
	Kind:         "container.remove",
	Summary:      "kill and remove a container with all that was written into it; cannot be undone",
	Irreversible: true,
	Doors:        []string{string(experiments.DoorIrreversible), string(experiments.DoorLastReplica), string(experiments.DoorSharedNamespace), string(experiments.DoorOverlap)},
	Example: `- name: one replica is lost for good
  at: 0s
  allow: [irreversible] # what was written into the container is lost with it
  container.remove:
    # Keys: name, id, labels, image, compose: {project, service}, regexp (on the name); all given must hold.
    select: {labels: {app: checkout}}
    pick: 1 # or 50%, or all
    volumes: false # true: its anonymous volumes are lost too
`,
}

func (containerRemove) Choose(ctx context.Context, w World, s ContainerRemoveSpec) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

func (containerRemove) Aim(ctx context.Context, w World, s ContainerRemoveSpec, o experiments.Order) ([]ContainerRemoveTarget, error) {
	c, id, err := aimToEnd(ctx, w, o)
	if err != nil {
		return nil, err
	}
	return []ContainerRemoveTarget{{containerID: id, Volumes: s.Volumes, Policy: c.RestartPolicy, Lands: landsWithin(w.Host, stopSlack)}}, nil
}

// Describe says what is hit, and how.
func (t ContainerRemoveTarget) Describe() experiments.Description {
	d := t.describe()
	d.Mechanism = "engine API remove (forced)"
	d.Keeper = experiments.KeeperNone
	d.Undo = "cannot be undone: the container and all that was written into it are gone; whoever made it must make it again"
	d.Restart = t.Policy + " (does not bring back what was removed)"
	d.Asked = map[string]string{"volumes": "kept"}
	if t.Volumes {
		d.Asked["volumes"] = "anonymous ones removed"
	}
	return d
}

func (containerRemove) Inject(ctx context.Context, w World, t ContainerRemoveTarget) (Held, error) {
	if err := t.stillRuns(ctx, w, t.Lands); err != nil {
		return nil, err
	}
	return nil, w.Engine.Remove(ctx, t.ID, t.Volumes)
}

func (containerRemove) Confirm(ctx context.Context, w World, t ContainerRemoveTarget) (experiments.Effect, error) {
	c, err := t.look(ctx, w)
	switch {
	case errors.Is(err, ErrGone):
		return experiments.Effect{State: experiments.EffectOn, Why: "the engine has no such container any more"}, nil
	case err != nil:
		return experiments.Effect{}, err
	case c.State == "running":
		return experiments.Effect{State: experiments.EffectOff, Why: "the engine says that it runs"}, nil
	}
	return experiments.Effect{State: experiments.EffectPartly, Why: fmt.Sprintf("the engine has it still, %s", c.State)}, nil
}

// Undo changes nothing: a container that was removed cannot be had back, and
// making another one of its name is its owner's to do.
func (containerRemove) Undo(context.Context, World, ContainerRemoveTarget) error { return nil }
