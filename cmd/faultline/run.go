package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/probes"
	"github.com/faultline-sh/faultline/scheduler"
)

// runFlags are the flags of every command that carries out experiments.
type runFlags struct {
	vars   []string
	seed   uint64
	out    string
	plan   string
	dryRun bool

	several bool // experiments in one command
}

func (f *runFlags) add(cmd *cobra.Command) {
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "choose as the run with this seed did")
	cmd.Flags().StringVar(&f.out, "out", "", "also write the reports into this directory; several runs get a folder each")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the plan and do nothing")
}

func newRun(a *app) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   "run FILE... | - | --plan PLAN",
		Short: "Carry out experiments and write their reports",
		Long: `Run checks every experiment to its end before the first change, takes a baseline,
injects, heals, watches the recovery and writes the reports. It ends with a line
ID VERDICT PATH on standard output.

Exit codes: 0 passed; 1 failed; 2 bad input; 3 inconclusive; 4 aborted by a guard
or halt; 5 refused, nothing was started; 6 something is still broken;
129, 130, 143 interrupted, and undone.`,
		Example: "  faultline run experiment.yaml\n  faultline run experiment.yaml --dry-run\n  faultline run a.yaml b.yaml --out reports/ --var replicas=3\n  generate | faultline run -",
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.plan != "" {
				return a.runPlan(cmd, f, args)
			}
			if len(args) == 0 {
				return fail(experiments.ExitUsage, "run takes at least one FILE, or - for standard input: `faultline init KIND` prints one to begin with")
			}
			es, err := a.documents(args, f.vars)
			if err != nil {
				return err
			}
			return a.runAll(cmd.Context(), f, es, seedOr(cmd, f.seed), nil)
		},
	}
	f.add(cmd)
	cmd.Flags().StringArrayVar(&f.vars, "var", nil, "give ${var:name} a value, as name=value")
	cmd.Flags().StringVar(&f.plan, "plan", "", "carry out the choice that a plan saved with --out; refuse when the world has changed since")
	return cmd
}

// outOf is where a run's reports go too: each of several has a folder of its own.
func (f *runFlags) outOf(run journal.Run) string {
	if f.out == "" || !f.several {
		return f.out
	}
	return filepath.Join(f.out, run.ID)
}

// runPlan carries out a saved choice: everything is checked and aimed again.
func (a *app) runPlan(cmd *cobra.Command, f *runFlags, args []string) error {
	if len(args) > 0 {
		return fail(experiments.ExitUsage, "run takes FILE or --plan, not both: a plan holds its experiment")
	}
	saved, err := a.loadPlan(f.plan)
	if err != nil {
		return err
	}
	return a.runAll(cmd.Context(), f, []experiments.Experiment{saved.Experiment}, saved.Seed, &saved)
}

// runAll preflights all experiments, then runs them in order; the worst code answers.
func (a *app) runAll(ctx context.Context, f *runFlags, es []experiments.Experiment, seed uint64, saved *experiments.Plan) error {
	w, home, err := a.world()
	if err != nil {
		return err
	}
	if f.dryRun {
		a.tellLeft(w, home)
	} else {
		a.healOrphans(ctx, w, home)
	}
	plans, err := a.plans(ctx, w, home, es, seed)
	if err == nil && saved != nil {
		err = unchanged(*saved, plans[0])
	}
	if f.dryRun || err != nil && !a.json {
		if tellErr := a.tellPlans(plans); tellErr != nil {
			return tellErr
		}
	}
	if err != nil || f.dryRun {
		return err
	}
	ctx, interrupted := a.interruptible(ctx, home, w)
	defer interrupted()
	return exit(a.runEach(ctx, w, home, f, plans))
}

// runEach runs all in order; somebody who interrupts one means them all.
func (a *app) runEach(ctx context.Context, w *platform.World, home journal.Home, f *runFlags, plans []experiments.Plan) experiments.Exit {
	f.several = len(plans) > 1
	var codes []experiments.Exit
	for _, plan := range plans {
		if ctx.Err() != nil {
			fmt.Fprintf(a.err, "faultline: %s: not started\n", plan.Experiment.Name)
			continue
		}
		code, err := a.runOne(ctx, w, home, f, plan)
		if err != nil {
			told, text := outcome(err)
			fmt.Fprintf(a.err, "faultline: %s: %s\n", plan.Experiment.Name, text)
			code = told
		}
		codes = append(codes, code)
	}
	return worstOfRuns(codes)
}

// worstOfRuns answers for several runs. Where one was started, one that was
// refused is inconclusive: its own code would say that nothing was started.
func worstOfRuns(codes []experiments.Exit) experiments.Exit {
	refused := func(c experiments.Exit) bool { return c == experiments.ExitRefused || c == experiments.ExitUsage }
	if !slices.ContainsFunc(codes, func(c experiments.Exit) bool { return !refused(c) }) {
		return experiments.WorstExit(codes...)
	}
	var answers []experiments.Exit
	for _, code := range codes {
		if refused(code) {
			code = experiments.ExitInconclusive
		}
		answers = append(answers, code)
	}
	return experiments.WorstExit(answers...)
}

func unchanged(saved, now experiments.Plan) error {
	differences := scheduler.Compare(saved, now)
	if len(differences) == 0 {
		return nil
	}
	return fail(experiments.ExitRefused, "the world has changed since the plan was made, and nothing was started:\n  - %s\nmake a new plan", strings.Join(differences, "\n  - "))
}

// healOrphans takes back what dead runs of this user left, and says so.
func (a *app) healOrphans(ctx context.Context, w *platform.World, home journal.Home) {
	healed, err := a.healer(w, home, "run").HealOrphans(ctx)
	for _, h := range healed {
		for _, what := range h.Undone {
			fmt.Fprintf(a.err, "faultline: an earlier run (%s) had left %s: undone and verified\n", h.Run, what)
		}
		for _, what := range h.Left {
			fmt.Fprintf(a.err, "faultline: an earlier run (%s) is STILL BROKEN: %s\n", h.Run, what)
		}
	}
	if err != nil {
		fmt.Fprintf(a.err, "faultline: of earlier runs: %v\n", err)
	}
}

// runOne carries out one plan, writes its reports and prints its last line.
func (a *app) runOne(ctx context.Context, w *platform.World, home journal.Home, f *runFlags, plan experiments.Plan) (experiments.Exit, error) {
	plan.Experiment.Secrets = a.secrets // a plan that was loaded has none
	document, err := experiments.MarshalDocument(plan.Experiment)
	if err != nil {
		return 0, fmt.Errorf("write down the experiment: %w", err)
	}
	a.showPlan(plan)
	show := a.progress(plan, w.Host)
	defer show.Close()
	runner := scheduler.Runner{World: w, Faults: injectors.Find, Probes: probes.Table(), Home: home, Exe: selfExe(), Show: show}
	result, err := runner.Run(ctx, scheduler.Start{Plan: plan, Secrets: a.secrets, Header: experiments.Header{
		Version: a.version(), Host: hostName(), User: userName(), Document: string(document), Engine: a.engineName(ctx, w, plan),
		Command: reproduction(os.Args, plan.Seed),
	}})
	show.Close()
	if err != nil {
		return 0, err
	}
	for _, note := range result.Notes {
		a.say("faultline: %s", note)
	}
	return a.conclude(result, f.outOf(result.Run))
}

// showPlan says what is about to happen, where progress is said.
func (a *app) showPlan(plan experiments.Plan) {
	var text strings.Builder
	writePlan(&text, plan)
	a.say("%s", a.secrets.Redact(text.String()))
}

// conclude folds the record into a verdict and writes every report.
func (a *app) conclude(result scheduler.Result, out string) (experiments.Exit, error) {
	summary, err := summarize(result.Run)
	if err != nil {
		return 0, fail(experiments.ExitInconclusive, "read the record of run %s: %w", result.Run.ID, err)
	}
	paths, err := a.writeReports(result.Run, summary, out)
	code := summary.Exit
	if len(result.Left) > 0 {
		fmt.Fprintf(a.err, "faultline: STILL BROKEN, or not known not to be:\n  %s\n  heal it: faultline undo %s\n", strings.Join(result.Left, "\n  "), result.Run.ID)
		code = experiments.ExitStillBroken
	}
	if result.Lost != nil {
		fmt.Fprintf(a.err, "faultline: the holder was lost, and its faults were healed from here: %v\n", result.Lost)
		code = experiments.WorstExit(code, experiments.ExitInconclusive)
	}
	fmt.Fprintf(a.out, "%s %s %s\n", result.Run.ID, summary.Verdict, paths)
	if err != nil {
		return experiments.WorstExit(code, experiments.ExitInconclusive), fail(experiments.WorstExit(code, experiments.ExitInconclusive), "%w", err)
	}
	return code, nil
}

// reproduction is the command that chooses the same victims again.
func reproduction(args []string, seed uint64) []string {
	command := append([]string{"faultline"}, args[1:]...)
	for _, arg := range command {
		if arg == "--seed" || strings.HasPrefix(arg, "--seed=") {
			return command
		}
	}
	return append(command, "--seed", strconv.FormatUint(seed, 10))
}

func (a *app) engineName(ctx context.Context, w *platform.World, plan experiments.Plan) string {
	for _, f := range plan.Faults {
		for _, v := range f.Victims {
			if v.Kind != "container" {
				continue
			}
			info, err := w.Engine.Info(ctx)
			if err != nil {
				return "not known: " + err.Error()
			}
			return fmt.Sprintf("%s %s (API %s) at %s", info.Name, info.Version, info.API, info.Endpoint)
		}
	}
	return ""
}

func hostName() string {
	name, err := os.Hostname()
	if err != nil {
		return "not known: " + err.Error()
	}
	return name
}

// absolute is for people who are elsewhere when they read it.
func absolute(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

var errInterrupted = errors.New("interrupted")
