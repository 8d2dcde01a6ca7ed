package probes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
)

// Container asks an engine about containers. The selector's keys stand under
// `select`, as a fault's do, or beside it. Of several containers the reading
// shows the worst state and health, all restarts, and how many run.
type Container struct {
	Select *selector.Container `json:"select,omitempty"`
	selector.Container
	Timeout experiments.Duration `json:"timeout,omitempty"`
}

func (s Container) selected() selector.Container {
	if s.Select != nil {
		return *s.Select
	}
	return s.Container
}

// Check gives every problem of the settings at once.
func (s Container) Check() []experiments.FieldProblem {
	return append(checkSelect(s.Select != nil, s.Container.IsZero(), s.selected().Check()), checkTimeout(s.Timeout)...)
}

func containerKind() Kind {
	return Kind{
		ProbeKind: experiments.ProbeKind{
			Kind: "container", Summary: "asks the container engine: state, health, restarts, count",
			Settings: func() any { return &Container{Timeout: DefaultTimeout} },
			Expect:   `state == "running" && health != "unhealthy"`,
			Reading:  experiments.Reading{"state": "running", "health": "none", "restarts": int64(0), "count": int64(1)},
		},
		Open: openContainer,
		Example: `# Asks the engine. Keys of select: name, id, labels, image, compose, regexp. state is "absent" when there is no such
# container; health is "none" without a health check; count is how many of them run.
- name: gateway container is well
  container: {select: {name: gateway}}
  # What a good answer is: CEL over state, health, restarts and count.
  expect: state == "running" && health != "unhealthy"
  every: 1s
  tolerate: {during: 50%, recover: 20s}
`,
	}
}

type containerProbe struct {
	engine  platform.Engine
	matches func(platform.Container) bool
	timeout time.Duration
}

func openContainer(w *platform.World, raw json.RawMessage) (Probe, error) {
	var s Container
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of a container probe: %w", err)
	}
	matches, err := s.selected().Matcher()
	if err != nil {
		return nil, err
	}
	if s.selected().Compose == nil {
		return containerProbe{w.Engine, matches, orDefault(s.Timeout)}, nil
	}
	// What `compose run` made is no member of its service.
	member := func(c platform.Container) bool { return matches(c) && !c.OneOff }
	return containerProbe{w.Engine, member, orDefault(s.Timeout)}, nil
}

// Look asks the engine once. An engine that does not answer is what we look
// through, not what we look at: nothing is known then.
func (p containerProbe) Look(ctx context.Context) (experiments.Reading, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	all, err := p.engine.List(ctx)
	if err != nil {
		return nil, err
	}
	seen := sight{state: absent, health: "none"}
	for _, listed := range all {
		if !p.matches(listed) {
			continue
		}
		// Only an inspection tells how often it was restarted.
		one, err := p.engine.Inspect(ctx, listed.ID)
		if errors.Is(err, platform.ErrGone) {
			continue
		}
		if err != nil {
			return nil, err
		}
		seen.add(one)
	}
	return experiments.Reading{"state": seen.state, "health": seen.health, "restarts": int64(seen.restarts), "count": int64(seen.running)}, nil
}

func (containerProbe) Close() error { return nil }

// absent is the state of what is not there.
const absent = "absent"

// Best first. Whatever an engine says that is not listed counts as worst.
var (
	states  = []string{absent, "running", "paused", "restarting", "created", "removing", "exited", "dead"}
	healths = []string{"none", "healthy", "starting", "unhealthy"}
)

// sight is several containers seen as one.
type sight struct {
	state, health     string
	restarts, running int
}

func (s *sight) add(c platform.Container) {
	s.state, s.health = worse(states, s.state, c.State), worse(healths, s.health, c.Health)
	s.restarts += c.RestartCount
	if c.State == "running" {
		s.running++
	}
}

func worse(bestFirst []string, a, b string) string {
	if rank(bestFirst, b) > rank(bestFirst, a) {
		return b
	}
	return a
}

func rank(bestFirst []string, word string) int {
	if i := slices.Index(bestFirst, word); i >= 0 {
		return i
	}
	return len(bestFirst)
}
