package injectors

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// NetworkSelect names network namespaces: by whose they are, or by name.
// Exactly one key is given.
type NetworkSelect struct {
	Container *ContainerSelect `json:"container,omitempty"`
	Process   *ProcessSelect   `json:"process,omitempty"`
	Netns     string           `json:"netns,omitempty"` // as `ip netns` lists it
}

func (s NetworkSelect) check(pick experiments.Pick) []experiments.FieldProblem {
	given := 0
	var problems []experiments.FieldProblem
	for key, check := range map[string]func() []experiments.FieldProblem{
		"container": func() []experiments.FieldProblem { return checkContainerFault(*s.Container, pick) },
		"process":   func() []experiments.FieldProblem { return checkProcessFault(*s.Process, pick) },
	} {
		if key == "container" && s.Container == nil || key == "process" && s.Process == nil {
			continue
		}
		given++
		for _, p := range check() {
			if rest, ok := strings.CutPrefix(p.Field, "select"); ok {
				p.Field = "select." + key + rest
			}
			problems = append(problems, p)
		}
	}
	if s.Netns != "" {
		given++
		if strings.ContainsAny(s.Netns, "/\x00") || s.Netns == "." || s.Netns == ".." {
			problems = append(problems, experiments.FieldProblem{Field: "select.netns", Problem: fmt.Sprintf("%q is no name: write it as `ip netns list` does", s.Netns)})
		}
	}
	if given != 1 {
		problems = append(problems, experiments.FieldProblem{Field: "select", Problem: "needs exactly one of container: {…}, process: {…}, netns: NAME"})
	}
	return problems
}

// Choose gives what the selector matches, by the selector's own kind.
func (s NetworkSelect) Choose(ctx context.Context, w World, pick experiments.Pick) (experiments.Choice, error) {
	switch {
	case s.Container != nil:
		return s.Container.Choose(ctx, w, pick)
	case s.Process != nil:
		return s.Process.Choose(ctx, w, pick)
	}
	if pick.IsZero() {
		pick = experiments.Pick{Count: 1}
	}
	choice := experiments.Choice{Matched: []experiments.Candidate{}, Groups: []experiments.Group{}, Pick: pick}
	ns, err := netfault.OpenName(s.Netns)
	if errors.Is(err, netfault.ErrGone) {
		return choice, nil // no match, as with any other selector
	}
	if err != nil {
		return choice, err
	}
	defer ns.Close()
	choice.Matched = append(choice.Matched, experiments.Candidate{
		Kind: "netns", ID: fmt.Sprintf("%s/%d", ns.ID().BootID, ns.ID().Cookie), Name: s.Netns, Detail: ns.Path(),
	})
	return choice, nil
}

// aimedNetwork is a victim's network namespace, held open, and who else is in it.
type aimedNetwork struct {
	ns      *netfault.Namespace
	hint    netfault.Hint
	process *platform.ProcessID // pinned; nil for a namespace chosen by name
	hits    []string
	notes   []string
	hitsUs  bool // this very process lives in the namespace: probes asked from here would be hit
}

// close lets the namespace go; the pin stays for a real run that succeeded.
func (a aimedNetwork) close(w World, o experiments.Order, failed error) error {
	if a.process != nil && (failed != nil || o.Run == "") {
		w.Processes.Release(*a.process)
	}
	return a.ns.Close()
}

// aimNetwork opens the victim's namespace and refuses the host's and shared ones
// unless their door is open.
func aimNetwork(ctx context.Context, w World, o experiments.Order) (aimedNetwork, error) {
	var a aimedNetwork
	var err error
	if o.Victim.Kind == "netns" {
		a, err = aimNamed(o.Victim)
	} else {
		a, err = aimOwned(ctx, w, o)
	}
	if err != nil {
		return a, networkError(err)
	}
	if err := a.guard(ctx, w, o); err != nil {
		return a, errors.Join(err, a.close(w, o, err))
	}
	return a, nil
}

func aimNamed(victim experiments.Candidate) (aimedNetwork, error) {
	ns, err := netfault.OpenName(victim.Name)
	if err != nil {
		return aimedNetwork{}, err
	}
	if id := fmt.Sprintf("%s/%d", ns.ID().BootID, ns.ID().Cookie); id != victim.ID {
		return aimedNetwork{}, errors.Join(fmt.Errorf("aim at network namespace %s: it was made anew since it was chosen: %w", victim.Name, ErrChanged), ns.Close())
	}
	return aimedNetwork{ns: ns, hint: netfault.Hint{Path: ns.Path()}}, nil
}

// aimOwned opens the namespace of a process or of a container's init, through its pin.
func aimOwned(ctx context.Context, w World, o experiments.Order) (aimedNetwork, error) {
	id, err := ownerOf(ctx, w, o)
	if err != nil {
		return aimedNetwork{}, err
	}
	ns, err := netfault.OpenPID(id.PID, func() error {
		_, err := w.Processes.State(ctx, id)
		return err
	})
	if err != nil {
		w.Processes.Release(id)
		return aimedNetwork{}, fmt.Errorf("aim at the network of %s: %w", o.Victim.Name, err)
	}
	return aimedNetwork{ns: ns, process: &id, hint: netfault.Hint{PID: id.PID}}, nil
}

func ownerOf(ctx context.Context, w World, o experiments.Order) (platform.ProcessID, error) {
	if o.Victim.Kind == "process" {
		id, _, err := aimProcess(ctx, w, o)
		if err == nil && o.Run == "" { // aimProcess pins for a real run only; here it is needed for a look
			id, err = w.Processes.Pin(ctx, id.PID)
		}
		return id, err
	}
	c, _, err := aimContainer(ctx, w, o.Victim)
	if err != nil {
		return platform.ProcessID{}, err
	}
	id, err := w.Engine.Init(ctx, c)
	if errors.Is(err, platform.ErrUnsupported) {
		return id, fmt.Errorf("the network of container %s can be reached on its own host only: %w: %w", c.Name, ErrRefused, err)
	}
	return id, err
}

// guard refuses the host's namespace, and one that others live in, without their doors.
func (a *aimedNetwork) guard(ctx context.Context, w World, o experiments.Order) error {
	host, err := a.ns.IsHost()
	if err != nil {
		return fmt.Errorf("aim at the network of %s: %w: %w", o.Victim.Name, ErrRefused, err)
	}
	if host && !o.Allows(experiments.DoorHostNetwork) {
		return fmt.Errorf("%s is in the host's own network namespace, so everything on this host would be hit: open the door with `allow: [host-network]`: %w", o.Victim.Name, ErrRefused)
	}
	others, err := a.others(ctx, w, o)
	if err != nil {
		return fmt.Errorf("see who shares the network of %s: %w: %w", o.Victim.Name, ErrRefused, err)
	}
	if host {
		a.notes = append(a.notes, "it is the host's network namespace: every program on this host is hit, faultline's probes too")
		a.hits = slices.DeleteFunc(others, func(who string) bool { return !strings.HasPrefix(who, "container ") })
		return nil
	}
	a.hits = others
	if len(others) > 0 && o.Victim.Kind != "netns" && !o.Allows(experiments.DoorSharedNamespace) {
		return fmt.Errorf("%s shares its network namespace with %s, which would be hit too: open the door with `allow: [shared-namespace]`: %w",
			o.Victim.Name, strings.Join(others, ", "), ErrRefused)
	}
	return nil
}

// others names who else lives in the namespace: containers, and processes that
// are neither the victim nor its descendants nor in its container.
func (a *aimedNetwork) others(ctx context.Context, w World, o experiments.Order) ([]string, error) {
	pids, complete, err := a.ns.Members()
	if err != nil {
		return nil, err
	}
	if !complete {
		return nil, fmt.Errorf("not every process could be looked at (run as root): %w", netfault.ErrUnknown)
	}
	a.hitsUs = slices.Contains(pids, os.Getpid())
	all, err := w.Processes.List(ctx, false)
	if err != nil {
		return nil, err
	}
	family := descendants(all, a.process)
	var who []string
	containers := map[string]bool{}
	for _, p := range all {
		if !slices.Contains(pids, p.PID) || family[p.PID] {
			continue
		}
		id := containerIn(p.Cgroup)
		switch {
		case id != "" && id == o.Victim.ID:
		case id != "":
			containers[id] = true
		case o.Victim.Kind == "netns": // whoever chose the namespace chose its processes
		default:
			who = append(who, processName(p))
		}
	}
	names, err := namesOf(ctx, w, containers)
	return append(names, who...), err
}

// containerIn is the container that a cgroup belongs to, whichever engine made
// it: they all put its full ID into the path. "" for none.
func containerIn(cgroup string) string { return fullContainerID.FindString(cgroup) }

var fullContainerID = regexp.MustCompile(`[0-9a-f]{64}`)

// descendants are the process and all that it has started.
func descendants(all []platform.Process, of *platform.ProcessID) map[int]bool {
	family := map[int]bool{}
	if of == nil {
		return family
	}
	family[of.PID] = true
	for grown := true; grown; {
		grown = false
		for _, p := range all {
			if family[p.PPID] && !family[p.PID] {
				family[p.PID], grown = true, true
			}
		}
	}
	return family
}

// namesOf gives containers by name, where the engine knows them.
func namesOf(ctx context.Context, w World, ids map[string]bool) ([]string, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	known := map[string]string{}
	if all, err := w.Engine.List(ctx); err == nil { // another engine's containers have an ID and no name
		for _, c := range all {
			known[c.ID] = c.Name
		}
	}
	var names []string
	for id := range ids {
		name := known[id]
		if name == "" {
			name = id[:12]
		}
		names = append(names, "container "+name)
	}
	slices.Sort(names)
	return names, nil
}
