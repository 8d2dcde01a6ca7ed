package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/scheduler"
)

func newStatus(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "status",
		Short:   "Show what is running, held, halted and left behind on this host; touch nothing",
		Long:    "Status reads and never changes. Exit 6: something is left broken. Exit 3: something could not be looked at.",
		Example: "  faultline status\n  faultline status --json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			w, home, err := a.world()
			if err != nil {
				return err
			}
			status := scheduler.LookAround(home, w.Host)
			if a.json {
				if err := a.printJSON(status); err != nil {
					return err
				}
			} else {
				a.tellStatus(status)
			}
			return exit(status.Exit())
		},
	}
}

func (a *app) tellStatus(s scheduler.Status) {
	if s.Halted != nil {
		fmt.Fprintf(a.out, "HALTED since %s by %s: %s (`faultline resume`)\n", s.Halted.At.Local().Format(time.DateTime), s.Halted.Who, s.Halted.Why)
	}
	if len(s.Runs) == 0 {
		fmt.Fprintln(a.out, "no runs yet")
	}
	for _, r := range s.Runs {
		fmt.Fprintf(a.out, "%s  %s  %s%s  %s\n", r.ID, r.Name, r.State, orNothing(", ", string(r.Phase)), r.Undone)
		for _, on := range r.On {
			until := ""
			if !on.Until.IsZero() {
				until = " until " + on.Until.Local().Format(time.TimeOnly)
			}
			fmt.Fprintf(a.out, "  on: %s on %s%s, kept by the %s%s\n", on.Kind, on.Target, until, on.Keeper, orNothing(": ", on.Error))
		}
		if (r.State == scheduler.RunOrphan || r.State == scheduler.RunLeft) && len(r.On) > 0 {
			fmt.Fprintf(a.out, "  heal it: faultline undo %s\n", r.ID)
		}
	}
	for _, l := range s.Leases {
		fmt.Fprintf(a.out, "held: %s by run %s of %s until %s\n", strings.Join(l.Things, ", "), l.Run, l.User, l.Until.Local().Format(time.TimeOnly))
	}
	for _, o := range s.Others {
		fmt.Fprintf(a.out, "%s of %s: %s\n", o.ID, o.User, o.Why)
	}
	for _, p := range s.Problems {
		fmt.Fprintf(a.out, "could not look: %s\n", p)
	}
}
