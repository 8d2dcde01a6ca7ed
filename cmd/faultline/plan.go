package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// planLimit bounds the reading of the world; an engine that does not answer is said, not waited for.
const planLimit = time.Minute

func newPlan(a *app) *cobra.Command {
	var vars []string
	var seed uint64
	var out string
	cmd := &cobra.Command{
		Use:   "plan FILE...",
		Short: "Show who would be hit, how, and what takes it back; do nothing",
		Long: `Plan resolves the targets of every fault and shows for each the mechanism, what
keeps it from outliving faultline, the undo and the blast radius. It only reads.
--out saves the choice; ` + "`faultline run --plan`" + ` carries out that one and refuses when
the world has changed since.`,
		Example: "  faultline plan experiment.yaml\n  faultline plan experiment.yaml --seed 42 --out plan.json\n  faultline run --plan plan.json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			es, err := a.documents(args, vars)
			if err != nil {
				return err
			}
			w, home, err := a.world()
			if err != nil {
				return err
			}
			a.tellLeft(w, home)
			plans, err := a.plans(cmd.Context(), w, home, es, seedOr(cmd, seed))
			if tellErr := a.tellPlans(plans); tellErr != nil {
				return tellErr
			}
			if err != nil || out == "" {
				return err
			}
			return a.savePlan(out, plans)
		},
	}
	cmd.Flags().StringArrayVar(&vars, "var", nil, "give ${var:name} a value, as name=value")
	cmd.Flags().Uint64Var(&seed, "seed", 0, "choose as the run with this seed did")
	cmd.Flags().StringVar(&out, "out", "", "save the plan as JSON in this file")
	return cmd
}

func seedOr(cmd *cobra.Command, seed uint64) uint64 {
	if cmd.Flags().Changed("seed") {
		return seed
	}
	return scheduler.NewSeed()
}

// plans makes and checks every plan before anything is started; all refusals are told together.
func (a *app) plans(ctx context.Context, w *platform.World, home journal.Home, es []experiments.Experiment, seed uint64) ([]experiments.Plan, error) {
	ctx, cancel := context.WithTimeout(ctx, planLimit)
	defer cancel()
	planner := scheduler.Planner{World: w, Faults: injectors.Find, Exempt: a.controlPath(ctx, w), Held: home.Held}
	var plans []experiments.Plan
	var codes []experiments.Exit
	var errs []error
	for _, e := range es {
		plan, err := planner.Plan(ctx, e, seed)
		if err == nil {
			err = scheduler.Preflight(home, plan)
		}
		plans = append(plans, plan)
		if err != nil {
			code, text := outcome(err)
			codes = append(codes, code)
			errs = append(errs, fmt.Errorf("%s: %s", e.Name, text))
		}
	}
	if len(errs) > 0 {
		return plans, fail(experiments.WorstExit(codes...), "refused, and nothing was started:\n%w", errors.Join(errs...))
	}
	return plans, nil
}

func (a *app) controlPath(ctx context.Context, w *platform.World) []string {
	endpoint := a.getenv("DOCKER_HOST")
	if info, err := w.Engine.Info(ctx); err == nil { // no engine has no endpoint to keep open
		endpoint = info.Endpoint
	}
	return scheduler.ControlPath(a.getenv("SSH_CONNECTION"), endpoint)
}

func (a *app) tellPlans(plans []experiments.Plan) error {
	if a.json {
		if len(plans) == 1 {
			return a.printJSON(plans[0])
		}
		return a.printJSON(plans)
	}
	for _, p := range plans {
		var text strings.Builder
		writePlan(&text, p)
		if _, err := io.WriteString(a.out, a.secrets.Redact(text.String())); err != nil {
			return fail(experiments.ExitUsage, "print the plan: %w", err)
		}
	}
	return nil
}

func (a *app) printJSON(v any) error {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err == nil {
		_, err = fmt.Fprintf(a.out, "%s\n", a.secrets.RedactJSON(raw))
	}
	if err != nil {
		return fail(experiments.ExitUsage, "print the result: %w", err)
	}
	return nil
}

// writePlan shows a plan to people.
func writePlan(w io.Writer, p experiments.Plan) {
	e := p.Experiment
	fmt.Fprintf(w, "%s\n", e.Name)
	if e.Hypothesis != "" {
		fmt.Fprintf(w, "  hypothesis    %s\n", e.Hypothesis)
	}
	fmt.Fprintf(w, "  timeline      before %s, during %s, after %s\n", e.Timeline.Before, p.Duration, e.Timeline.After)
	fmt.Fprintf(w, "  blast radius  %d of at most %d targets, %s of at most %s\n", p.Targets, e.Limits.Targets, p.Duration, e.Limits.Duration)
	fmt.Fprintf(w, "  seed          %d\n", p.Seed)
	for _, x := range p.Exempt {
		fmt.Fprintf(w, "  kept open     %s (control path)\n", x)
	}
	if s := e.Schedule; s != nil {
		fmt.Fprintf(w, "  schedule      %s %s%s (for `faultline serve`; `run` does not wait for it)\n", s.Cron, s.Timezone, orNothing(", within ", s.Window))
	}
	for _, q := range e.Probes {
		fmt.Fprintf(w, "  probe         %s: %s every %s\n", q.Name, q.Kind, q.Every)
	}
	for _, f := range p.Faults {
		writeFault(w, f)
	}
}

func writeFault(w io.Writer, f experiments.PlannedFault) {
	length := "once"
	if f.For > 0 {
		length = "for " + f.For.String()
	}
	fmt.Fprintf(w, "\n  fault %d: %s (%s) at %s, %s: %d of %d matched\n", f.Fault, f.Name, f.Kind, f.At, length, len(f.Victims), f.Matched)
	for _, d := range f.Descriptions {
		fmt.Fprintf(w, "    %s %s\n", d.Kind, d.Name)
		for _, row := range [][2]string{
			{"mechanism", d.Mechanism}, {"kept by", keptBy(d.Keeper)}, {"undo", d.Undo}, {"restarts", d.Restart},
			{"hits too", strings.Join(d.Hits, ", ")}, {"asked", asked(d.Asked)}, {"note", strings.Join(d.Notes, "; ")},
		} {
			if row[1] != "" {
				fmt.Fprintf(w, "      %-10s %s\n", row[0], row[1])
			}
		}
	}
	for _, s := range f.Skipped {
		fmt.Fprintf(w, "    skipped %s: %s\n", s.Name, s.Why)
	}
}

// keepers say what takes a fault back when faultline itself is killed.
var keepers = map[experiments.Keeper]string{
	experiments.KeeperKernel:  "the kernel (gone with its holder)",
	experiments.KeeperObject:  "the object itself (any faultline heals it)",
	experiments.KeeperJournal: "the journal (healed by the holder, or by the next run, undo or halt here)",
	experiments.KeeperNone:    "nobody: there is nothing to take back",
}

func keptBy(k experiments.Keeper) string {
	if text, ok := keepers[k]; ok {
		return text
	}
	return string(k)
}

func asked(m map[string]string) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, k+" "+m[k])
	}
	return strings.Join(parts, ", ")
}

func orNothing(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

func (a *app) savePlan(path string, plans []experiments.Plan) error {
	if len(plans) != 1 {
		return fail(experiments.ExitUsage, "save the plan: --out takes one experiment, and there are %d", len(plans))
	}
	plan := plans[0]
	plan.Secrets = a.secrets.Names()
	raw, err := json.MarshalIndent(plan, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(a.secrets.RedactJSON(raw), '\n'), 0o600)
	}
	if err != nil {
		return fail(experiments.ExitUsage, "save the plan: %w", err)
	}
	return nil
}

// loadPlan reads a saved plan, with the values of its secrets put back.
func (a *app) loadPlan(path string) (experiments.Plan, error) {
	var p experiments.Plan
	raw, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err == nil && len(p.Secrets) > 0 {
		err = a.restore(raw, &p)
	}
	if err != nil {
		return p, fail(experiments.ExitUsage, "read the plan %s: %w: make it with `faultline plan FILE --out %s`", path, err, path)
	}
	if p.Schema != experiments.PlanSchema {
		return p, fail(experiments.ExitUsage, "read the plan %s: its schema is %q and this build reads %q", path, p.Schema, experiments.PlanSchema)
	}
	return p, nil
}

func (a *app) restore(raw []byte, p *experiments.Plan) error {
	for _, name := range p.Secrets {
		if value, ok := a.lookup(name); ok {
			a.secrets = append(a.secrets, experiments.Secret{Name: name, Value: value})
		}
	}
	whole, missing := experiments.Restore(raw, p.Secrets, a.lookup)
	if len(missing) > 0 {
		return fmt.Errorf("it needs %s, which cannot be read here", strings.Join(missing, ", "))
	}
	return json.Unmarshal(whole, p)
}
