package injectors

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ContainerStopSpec is what an author may ask of container.stop.
type ContainerStopSpec struct {
	Select ContainerSelect       `json:"select"`
	Pick   experiments.Pick      `json:"pick,omitzero"`
	Grace  *experiments.Duration `json:"grace,omitempty"`  // until it is killed; default: the container's own
	Signal Signal                `json:"signal,omitempty"` // default: the container's own
}

// Check gives every problem of the settings.
func (s ContainerStopSpec) Check() []experiments.FieldProblem {
	return append(checkContainerFault(s.Select, s.Pick), checkGrace(s.Grace)...)
}

// longestGrace keeps an undo that has to wait for a stop from waiting for ever.
const longestGrace = 10 * time.Minute

func checkGrace(grace *experiments.Duration) []experiments.FieldProblem {
	if grace == nil || (*grace >= 0 && grace.Std() <= longestGrace && grace.Std()%time.Second == 0) {
		return nil
	}
	return []experiments.FieldProblem{{Field: "grace", Problem: fmt.Sprintf("%s is no grace an engine knows: write whole seconds from 0s to %s", *grace, longestGrace)}}
}

// ContainerStopTarget is one container that is to be stopped.
type ContainerStopTarget struct {
	containerID
	Grace  experiments.Duration `json:"grace"`
	Signal Signal               `json:"signal,omitempty"`
	Policy string               `json:"policy"`
	Lands  landing              `json:"lands"`
}

// containerStop stops a container as an operator would, and starts it again.
type containerStop struct{}

var containerStopAbout = About{
	Kind:     "container.stop",
	Summary:  "stop a container with grace, as docker stop does; undo starts it again",
	Undoable: true,
	Doors:    []string{string(experiments.DoorLastReplica), string(experiments.DoorSharedNamespace), string(experiments.DoorOverlap), string(experiments.DoorUnkept)},
	Example: `- name: one replica is down for a while
  at: 0s
  for: 30s
  # Its restart policy does not bring a stopped container back: undo starts it.
  container.stop:
    # Keys: name, id, labels, image, compose: {project, service}, regexp (on the name); all given must hold.
    select: {compose: {project: shop, service: checkout}}
    pick: 1 # or 50%, or all
    grace: 10s # until it is killed; left out: the container's own
    # signal: TERM # left out: the container's own
`,
}

func (containerStop) Choose(ctx context.Context, w World, s ContainerStopSpec) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

// stopSlack is what an engine needs besides the grace to stop or start a container.
const stopSlack = 5 * time.Second

func (containerStop) Aim(ctx context.Context, w World, s ContainerStopSpec, o experiments.Order) ([]ContainerStopTarget, error) {
	c, id, err := aimToEnd(ctx, w, o)
	if err != nil {
		return nil, err
	}
	if c.AutoRemove {
		return nil, fmt.Errorf("stop container %s: it was started with --rm, so that its engine removes it when it stops and nothing can start it again: use container.crash or container.pause: %w", c.Name, ErrRefused)
	}
	grace := graceOf(c, s.Grace)
	return []ContainerStopTarget{{
		containerID: id, Grace: experiments.Duration(grace), Signal: s.Signal, Policy: c.RestartPolicy,
		Lands: landsWithin(w.Host, grace+stopSlack),
	}}, nil
}

// graceOf is what the author asked for, else what the container itself asks for.
func graceOf(c platform.Container, asked *experiments.Duration) time.Duration {
	if asked != nil {
		return asked.Std()
	}
	return min(c.StopGrace, longestGrace)
}

// Describe says what is hit, and how.
func (t ContainerStopTarget) Describe() experiments.Description {
	d := t.describe()
	d.Mechanism = "engine API stop"
	d.Keeper = experiments.KeeperJournal
	d.Undo = "the engine starts the same container again, and it is seen running; one that was removed, or that somebody else has started, is left alone"
	d.Restart = t.Policy + " (does not bring back what was stopped by hand)"
	d.Asked = map[string]string{"grace": t.Grace.String()}
	if t.Signal != "" {
		d.Asked["signal"] = string(t.Signal)
	}
	d.Lands = t.Lands.Takes
	return d
}

func (containerStop) Inject(ctx context.Context, w World, t ContainerStopTarget) (Held, error) {
	if err := t.stillRuns(ctx, w, t.Lands); err != nil {
		return nil, err
	}
	return nil, w.Engine.Stop(ctx, t.ID, t.Grace.Std(), string(t.Signal))
}

// stillRuns refuses to act on a container that is not as it was when it was aimed at.
func (id containerID) stillRuns(ctx context.Context, w World, l landing) error {
	if err := l.begin(w.Host); err != nil {
		return fmt.Errorf("act on container %s: %w", id.Name, err)
	}
	c, err := id.look(ctx, w)
	if err != nil {
		return err
	}
	if !id.is(c) || c.State != "running" {
		return fmt.Errorf("act on container %s: it is %s, started at %s: %w", id.Name, c.State, c.StartedAt, ErrChanged)
	}
	return nil
}

func (containerStop) Confirm(ctx context.Context, w World, t ContainerStopTarget) (experiments.Effect, error) {
	c, err := t.look(ctx, w)
	switch {
	case err != nil:
		return experiments.Effect{}, err
	case !t.is(c):
		return t.another(c), nil
	case c.State == "exited":
		return experiments.Effect{State: experiments.EffectOn, Why: fmt.Sprintf("the engine says that it is exited (exit code %d)", c.ExitCode)}, nil
	}
	return experiments.Effect{State: experiments.EffectOff, Why: "the engine says that it is " + c.State}, nil
}

// Undo joins a stop that may still be under way, and starts what it stopped.
func (containerStop) Undo(ctx context.Context, w World, t ContainerStopTarget) error {
	c, err := t.Lands.join(ctx, w, t.containerID, func(c platform.Container) bool { return !t.is(c) || down(c) })
	return t.bringBack(ctx, w, c, err)
}

// down says that nothing in the container runs, and that nobody is about to change that.
func down(c platform.Container) bool { return c.State == "exited" || c.State == "dead" }

// settledUp is how long a container must have run after a start for its end to be a story of its own.
const settledUp = 10 * time.Second

// bringBack starts a container that has been down since it was aimed at, and sees it running.
func (id containerID) bringBack(ctx context.Context, w World, c platform.Container, err error) error {
	switch {
	case errors.Is(err, ErrGone):
		return nil // with the container, all that was done to it is gone
	case err != nil:
		return fmt.Errorf("start container %s again: %w", id.Name, err)
	case !down(c):
		return nil // never stopped, or started since
	case !id.is(c):
		return id.cameDown(c)
	}
	if err := w.Engine.Start(ctx, id.ID); err != nil {
		return fmt.Errorf("start container %s again: %w", id.Name, err)
	}
	c, err = id.look(ctx, w)
	switch {
	case errors.Is(err, ErrGone):
		return nil
	case err != nil:
		return fmt.Errorf("see whether container %s runs again: %w", id.Name, err)
	case c.State == "running" && !id.is(c):
		return nil
	}
	return id.cameDown(c)
}

// cameDown judges a container that was started after our stop and is down now:
// a start that did not hold is still our debt, a later end is not.
func (id containerID) cameDown(c platform.Container) error {
	started, err1 := time.Parse(time.RFC3339Nano, c.StartedAt)
	finished, err2 := time.Parse(time.RFC3339Nano, c.FinishedAt)
	if err1 == nil && err2 == nil && finished.Sub(started) >= settledUp {
		return nil
	}
	return fmt.Errorf("container %s was started again at %s and is %s now (exit code %d): see `docker logs %s`, and start or remove it",
		id.Name, c.StartedAt, c.State, c.ExitCode, id.Name)
}
