package injectors

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// NetworkLatencySettings is what an author may ask of network.latency.
type NetworkLatencySettings struct {
	Select    NetworkSelect        `json:"select"`
	Pick      experiments.Pick     `json:"pick,omitzero"`
	To        []string             `json:"to,omitempty"`        // the peers; empty is everybody and needs the door all-traffic
	Direction netfault.Direction   `json:"direction,omitempty"` // as the target sees it; default egress
	Delay     experiments.Duration `json:"delay"`               // one way
	Jitter    experiments.Duration `json:"jitter,omitempty"`    // uniform, plus or minus
	Mechanism netfault.Mechanism   `json:"mechanism,omitempty"` // default: what works here and heals best
	Loopback  bool                 `json:"loopback,omitempty"`  // lo too
}

// Check gives every problem at once.
func (s NetworkLatencySettings) Check() []experiments.FieldProblem {
	problems := s.Select.check(s.Pick)
	add := func(field, format string, args ...any) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	switch {
	case s.Delay <= 0:
		add("delay", "%s is not above zero: write how long packets are to be late, as 100ms", s.Delay)
	case s.Delay.Std() > netfault.MaxDelay:
		add("delay", "%s is above %s: connections are given up before, so that would be a partition and no latency", s.Delay, netfault.MaxDelay)
	}
	switch {
	case s.Jitter < 0:
		add("jitter", "%s is below zero: it is already meant as plus or minus", s.Jitter)
	case s.Delay > 0 && s.Jitter > s.Delay:
		add("jitter", "%s is above the delay %s: packets cannot leave before they came", s.Jitter, s.Delay)
	}
	switch s.direction() {
	case netfault.Ingress, netfault.Egress, netfault.Both:
	default:
		add("direction", "%q is none: write ingress, egress or both", s.Direction)
	}
	switch s.Mechanism {
	case "", netfault.NFQueue, netfault.Netem:
	default:
		add("mechanism", "%q is none: write nfqueue or netem, or leave it out", s.Mechanism)
	}
	return append(problems, checkPeers(s.To)...)
}

func (s NetworkLatencySettings) direction() netfault.Direction {
	if s.Direction == "" {
		return netfault.Egress
	}
	return s.Direction
}

// LatencyTarget is one network namespace whose packets are to be late.
type LatencyTarget struct {
	Victim    experiments.Candidate `json:"victim"`
	Process   *platform.ProcessID   `json:"process,omitempty"` // whose namespace it is; nil for one chosen by name
	Netns     netfault.ID           `json:"netns"`
	Hint      netfault.Hint         `json:"hint"`
	Mechanism netfault.Mechanism    `json:"mechanism"`
	By        string                `json:"by"`
	Delay     netfault.Delay        `json:"delay"`
	To        []string              `json:"to,omitempty"`      // as the author wrote it
	Table     string                `json:"table,omitempty"`   // nfqueue
	Shaping   *netfault.Shaping     `json:"shaping,omitempty"` // netem
	Links     []string              `json:"links"`
	Hits      []string              `json:"hits,omitempty"`
	Notes     []string              `json:"notes,omitempty"`
	HitsUs    bool                  `json:"hits_us,omitempty"`
	Deadline  experiments.Boottime  `json:"deadline"`
	Wall      time.Time             `json:"wall"`
}

// Describe says what is delayed, and what takes it back.
func (t LatencyTarget) Describe() experiments.Description {
	d := experiments.Description{
		Kind: t.Victim.Kind, ID: t.Victim.ID, Name: t.Victim.Name, Mechanism: string(t.Mechanism), Hits: t.Hits, HitsUs: t.HitsUs,
		Keeper: experiments.KeeperKernel,
		Undo:   "packets that wait are let go, the rules are removed, and the kernel is asked; it removes them itself when faultline dies, and disarms them when it does not run for 3s",
		Asked:  map[string]string{"delay": t.Delay.Delay.String(), "direction": string(t.Delay.Direction), "to": "everybody"},
		Notes:  append([]string{"in " + t.Netns.String() + " on " + strings.Join(t.Links, ", ") + " by " + t.By}, t.Notes...),
	}
	if t.Mechanism == netfault.Netem {
		d.Keeper = experiments.KeeperJournal
		d.Undo = "our own queueing disciplines are deleted by their handle, and the kernel is asked; theirs are left alone"
	}
	if t.Delay.Jitter > 0 {
		d.Asked["jitter"] = t.Delay.Jitter.String()
	}
	if len(t.To) > 0 {
		d.Asked["to"] = strings.Join(t.To, ", ")
	}
	for _, way := range []netfault.Direction{netfault.Ingress, netfault.Egress} {
		if !t.Delay.Direction.Covers(way) {
			continue
		}
		for _, link := range t.Links {
			d.Leases = append(d.Leases, fmt.Sprintf("netns/%s/%d/%s/%s", t.Netns.BootID, t.Netns.Cookie, link, way))
		}
	}
	return d
}

// networkLatency makes packets late: the fault that shows which timeouts, retries
// and pools were never tried.
type networkLatency struct{}

var networkLatencyAbout = About{
	Kind:     "network.latency",
	Summary:  "delay packets of a container's, a process's or a named network namespace",
	Undoable: true,
	Doors: []string{
		string(experiments.DoorAllTraffic), string(experiments.DoorHostNetwork), string(experiments.DoorSharedNamespace),
		string(experiments.DoorLastReplica), string(experiments.DoorOverlap), string(experiments.DoorUnkept),
	},
	Platforms: []string{"linux"},
	Example: `- name: slow the link to the database
  at: 5s
  for: 20s
  network.latency:
    select: {container: {name: gateway}} # or {process: {…}}, or {netns: NAME}
    to: ["10.0.3.7:5432"] # address, CIDR, name or [v6], each with optional :port; without it: allow: [all-traffic]
    direction: egress     # ingress, egress or both, as the target sees it
    delay: 100ms          # one way
    jitter: 10ms          # uniform; the order of each connection is kept
    # mechanism: nfqueue  # or netem; chosen by what this kernel can do
`,
}

func (networkLatency) Choose(ctx context.Context, w World, s NetworkLatencySettings) (experiments.Choice, error) {
	return s.Select.Choose(ctx, w, s.Pick)
}

// Preflight says what the author must open or this machine lacks, before anything is touched.
func (networkLatency) Preflight(ctx context.Context, _ World, s NetworkLatencySettings, o experiments.Order) error {
	if len(s.To) == 0 && !o.Allows(experiments.DoorAllTraffic) {
		return fmt.Errorf("delay all traffic of %s: name the peers with `to`, or open the door with `allow: [all-traffic]`: %w", o.Victim.Name, ErrRefused)
	}
	d, _, err := s.delay(ctx, o)
	if err != nil {
		return err
	}
	_, err = mechanismFor(ctx, s.Mechanism, d)
	return err
}

// delay is the order in the mechanism's terms, with names resolved.
func (s NetworkLatencySettings) delay(ctx context.Context, o experiments.Order) (netfault.Delay, []string, error) {
	d := netfault.Delay{Direction: s.direction(), Delay: s.Delay.Std(), Jitter: s.Jitter.Std(), Loopback: s.Loopback}
	peers, notes, err := resolvePeers(ctx, s.To)
	if err != nil {
		return d, nil, err
	}
	exempt, exemptNotes, err := resolvePeers(ctx, o.Exempt)
	if err != nil {
		return d, nil, fmt.Errorf("exempt the control path: %w", err)
	}
	if len(exempt) > 0 {
		notes = append(notes, "never delayed: "+strings.Join(o.Exempt, ", "))
	}
	d.Peers, d.Exempt = peers, exempt
	return d, append(notes, exemptNotes...), nil
}

// mechanismFor tries the mechanisms until one can do it; with every reason when none can.
func mechanismFor(ctx context.Context, asked netfault.Mechanism, d netfault.Delay) (netfault.Ability, error) {
	candidates := netfault.Mechanisms()
	if asked != "" {
		candidates = []netfault.Mechanism{asked}
	}
	var reasons []string
	for _, m := range candidates {
		a := netfault.Try(ctx, m)
		can, why := a.Can(d)
		if can {
			return a, nil
		}
		if a.Mend != "" {
			why += " (try: " + a.Mend + ")"
		}
		reasons = append(reasons, string(m)+": "+why)
	}
	return netfault.Ability{}, fmt.Errorf("delay packets on this machine: %s: %w: %w", strings.Join(reasons, "; "), platform.ErrUnsupported, ErrRefused)
}

func (networkLatency) Aim(ctx context.Context, w World, s NetworkLatencySettings, o experiments.Order) (_ []LatencyTarget, err error) {
	d, notes, err := s.delay(ctx, o)
	if err != nil {
		return nil, err
	}
	ability, err := mechanismFor(ctx, s.Mechanism, d)
	if err != nil {
		return nil, err
	}
	at, err := aimNetwork(ctx, w, o)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, at.close(w, o, err)) }()
	t := LatencyTarget{
		Victim: o.Victim, Process: at.process, Netns: at.ns.ID(), Hint: at.hint, Mechanism: ability.Mechanism, By: ability.By,
		Delay: d, To: s.To, Hits: at.hits, HitsUs: at.hitsUs, Notes: append(notes, at.notes...), Deadline: o.Deadline, Wall: o.Wall,
	}
	if t.Links, err = delayedLinks(at.ns, s.Loopback); err != nil {
		return nil, err
	}
	if !s.Loopback {
		t.Notes = append(t.Notes, "lo is not covered")
	}
	if ability.Mechanism == netfault.NFQueue && !ability.RealTime {
		t.Notes = append(t.Notes, "packets are released by an ordinary thread: real-time priority is not allowed here, and a busy machine makes them late")
	}
	tag := fmt.Sprintf("%08x", rand.Uint32())
	t.Table = "faultline-" + tag
	if ability.Mechanism == netfault.Netem {
		t.Table = ""
		shaping, err := at.ns.AimShaping(d, tag[:6])
		if err != nil {
			return nil, fmt.Errorf("aim at %s: %w", o.Victim.Name, networkError(err))
		}
		t.Shaping = &shaping
	}
	return []LatencyTarget{t}, nil
}

func delayedLinks(ns *netfault.Namespace, loopback bool) ([]string, error) {
	all, err := ns.Interfaces()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, i := range all {
		if !i.Loopback || loopback {
			names = append(names, i.Name)
		}
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("the network namespace %s has no interface but lo: set `loopback: true` to delay that: %w", ns.Path(), ErrRefused)
	}
	return names, nil
}

// networkError says what a mechanism's errors mean for a fault.
func networkError(err error) error {
	switch {
	case errors.Is(err, netfault.ErrGone):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, netfault.ErrChanged):
		return fmt.Errorf("%w: %w", ErrChanged, err)
	case errors.Is(err, netfault.ErrForeign):
		return fmt.Errorf("%w: %w", ErrForeign, err)
	}
	return err
}

// left is the time that the fault may still be on, by the clock that says less.
func (t LatencyTarget) left(h platform.Host) time.Duration {
	return min(t.Deadline.Sub(h.Boottime()), t.Wall.Sub(h.Now()))
}

func (networkLatency) Inject(ctx context.Context, w World, t LatencyTarget) (Held, error) {
	if err := t.still(ctx, w); err != nil {
		return nil, err
	}
	ns, err := netfault.Find(t.Netns, t.Hint)
	if err != nil {
		return nil, networkError(err)
	}
	if t.Mechanism == netfault.Netem {
		return nil, errors.Join(networkError(ns.Shape(*t.Shaping)), ns.Close())
	}
	hold, err := ns.Hold(t.Table, t.Delay, func() time.Duration { return t.left(w.Host) })
	if err != nil {
		return nil, errors.Join(networkError(err), ns.Close())
	}
	held := heldPackets{hold, t.Delay, sync.OnceValue(func() error { return errors.Join(hold.Close(), ns.Close()) })}
	if ctx.Err() != nil { // nobody waits for it any more
		return nil, errors.Join(ctx.Err(), held.Close())
	}
	return held, nil
}

// still says ErrGone when the process that was aimed at is no more.
func (t LatencyTarget) still(ctx context.Context, w World) error {
	if t.Process == nil {
		return nil
	}
	_, err := w.Processes.State(ctx, *t.Process)
	if errors.Is(err, platform.ErrGone) {
		return fmt.Errorf("%s (pid %d) has ended, and what is there now is another one: %w: %w", t.Victim.Name, t.Process.PID, ErrGone, err)
	}
	return err
}

// heldPackets is what dies with this process: the queue and its thread.
type heldPackets struct {
	hold  *netfault.Hold
	asked netfault.Delay
	close func() error
}

func (h heldPackets) Close() error { return h.close() }

// Measure says what packets have really met.
func (h heldPackets) Measure() experiments.Effect {
	m, err := h.hold.Measure()
	if err != nil {
		return experiments.Effect{State: experiments.EffectUnknown, Why: err.Error()}
	}
	if m.Packets == 0 {
		return experiments.Effect{State: experiments.EffectUnknown, Why: "not confirmed: no traffic: no packet has met the fault"}
	}
	e := experiments.Effect{State: experiments.EffectOn, Measured: map[string]string{
		"packets": fmt.Sprint(m.Packets), "p50": rounded(m.P50), "p99": rounded(m.P99), "least": rounded(m.Least), "most": rounded(m.Most),
	}}
	if least := h.asked.Delay - h.asked.Jitter; m.Least < least {
		e.State, e.Why = experiments.EffectPartly, fmt.Sprintf("a packet was held for %s only, where %s were asked for", rounded(m.Least), least)
	}
	if m.Dropped > 0 {
		e.Measured["dropped"] = fmt.Sprint(m.Dropped)
		e.State, e.Why = experiments.EffectPartly, fmt.Sprintf("%d packets were lost because the queue was full: that is loss, not latency", m.Dropped)
	}
	if m.Lapsed {
		e.State, e.Why = experiments.EffectPartly, "it ended early: the holder did not run for 3s, so the kernel disarmed it"
	}
	return e
}

func rounded(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

// Confirm reads rules, queues and disciplines back from the kernel.
func (networkLatency) Confirm(ctx context.Context, w World, t LatencyTarget) (experiments.Effect, error) {
	if err := t.still(ctx, w); err != nil {
		return experiments.Effect{}, err
	}
	ns, err := netfault.Find(t.Netns, t.Hint)
	if err != nil {
		return experiments.Effect{}, networkError(err)
	}
	defer ns.Close()
	if t.Mechanism == netfault.Netem {
		return confirmShaping(ns, *t.Shaping)
	}
	look, err := ns.Look(t.Table)
	if err != nil {
		return experiments.Effect{}, err
	}
	e := experiments.Effect{State: experiments.EffectOn, Measured: map[string]string{"matched": fmt.Sprint(look.Matched)}}
	switch {
	case !look.Present:
		e.State, e.Why = experiments.EffectOff, "our rules are not there"
	case look.Armed <= 0:
		e.State, e.Why = experiments.EffectOff, "the kernel has disarmed our rules: the holder did not run, or the time is over"
	case look.Heard == 0:
		e.State, e.Why = experiments.EffectOff, "nobody answers the queue: packets pass"
	case !look.On(t.Delay.Direction):
		e.State = experiments.EffectPartly
		e.Why = fmt.Sprintf("not all of it is in place: hooked on the way in %v, on the way out %v, %d of %d queues answered", look.Ingress, look.Egress, look.Heard, look.Holds)
	case look.Dropped > 0:
		e.State, e.Why = experiments.EffectPartly, fmt.Sprintf("%d packets were lost because the queue was full: that is loss, not latency", look.Dropped)
	}
	return e, nil
}

func confirmShaping(ns *netfault.Namespace, s netfault.Shaping) (experiments.Effect, error) {
	look, err := ns.LookShaping(s)
	if err != nil {
		return experiments.Effect{}, err
	}
	e := experiments.Effect{State: experiments.EffectOn, Measured: map[string]string{"packets": fmt.Sprint(look.Packets), "delay": "not measured: netem does not tell"}}
	if look.Dropped > 0 {
		e.Measured["dropped"] = fmt.Sprint(look.Dropped)
	}
	switch {
	case look.Foreign != "":
		e.State, e.Why = experiments.EffectPartly, "somebody has put another queueing discipline there: "+look.Foreign
	case look.On == 0:
		e.State, e.Why = experiments.EffectOff, "our queueing disciplines are not there"
	case look.Off > 0:
		e.State, e.Why = experiments.EffectPartly, fmt.Sprintf("in place on %d of %d interfaces", look.On, look.On+look.Off)
	case look.Dropped > 0:
		e.State, e.Why = experiments.EffectPartly, fmt.Sprintf("%d packets were lost because the queue was full: that is loss, not latency", look.Dropped)
	case look.Packets == 0:
		e.State, e.Why = experiments.EffectUnknown, "not confirmed: no traffic: no packet has met the fault"
	}
	return e, nil
}

// Undo takes off what is left of netem. Of nfqueue nothing can be left without
// its holder: it looks, and says who has it when the rules are there.
func (networkLatency) Undo(ctx context.Context, w World, t LatencyTarget) error {
	if t.Process != nil {
		defer w.Processes.Release(*t.Process)
	}
	ns, err := netfault.Find(t.Netns, t.Hint)
	if errors.Is(err, netfault.ErrGone) {
		return nil // with everything that was in it
	}
	if err != nil {
		return err
	}
	defer ns.Close()
	if t.Mechanism == netfault.Netem {
		return ns.Unshape(ctx, *t.Shaping)
	}
	look, err := ns.Look(t.Table)
	if err != nil {
		return fmt.Errorf("see whether %s is healed: %w", t.Victim.Name, err)
	}
	if look.Present {
		return fmt.Errorf("table %s is still in the network namespace of %s: only the holder that made it can take it off, and ends with it: %w", t.Table, t.Victim.Name, netfault.ErrStillOn)
	}
	return nil
}
