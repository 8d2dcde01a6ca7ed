package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
)

func newPrune(a *app) *cobra.Command {
	var older time.Duration
	var keep int
	cmd := &cobra.Command{
		Use:   "prune",
		Short: "Remove old records; never one with something open",
		Example: "  faultline prune                       # older than 30 days, the newest 20 stay\n" +
			"  faultline prune --older 168h --keep 5",
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w, home, err := a.world()
			if err != nil {
				return err
			}
			removed, open, err := home.Prune(w.Host.Now(), older, keep)
			for _, run := range removed {
				a.say("removed %s", run.ID)
			}
			for _, run := range open {
				a.say("kept %s: it is open, alive or not readable; `faultline status` shows it", run.ID)
			}
			fmt.Fprintf(a.out, "%d removed, %d old ones kept because they are open\n", len(removed), len(open))
			if err != nil {
				return fail(experiments.ExitInconclusive, "%w", err)
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&older, "older", 30*24*time.Hour, "remove what is older than this")
	cmd.Flags().IntVar(&keep, "keep", 20, "the newest so many always stay")
	return cmd
}
