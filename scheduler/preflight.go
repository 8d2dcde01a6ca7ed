package scheduler

import (
	"errors"
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
)

// Preflight checks, for a whole plan and before the first change, what planning
// could not know: halt, leases, and whether the record outlives its holder. It only reads.
func Preflight(home journal.Home, plan experiments.Plan) error {
	var why reasons
	if halt, halted, err := home.Halted(); err != nil {
		why.add(experiments.ExitRefused, "look whether this host is halted: %v", err)
	} else if halted {
		why.add(experiments.ExitRefused, "this host is halted since %s by %s (%s): `faultline resume` lets runs start again", halt.At.Local().Format("2006-01-02 15:04:05"), halt.Who, halt.Why)
	}
	if err := home.CheckWritable(); err != nil {
		why.add(experiments.ExitRefused, "%v", err)
	}
	var things []string
	journalKept := false
	for _, f := range plan.Faults {
		for _, d := range f.Descriptions {
			things = append(things, d.Leases...)
			journalKept = journalKept || d.Keeper == experiments.KeeperJournal && !plan.Experiment.Faults[f.Fault-1].Allows(experiments.DoorUnkept)
		}
		for _, g := range f.Groups {
			things = append(things, "group/"+g.Name)
		}
	}
	if err := home.CheckLeases(things); err != nil {
		var held *journal.HeldError
		if errors.As(err, &held) {
			why.add(experiments.ExitRefused, "busy: %v", held)
		} else {
			why.add(experiments.ExitRefused, "look who holds the targets: %v", err)
		}
	}
	if journalKept {
		if err := outlives(home.State); err != nil {
			why.add(experiments.ExitRefused, "the journal is what heals this plan after a crash, and %s: set FAULTLINE_HOME to a disk, or open the door with `allow: [unkept]`", fmt.Sprint(err))
		}
	}
	return why.err()
}
