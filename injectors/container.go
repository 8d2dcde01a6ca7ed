package injectors

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// containerID is who a container is, in any process: it is asked of the engine
// that the record names, and never by its name.
type containerID struct {
	Engine    string `json:"engine"`   // the engine's own ID
	Endpoint  string `json:"endpoint"` // where it was reached
	ID        string `json:"id"`
	Name      string `json:"name"` // for people
	StartedAt string `json:"started_at"`

	Guests []string `json:"guests,omitempty"` // who loses their network when it ends
}

// aimContainer reads a victim in full. It is ErrGone when there is none, ErrChanged when it is no target any more.
func aimContainer(ctx context.Context, w World, victim experiments.Candidate) (platform.Container, containerID, error) {
	c, err := inspectVictim(ctx, w, victim)
	if err != nil {
		return c, containerID{}, err
	}
	id, err := identify(ctx, w, c)
	return c, id, err
}

// aimToEnd is aimContainer for what ends a container, if only for a moment.
func aimToEnd(ctx context.Context, w World, o experiments.Order) (platform.Container, containerID, error) {
	if err := mayEnd(o); err != nil {
		return platform.Container{}, containerID{}, err
	}
	c, id, err := aimContainer(ctx, w, o.Victim)
	id.Guests = o.Victim.Guests
	return c, id, err
}

func inspectVictim(ctx context.Context, w World, victim experiments.Candidate) (platform.Container, error) {
	c, err := w.Engine.Inspect(ctx, victim.ID)
	if errors.Is(err, platform.ErrGone) {
		err = fmt.Errorf("%w: %w", ErrGone, err)
	}
	if why := noTarget(c); err == nil && why != "" {
		err = fmt.Errorf("aim at container %s: %s now: %w", c.Name, why, ErrChanged)
	}
	return c, err
}

// mayEnd refuses to end a container in whose network namespace others live,
// unless its door is open: starting it again gives it another namespace, and
// the others stay in what is left of the old one.
func mayEnd(o experiments.Order) error {
	if len(o.Victim.Guests) == 0 || o.Allows(experiments.DoorSharedNamespace) {
		return nil
	}
	return fmt.Errorf("container %s: %s would lose their network with it, and no undo gives it back: open the door with `allow: [shared-namespace]`: %w",
		o.Victim.Name, strings.Join(o.Victim.Guests, ", "), ErrRefused)
}

// identify writes down who the container is, for any process that comes later.
func identify(ctx context.Context, w World, c platform.Container) (containerID, error) {
	info, err := w.Engine.Info(ctx)
	return containerID{Engine: info.ID, Endpoint: info.Endpoint, ID: c.ID, Name: c.Name, StartedAt: c.StartedAt}, err
}

// look inspects the container. Before "there is none" is believed, the engine
// must prove to be the one that had it.
func (id containerID) look(ctx context.Context, w World) (platform.Container, error) {
	c, err := w.Engine.Inspect(ctx, id.ID)
	if !errors.Is(err, platform.ErrGone) {
		return c, err
	}
	info, infoErr := w.Engine.Info(ctx)
	switch {
	case infoErr != nil:
		return c, infoErr
	case !id.knownTo(info):
		return c, fmt.Errorf("look at container %s: it was on the engine at %s and this is another one, at %s: set DOCKER_HOST=%s: %w",
			id.Name, id.Endpoint, info.Endpoint, id.Endpoint, platform.ErrUnreachable)
	}
	return c, fmt.Errorf("container %s (%.12s) is no more: %w: %w", id.Name, id.ID, ErrGone, err)
}

// knownTo says that it is this engine which had the container. A local socket
// leads to the same machine every day; an address elsewhere may not.
func (id containerID) knownTo(info platform.EngineInfo) bool {
	return info.ID == id.Engine || info.Endpoint == id.Endpoint && (strings.HasPrefix(id.Endpoint, "unix:") || strings.HasPrefix(id.Endpoint, "npipe:"))
}

// is says that c has not been started again since it was aimed at.
func (id containerID) is(c platform.Container) bool {
	return c.ID == id.ID && c.StartedAt == id.StartedAt
}

// another is the effect on a container that somebody has started again.
func (id containerID) another(c platform.Container) experiments.Effect {
	return experiments.Effect{State: experiments.EffectGone, Why: fmt.Sprintf("container %s was started again at %s and is %s", id.Name, c.StartedAt, c.State)}
}

// describe fills in what all container faults say of a target.
func (id containerID) describe() experiments.Description {
	d := experiments.Description{Kind: "container", ID: id.ID, Name: id.Name, Leases: []string{"container/" + id.ID}, Hits: id.Guests}
	if len(id.Guests) > 0 {
		d.Notes = append(d.Notes, strings.Join(id.Guests, ", ")+" live in its network namespace and lose their network until they are restarted: no undo gives it back")
	}
	return d
}

// freshAim is how long after its aim a fault may still begin: what is older was
// overtaken by an undo that has stopped waiting for it.
const freshAim = 30 * time.Second

// landing is how long an act may still land after its caller has gone: an
// engine finishes what it was asked to do though nobody waits for the answer.
type landing struct {
	BootID string               `json:"boot_id"`
	Aimed  experiments.Boottime `json:"aimed"`
	Wall   time.Time            `json:"wall"`  // the same by the wall clock, for another boot
	Takes  experiments.Duration `json:"takes"` // how long the act lasts at most
}

func landsWithin(h platform.Host, takes time.Duration) landing {
	return landing{BootID: h.BootID(), Aimed: h.Boottime(), Wall: h.Now().UTC(), Takes: experiments.Duration(takes)}
}

func (l landing) age(h platform.Host) time.Duration {
	if h.BootID() == l.BootID {
		return h.Boottime().Sub(l.Aimed)
	}
	return h.Now().Sub(l.Wall)
}

// begin refuses to act on an aim that is too old for an undo to wait for its landing.
func (l landing) begin(h platform.Host) error {
	if age := l.age(h); age > freshAim {
		return fmt.Errorf("it was aimed at %s ago, which is too old an aim: %w", age.Round(time.Second), ErrChanged)
	}
	return nil
}

// left is how much longer something that was begun could take to land.
func (l landing) left(h platform.Host) time.Duration {
	takes := l.Takes.Std()
	return max(0, min(takes, freshAim+takes-l.age(h)))
}

// join waits for an act that may be under way until `landed` is true of the
// container, and gives it as it then is. That the time went by is no error:
// nothing was under way.
func (l landing) join(ctx context.Context, w World, id containerID, landed func(platform.Container) bool) (platform.Container, error) {
	c, err := id.look(ctx, w)
	left := l.left(w.Host)
	if err != nil || landed(c) || left == 0 {
		return c, err
	}
	waiting, cancel := context.WithTimeout(ctx, left)
	defer cancel()
	c, err = w.Engine.Await(waiting, id.ID, landed)
	switch {
	case err == nil:
		return c, nil
	case errors.Is(err, platform.ErrGone), waiting.Err() != nil && ctx.Err() == nil:
		return id.look(ctx, w)
	}
	return c, err
}
