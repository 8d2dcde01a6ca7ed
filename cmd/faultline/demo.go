package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/demo"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

func newDemo(a *app) *cobra.Command {
	f := &runFlags{}
	cmd := &cobra.Command{
		Use:   demo.Command,
		Short: "Break a small replicated service of our own, heal it and report; no root, no Docker, half a minute",
		Long: `Demo starts three replicas of a small key-value store behind a balancer, all on
loopback ports that nobody uses, and runs two experiments on them: one replica is
killed, which the service survives, and one is frozen, which it does not, because
its balancer's health check is too slow. Both reports are written, and everything
that was started is ended.

It exits with 0 when both experiments ended as they were meant to, else with 1.`,
		Example: "  faultline demo\n  faultline demo --out reports/",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.demo(cmd.Context(), f, seedOr(cmd, f.seed))
		},
	}
	cmd.Flags().Uint64Var(&f.seed, "seed", 0, "choose the replicas that the demo with this seed chose")
	cmd.Flags().StringVar(&f.out, "out", "", "also write the reports below this directory")
	for name, part := range demo.Parts() {
		cmd.AddCommand(&cobra.Command{
			Use: name, Hidden: true, DisableFlagParsing: true,
			RunE: func(_ *cobra.Command, args []string) error { return part(args) },
		})
	}
	return cmd
}

func (a *app) demo(ctx context.Context, f *runFlags, seed uint64) error {
	w, home, err := a.world()
	if err != nil {
		return err
	}
	ctx, interrupted := a.interruptible(ctx, home, w)
	defer interrupted()
	news := a.err
	if a.quiet {
		news = io.Discard
	}
	service, err := demo.Start(ctx, selfExe(), news)
	if err != nil {
		return fail(experiments.ExitFailed, "%w", err)
	}
	defer service.Stop()
	fmt.Fprintf(a.out, "Three replicas of a key-value store run behind a balancer: %s/kv/%s\n", service.URL, demo.GreetingKey)
	asMeant := true
	for _, chapter := range demo.Chapters() {
		fmt.Fprintf(a.out, "\n%s\n", chapter.Told)
		code, err := a.chapter(ctx, w, home, f, seed, service, chapter)
		if ctx.Err() != nil {
			return exit(experiments.WorstExit(code, interruptCode(ctx)))
		}
		if err != nil {
			return err
		}
		if code != chapter.Meant {
			asMeant = false
			fmt.Fprintf(a.out, "This is not how it was meant to end: exit code %d, and %d was meant. The report says why.\n", code, chapter.Meant)
			continue
		}
		fmt.Fprintln(a.out, chapter.Lesson)
	}
	if !asMeant {
		return exit(experiments.ExitFailed)
	}
	fmt.Fprintln(a.out, "\nBoth ended as they were meant to. Open the reports; then try your own: `faultline init process.kill`")
	return nil
}

// chapter plans and carries out one experiment of the demo, as `run` would.
func (a *app) chapter(ctx context.Context, w *platform.World, home journal.Home, f *runFlags, seed uint64, s *demo.Service, c demo.Chapter) (experiments.Exit, error) {
	parsed, problems := experiments.Parse([]experiments.File{{Name: c.File, Text: c.Text}}, catalog(),
		experiments.Options{Vars: map[string]string{"url": s.URL, "tag": s.Tag}, Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if len(problems) > 0 {
		return experiments.ExitUsage, a.tellProblems(problems)
	}
	plans, err := a.plans(ctx, w, home, parsed.Experiments, seed)
	if err != nil {
		return experiments.ExitRefused, err
	}
	flags := *f
	if f.out != "" {
		flags.out = filepath.Join(f.out, strings.TrimSuffix(filepath.Base(c.File), filepath.Ext(c.File)))
	}
	return a.runOne(ctx, w, home, &flags, plans[0])
}

// interruptCode is the code for the signal that ended the context.
func interruptCode(ctx context.Context) experiments.Exit {
	var aborted *scheduler.Aborted
	if !errors.As(context.Cause(ctx), &aborted) {
		return experiments.ExitPassed
	}
	codes := map[experiments.AbortBy]experiments.Exit{
		experiments.AbortInt: experiments.ExitInt, experiments.AbortTerm: experiments.ExitTerm, experiments.AbortHup: experiments.ExitHup,
	}
	return codes[aborted.By]
}
