package injectors

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
)

// ContainerSelect names containers. All keys that are given must hold.
type ContainerSelect selector.Container

// ComposeSelect names containers by what compose made them for.
type ComposeSelect = selector.Compose

// Check says what cannot be selected by. Field names begin below the selector itself.
func (s ContainerSelect) Check() []experiments.FieldProblem { return selector.Container(s).Check() }

// checkContainerFault checks a fault whose settings select containers and pick from them.
func checkContainerFault(s ContainerSelect, pick experiments.Pick) []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	for _, p := range s.Check() {
		problems = append(problems, experiments.FieldProblem{Field: strings.TrimSuffix("select."+p.Field, "."), Problem: p.Problem})
	}
	if pick.IsZero() && !s.single() {
		problems = append(problems, experiments.FieldProblem{Field: "pick", Problem: "is missing: write pick: 1, 50% or all (it may be left out with id or an exact name only)"})
	}
	return problems
}

// single says that at most one container can be meant.
func (s ContainerSelect) single() bool { return s.Name != "" || s.ID != "" }

// Choose gives the running containers that the selector matches, and says why others that match are no targets.
func (s ContainerSelect) Choose(ctx context.Context, w World, pick experiments.Pick) (experiments.Choice, error) {
	choice := experiments.Choice{Matched: []experiments.Candidate{}, Groups: []experiments.Group{}, Pick: pick}
	if choice.Pick.IsZero() && s.single() {
		choice.Pick = experiments.Pick{Count: 1}
	}
	matches, err := selector.Container(s).Matcher()
	if err != nil {
		return choice, err
	}
	all, err := w.Engine.List(ctx)
	if err != nil {
		return choice, err
	}
	slices.SortFunc(all, func(a, b platform.Container) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	matched := slices.DeleteFunc(slices.Clone(all), func(c platform.Container) bool { return !matches(c) })
	if s.ID != "" && len(matched) > 1 {
		return choice, fmt.Errorf("select the container with id %s: %d containers have an ID that begins so (%s): write more of it: %w",
			s.ID, len(matched), strings.Join(containerNames(matched), ", "), ErrRefused)
	}
	groups := replicaGroups(all)
	for _, c := range matched {
		if why := noTarget(c); why != "" {
			choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: c.Name, Why: why})
			continue
		}
		choice.Matched = append(choice.Matched, candidate(c, all, groups))
	}
	choice.Groups = append(choice.Groups, groupsOf(choice.Matched, groups)...)
	return choice, nil
}

// podSandbox is the label on the containers that hold a Kubernetes pod's namespaces.
const podSandbox = "io.kubernetes.docker.type"

// noTarget says why a container that matches is not to be hit; "" when it may be.
func noTarget(c platform.Container) string {
	switch {
	case c.Self:
		return "faultline itself runs in it"
	case c.Labels[podSandbox] == "podsandbox":
		return "it holds the namespaces of a pod: it is a part of the engine"
	case c.State != "running":
		return "it is not running but " + c.State
	}
	return ""
}

func candidate(c platform.Container, all []platform.Container, groups map[string]experiments.Group) experiments.Candidate {
	one := experiments.Candidate{Kind: "container", ID: c.ID, Name: c.Name, Healthy: healthyContainer(c), Detail: c.Image, Lease: "container/" + c.ID}
	for _, other := range all {
		if other.State == "running" && (other.NetworkMode == "container:"+c.ID || other.NetworkMode == "container:"+c.Name) {
			one.Guests = append(one.Guests, other.Name)
		}
	}
	if name := groupName(c); len(groups[name].Members) > 1 {
		one.Group = name
	}
	return one
}

// healthyContainer counts on a container only when it runs and its own check,
// where it has one, has nothing against it. One that is still starting serves nobody yet.
func healthyContainer(c platform.Container) bool {
	return c.State == "running" && c.Health != "unhealthy" && c.Health != "starting"
}

// groupName is the replica group that compose put a container into; "" for none.
func groupName(c platform.Container) string {
	if c.Project == "" || c.Service == "" || c.OneOff {
		return ""
	}
	return "compose " + c.Project + "/" + c.Service
}

// replicaGroups are all compose services of the engine; only those with more than one member are groups.
func replicaGroups(all []platform.Container) map[string]experiments.Group {
	groups := map[string]experiments.Group{}
	for _, c := range all {
		name := groupName(c)
		if name == "" {
			continue
		}
		g := groups[name]
		g.Name = name
		g.Members = append(g.Members, c.ID)
		if healthyContainer(c) {
			g.Healthy = append(g.Healthy, c.ID)
		}
		groups[name] = g
	}
	return groups
}

func groupsOf(matched []experiments.Candidate, groups map[string]experiments.Group) []experiments.Group {
	var found []experiments.Group
	seen := map[string]bool{"": true}
	for _, c := range matched {
		if !seen[c.Group] {
			seen[c.Group] = true
			found = append(found, groups[c.Group])
		}
	}
	return found
}

func containerNames(cs []platform.Container) []string {
	var names []string
	for _, c := range cs {
		names = append(names, c.Name)
	}
	return names
}
