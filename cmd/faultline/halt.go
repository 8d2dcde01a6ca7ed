package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// haltLimit is how long halt waits for live runs to heal before it ends their holders.
const haltLimit = 15 * time.Second

func newHalt(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "halt [REASON...]",
		Short:   "The big red button: stop every run on this host, heal, and let none start until resume",
		Example: "  faultline halt\n  faultline halt customers are calling",
		RunE: func(cmd *cobra.Command, args []string) error {
			w, home, err := a.world()
			if err != nil {
				return err
			}
			why := strings.Join(args, " ")
			if why == "" {
				why = "no reason given"
			}
			// The halt itself may fail (a full disk): what runs is ended all the same.
			haltErr := home.Halt(userName(), why, w.Host.Now())
			return a.afterHalt(cmd.Context(), w, home, haltErr)
		},
	}
}

func (a *app) afterHalt(ctx context.Context, w *platform.World, home journal.Home, haltErr error) error {
	runs, err := home.Own() // others' are looked for after healing
	if err != nil {
		return fail(experiments.ExitStillBroken, "%w", errors.Join(haltErr, err))
	}
	a.waitForRuns(ctx, w, home)
	healer := a.healer(w, home, "halt")
	healed, left := []scheduler.Healed{}, false
	for _, run := range runs {
		one, err := healer.Undo(ctx, run)
		if err != nil {
			one.Left = append(one.Left, err.Error())
		}
		left = left || len(one.Left) > 0
		if len(one.Undone)+len(one.Left) > 0 {
			healed = append(healed, one)
		}
	}
	others, err := othersLeft(home, true)
	a.tellHealed(healed, others, err == nil)
	if err := errors.Join(haltErr, err); err != nil {
		return fail(experiments.ExitStillBroken, "%w", err)
	}
	fmt.Fprintln(a.out, "halted: no run starts on this host until `faultline resume`")
	if left || len(others) > 0 {
		return exit(experiments.ExitStillBroken)
	}
	return nil
}

// waitForRuns gives live runs, whoever's they are, the time to see the halt and heal.
func (a *app) waitForRuns(ctx context.Context, w *platform.World, home journal.Home) {
	for deadline := w.Host.Boottime().Add(haltLimit); w.Host.Boottime() < deadline && ctx.Err() == nil; {
		alive := false
		status := scheduler.LookAround(home, w.Host)
		for _, r := range status.Runs {
			alive = alive || r.State == scheduler.RunAlive
		}
		for _, o := range status.Others {
			alive = alive || o.Alive
		}
		if !alive {
			return
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

func newResume(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "resume",
		Short:   "Let runs start again after a halt",
		Example: "  faultline resume",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			_, home, err := a.world()
			if err != nil {
				return err
			}
			if err := home.Resume(); err != nil {
				return fail(experiments.ExitRefused, "%w", err)
			}
			fmt.Fprintln(a.out, "resumed: runs may start again")
			return nil
		},
	}
}
