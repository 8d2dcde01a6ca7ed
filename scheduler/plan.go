package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
)

// atOnce bounds how many targets are read or hit at the same time.
const atOnce = 32

// Planner makes plans. It only reads.
type Planner struct {
	World  *platform.World
	Faults func(kind string) (injectors.Fault, bool)
	Exempt []string // the control path: see ControlPath
	// Held says who has a thing, as another run's lease; nil where nobody asks.
	Held func() ([]journal.LeaseInfo, error)
}

// Plan freezes who is hit by what and when. The same world, experiment and seed
// give the same plan. Its error is a *Refusal when the plan may not be carried out.
func (p Planner) Plan(ctx context.Context, e experiments.Experiment, seed uint64) (experiments.Plan, error) {
	plan := experiments.Plan{Schema: experiments.PlanSchema, Experiment: e, Seed: seed, Faults: []experiments.PlannedFault{}, Exempt: p.Exempt}
	chosen, err := p.choose(ctx, e)
	if err != nil {
		return plan, err
	}
	var why reasons
	for i, choice := range chosen {
		f := e.Faults[i]
		victims := pick(choice, seed, i+1, taken(plan, f))
		planned := experiments.PlannedFault{
			Fault: i + 1, Name: f.Name, Kind: f.Kind, At: f.At, For: f.For, OnRestart: f.OnRestart,
			Matched: len(choice.Matched), Victims: victims, Skipped: choice.Skipped, Groups: choice.Groups,
		}
		if len(choice.Matched) == 0 {
			why.add(experiments.ExitInconclusive, "fault %q (%s) matches no target%s: see `faultline plan` for what was looked at", f.Name, f.Kind, skippedText(choice.Skipped))
		}
		plan.Faults = append(plan.Faults, planned)
	}
	if err := why.err(); err != nil {
		return plan, err
	}
	if err := p.describe(ctx, &plan); err != nil {
		return plan, err
	}
	measure(&plan)
	checkLimits(plan, &why)
	checkGroups(plan, chosen, &why)
	checkOverlap(plan, &why)
	checkDoors(plan, p.Faults, &why)
	checkProbes(plan, &why)
	return plan, why.err()
}

// choose asks every fault's selector, all at once.
func (p Planner) choose(ctx context.Context, e experiments.Experiment) ([]experiments.Choice, error) {
	chosen := make([]experiments.Choice, len(e.Faults))
	errs := make([]error, len(e.Faults))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, f := range e.Faults {
		g.Go(func() error {
			fault, ok := p.Faults(f.Kind)
			if !ok {
				errs[i] = fmt.Errorf("fault %q: this build knows no %s", f.Name, f.Kind)
				return nil
			}
			chosen[i], errs[i] = fault.Choose(ctx, p.World, f.Settings)
			return nil
		})
	}
	_ = g.Wait() // the errors stand in errs, one a fault
	var why reasons
	for i, err := range errs {
		if err != nil {
			why.add(codeOf(err), "choose the targets of fault %q (%s): %v", e.Faults[i].Name, e.Faults[i].Kind, err)
		}
	}
	return chosen, why.err()
}

// codeOf: a world that cannot be looked at is inconclusive; everything else is a refusal.
func codeOf(err error) experiments.Exit {
	if errors.Is(err, platform.ErrUnreachable) {
		return experiments.ExitInconclusive
	}
	return experiments.ExitRefused
}

func skippedText(skipped []experiments.Skipped) string {
	if len(skipped) == 0 {
		return ""
	}
	var texts []string
	for _, s := range skipped[:min(3, len(skipped))] {
		texts = append(texts, s.Name+": "+s.Why)
	}
	return fmt.Sprintf(" (%d skipped: %s)", len(skipped), strings.Join(texts, "; "))
}

// taken is who earlier faults of the plan hit during f, so that a pick avoids them.
func taken(plan experiments.Plan, f experiments.Fault) map[string]bool {
	ids := map[string]bool{}
	for _, earlier := range plan.Faults {
		if !f.Allows(experiments.DoorOverlap) && meet(earlier.At, earlier.For, f.At, f.For) {
			for _, v := range earlier.Victims {
				ids[v.ID] = true
			}
		}
	}
	return ids
}

// meet says whether two faults are on at the same time; one without a length never ends.
func meet(at1, for1, at2, for2 experiments.Duration) bool {
	ends := func(at, length experiments.Duration) experiments.Duration {
		if length == 0 {
			return experiments.Duration(1<<63 - 1)
		}
		return at + length
	}
	return at1 < ends(at2, for2) && at2 < ends(at1, for1)
}

// pick draws the victims. It depends on the seed, the fault's place and the
// matched names only, so that a seed replays the choice.
func pick(c experiments.Choice, seed uint64, fault int, avoid map[string]bool) []experiments.Candidate {
	pool := slices.Clone(c.Matched)
	slices.SortFunc(pool, func(a, b experiments.Candidate) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	n := c.Pick.Of(len(pool))
	rng := rand.New(rand.NewPCG(seed, uint64(fault)))
	rng.Shuffle(len(pool), func(i, j int) { pool[i], pool[j] = pool[j], pool[i] })
	// Those not hit by another fault first; when too few are left, the overlap check refuses.
	slices.SortStableFunc(pool, func(a, b experiments.Candidate) int {
		return cmp.Compare(btoi(avoid[a.ID]), btoi(avoid[b.ID]))
	})
	victims := pool[:min(n, len(pool))]
	slices.SortFunc(victims, func(a, b experiments.Candidate) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return victims
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// describe aims at every victim without touching it, and checks that its fault can be carried out here.
func (p Planner) describe(ctx context.Context, plan *experiments.Plan) error {
	type answer struct {
		descriptions []experiments.Description
		err          error
	}
	answers := make([][]answer, len(plan.Faults))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i := range plan.Faults {
		planned := &plan.Faults[i]
		answers[i] = make([]answer, len(planned.Victims))
		for j := range planned.Victims {
			g.Go(func() error {
				answers[i][j].descriptions, answers[i][j].err = p.aim(ctx, *plan, *planned, j)
				return nil
			})
		}
	}
	_ = g.Wait() // the errors stand in answers
	var why reasons
	for i := range plan.Faults {
		for j, a := range answers[i] {
			if a.err != nil {
				victim := plan.Faults[i].Victims[j]
				why.add(codeOf(a.err), "fault %q (%s) on %s: %v%s", plan.Faults[i].Name, plan.Faults[i].Kind, victim.Name, a.err, p.busy(victim))
			}
			plan.Faults[i].Descriptions = append(plan.Faults[i].Descriptions, a.descriptions...)
		}
	}
	return why.err()
}

// busy says which run's fault it is that an aim stumbled over.
func (p Planner) busy(victim experiments.Candidate) string {
	if p.Held == nil {
		return ""
	}
	leases, err := p.Held()
	if err != nil {
		return fmt.Sprintf(" (look who holds it: %v)", err)
	}
	for _, l := range leases {
		if slices.ContainsFunc(l.Things, func(thing string) bool { return thing == victim.Lease || strings.HasSuffix(thing, "/"+victim.ID) }) {
			return fmt.Sprintf(": busy: run %s (%s) of %s has it until %s", l.Run, l.What, l.User, l.Until.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

func (p Planner) aim(ctx context.Context, plan experiments.Plan, f experiments.PlannedFault, victim int) ([]experiments.Description, error) {
	fault, _ := p.Faults(f.Kind) // choose has found it
	order := orderFor(plan, f, victim)
	settings := plan.Experiment.Faults[f.Fault-1].Settings
	if err := fault.Preflight(ctx, p.World, settings, order); err != nil {
		return nil, err
	}
	aimed, err := fault.Aim(ctx, p.World, settings, order)
	if err != nil {
		return nil, err
	}
	var descriptions []experiments.Description
	for _, a := range aimed {
		descriptions = append(descriptions, a.Description)
	}
	return descriptions, nil
}

func orderFor(plan experiments.Plan, f experiments.PlannedFault, victim int) experiments.Order {
	return experiments.Order{
		Fault: f.Fault, Victim: f.Victims[victim], Length: f.For,
		Allow: plan.Experiment.Faults[f.Fault-1].Allow, Exempt: plan.Exempt,
		// One seed a target, so that its jitter does not follow its neighbour's.
		Seed: rand.New(rand.NewPCG(plan.Seed, uint64(f.Fault)<<32|uint64(victim))).Uint64(),
	}
}

// measure fills in the blast radius: everything hit, and for how long.
func measure(plan *experiments.Plan) {
	hit := map[string]bool{}
	first, last := experiments.Duration(1<<63-1), experiments.Duration(0)
	for _, f := range plan.Faults {
		for _, v := range f.Victims {
			hit[v.Kind+"/"+v.ID] = true
		}
		for _, d := range f.Descriptions {
			for _, h := range d.Hits {
				hit["hit/"+h] = true
			}
		}
		first, last = min(first, f.At), max(last, f.At+f.For)
	}
	plan.Targets = len(hit)
	plan.Duration = max(last-min(first, last), plan.Experiment.Timeline.During)
}

func checkLimits(plan experiments.Plan, why *reasons) {
	limits := plan.Experiment.Limits
	if plan.Targets > limits.Targets {
		why.add(experiments.ExitRefused, "the plan hits %d targets and limits.targets is %d: pick fewer, or raise the limit on purpose", plan.Targets, limits.Targets)
	}
	if plan.Duration > limits.Duration {
		why.add(experiments.ExitRefused, "the plan lasts %s from first inject to last undo and limits.duration is %s: shorten it, or raise the limit on purpose", plan.Duration, limits.Duration)
	}
	if limits.Share == nil {
		return
	}
	for _, f := range plan.Faults {
		if share := float64(len(f.Victims)) / float64(f.Matched); share > float64(*limits.Share)+1e-9 {
			why.add(experiments.ExitRefused, "fault %q hits %d of %d matched targets (%.0f%%) and limits.share is %s: pick fewer, or raise the limit on purpose",
				f.Name, len(f.Victims), f.Matched, share*100, limits.Share)
		}
	}
}

// checkGroups: of no replica group may the plan hit the last healthy member,
// all its faults counted together.
func checkGroups(plan experiments.Plan, chosen []experiments.Choice, why *reasons) {
	hit := map[string]bool{}
	open := true
	for i, f := range plan.Faults {
		open = open && plan.Experiment.Faults[i].Allows(experiments.DoorLastReplica)
		for _, v := range f.Victims {
			hit[v.ID] = true
		}
	}
	if open {
		return
	}
	seen := map[string]bool{}
	for i, choice := range chosen {
		if plan.Experiment.Faults[i].Allows(experiments.DoorLastReplica) {
			continue
		}
		for _, g := range choice.Groups {
			if left := spared(g, hit); !seen[g.Name] && anyIn(g.Members, hit) && left == 0 {
				seen[g.Name] = true
				why.add(experiments.ExitRefused, "the plan leaves no healthy member of %s (%d members, %d healthy now): pick fewer, or open the door with `allow: [last-replica]`",
					g.Name, len(g.Members), len(g.Healthy))
			}
		}
	}
}

// spared counts the healthy members that are not hit.
func spared(g experiments.Group, hit map[string]bool) int {
	n := 0
	for _, id := range g.Healthy {
		if !hit[id] {
			n++
		}
	}
	return n
}

func anyIn(ids []string, set map[string]bool) bool {
	return slices.ContainsFunc(ids, func(id string) bool { return set[id] })
}

// checkOverlap refuses two faults that are on the same thing at the same time.
func checkOverlap(plan experiments.Plan, why *reasons) {
	type holding struct {
		fault int
		name  string
	}
	holders := map[string][]holding{}
	for i, f := range plan.Faults {
		mine := map[string]string{}
		for _, v := range f.Victims {
			mine[v.Kind+"/"+v.ID] = v.Name
		}
		for _, d := range f.Descriptions {
			for _, l := range d.Leases {
				mine[l] = d.Name
			}
		}
		told := map[int]bool{}
		for thing, name := range mine {
			for _, h := range holders[thing] {
				other := plan.Faults[h.fault]
				open := plan.Experiment.Faults[i].Allows(experiments.DoorOverlap) || plan.Experiment.Faults[h.fault].Allows(experiments.DoorOverlap)
				if told[h.fault] || open || !meet(other.At, other.For, f.At, f.For) {
					continue
				}
				told[h.fault] = true
				why.add(experiments.ExitRefused, "faults %q and %q are on %s at the same time: move one in time, pick another target, or open the door with `allow: [overlap]`", other.Name, f.Name, name)
			}
		}
		for thing, name := range mine {
			holders[thing] = append(holders[thing], holding{i, name})
		}
	}
}

func checkDoors(plan experiments.Plan, find func(string) (injectors.Fault, bool), why *reasons) {
	for i, f := range plan.Faults {
		fault, _ := find(f.Kind)
		if fault.About.Irreversible && !plan.Experiment.Faults[i].Allows(experiments.DoorIrreversible) {
			why.add(experiments.ExitRefused, "fault %q (%s) cannot be undone and data can be lost: open the door with `allow: [irreversible]`", f.Name, f.Kind)
		}
	}
}

// asksByNetwork are the probes whose questions leave by this process's own network.
var asksByNetwork = map[string]bool{"http": true, "tcp": true, "exec": true}

// checkProbes refuses a fault that would hit those who judge it: their bad
// answers would say nothing about the service.
func checkProbes(plan experiments.Plan, why *reasons) {
	for _, f := range plan.Faults {
		for _, d := range f.Descriptions {
			for _, p := range plan.Experiment.Probes {
				if d.HitsUs && asksByNetwork[p.Kind] {
					why.add(experiments.ExitRefused, "fault %q on %s would hit this host's own network, from which probe %q asks: its answers would say nothing; ask from elsewhere, or pick another target", f.Name, d.Name, p.Name)
				}
			}
		}
	}
}

// Compare says how two plans of one experiment differ; empty when nobody would notice.
func Compare(saved, now experiments.Plan) []string {
	var differences []string
	if len(saved.Faults) != len(now.Faults) {
		return []string{fmt.Sprintf("the plan had %d faults and has %d now", len(saved.Faults), len(now.Faults))}
	}
	for i, s := range saved.Faults {
		n := now.Faults[i]
		differences = append(differences, compareVictims(s, n)...)
		for j := range min(len(s.Descriptions), len(n.Descriptions)) {
			a, b := s.Descriptions[j], n.Descriptions[j]
			if a.Mechanism != b.Mechanism || a.Keeper != b.Keeper || !slices.Equal(a.Leases, b.Leases) || !slices.Equal(a.Hits, b.Hits) {
				differences = append(differences, fmt.Sprintf("fault %q on %s: was %s on %s, is %s on %s", s.Name, a.Name,
					a.Mechanism, strings.Join(append(a.Leases, a.Hits...), " "), b.Mechanism, strings.Join(append(b.Leases, b.Hits...), " ")))
			}
		}
	}
	return differences
}

func compareVictims(s, n experiments.PlannedFault) []string {
	var differences []string
	if s.Matched != n.Matched {
		differences = append(differences, fmt.Sprintf("fault %q matched %d targets and matches %d now", s.Name, s.Matched, n.Matched))
	}
	ids := func(f experiments.PlannedFault) string {
		var out []string
		for _, v := range f.Victims {
			out = append(out, fmt.Sprintf("%s (%.20s)", v.Name, v.ID))
		}
		return strings.Join(out, ", ")
	}
	if ids(s) != ids(n) {
		differences = append(differences, fmt.Sprintf("fault %q was to hit %s and would hit %s now", s.Name, ids(s), ids(n)))
	}
	return differences
}

// NewSeed makes a seed for somebody who gave none. It is recorded, and `--seed` replays it.
func NewSeed() uint64 { return rand.Uint64() >> 11 } // fits a JSON number
