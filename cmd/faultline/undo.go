package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

func newUndo(a *app) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "undo [RUN | --all]",
		Short: "Heal what an earlier run left; verifies; doing it again is fine",
		Long: `Undo heals what a run left broken, from any process: a run that is alive is told
to heal and end, one that does not answer is ended first, and what is left then is
healed here, from its journal. Exit 0: nothing is left. Exit 6: something is, or
could not be verified.`,
		Example: "  faultline undo             # the last run\n  faultline undo 20261121-1  # a run by the beginning of its ID\n  faultline undo --all       # every run of yours on this machine",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			w, home, err := a.world()
			if err != nil {
				return err
			}
			runs, err := runsToUndo(home, args, all)
			if err != nil {
				return err
			}
			err = a.undo(cmd.Context(), a.healer(w, home, "undo"), home, runs, all)
			if err != nil || all || len(args) > 0 {
				return err
			}
			return a.moreLeft(w, home)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "every run of yours on this machine")
	return cmd
}

// moreLeft keeps a bare undo, which heals the last run, from sounding as if
// nothing were left of the others.
func (a *app) moreLeft(w *platform.World, home journal.Home) error {
	if scheduler.LookAround(home, w.Host).Exit() != experiments.ExitStillBroken {
		return nil
	}
	a.tellLeft(w, home)
	return fail(experiments.ExitStillBroken, "other runs left something: `faultline undo --all` heals it")
}

func runsToUndo(home journal.Home, args []string, all bool) ([]journal.Run, error) {
	if all {
		if len(args) > 0 {
			return nil, fail(experiments.ExitUsage, "undo takes a RUN or --all, not both")
		}
		runs, err := home.Own() // others' are looked for after healing
		if err != nil {
			return nil, fail(experiments.ExitStillBroken, "%w", err)
		}
		return runs, nil
	}
	ref := "last"
	if len(args) == 1 {
		ref = args[0]
	}
	run, err := home.Find(ref)
	if len(args) == 0 && errors.Is(err, journal.ErrNoRun) {
		return nil, nil // nothing ever ran: nothing is left
	}
	if err != nil {
		return nil, fail(experiments.ExitUsage, "%w", err)
	}
	return []journal.Run{run}, nil
}

func (a *app) undo(ctx context.Context, healer scheduler.Healer, home journal.Home, runs []journal.Run, all bool) error {
	healed, left := []scheduler.Healed{}, false
	for _, run := range runs {
		one, err := healer.Undo(ctx, run)
		if err != nil {
			one.Left = append(one.Left, err.Error())
		}
		left = left || len(one.Left) > 0
		if len(one.Undone)+len(one.Left) > 0 || !all {
			healed = append(healed, one)
		}
	}
	others, othersErr := othersLeft(home, all)
	if a.json {
		if err := a.printJSON(map[string]any{"runs": healed, "others": others}); err != nil {
			return err
		}
	} else {
		a.tellHealed(healed, others, othersErr == nil)
	}
	if othersErr != nil {
		return fail(experiments.ExitStillBroken, "look for what others left: %w", othersErr)
	}
	if left || len(others) > 0 {
		return exit(experiments.ExitStillBroken)
	}
	return nil
}

// othersLeft are dead runs of others, which this user cannot heal: never "nothing left".
func othersLeft(home journal.Home, all bool) ([]string, error) {
	if !all {
		return []string{}, nil
	}
	_, others, err := home.Runs()
	left := []string{}
	for _, o := range others {
		if !o.Alive {
			left = append(left, fmt.Sprintf("run %s of %s: %s", o.ID, o.User, o.Why))
		}
	}
	return left, err
}

// tellHealed says that nothing is left only where everything could be looked at.
func (a *app) tellHealed(healed []scheduler.Healed, others []string, all bool) {
	if len(healed)+len(others) == 0 && all {
		fmt.Fprintln(a.out, "nothing is left to undo")
	}
	for _, h := range healed {
		for _, what := range h.Undone {
			fmt.Fprintf(a.out, "%s: undone and verified: %s\n", h.Run, what)
		}
		for _, what := range h.Left {
			fmt.Fprintf(a.out, "%s: STILL BROKEN: %s\n", h.Run, what)
		}
		if len(h.Undone)+len(h.Left) == 0 {
			fmt.Fprintf(a.out, "%s: nothing is left to undo\n", h.Run)
		}
	}
	for _, what := range others {
		fmt.Fprintf(a.out, "STILL BROKEN: %s\n", what)
	}
}
