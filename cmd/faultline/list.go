package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/probes"
	"github.com/faultline-sh/faultline/reports"
)

func newList(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list faults | probes | runs",
		Short:   "List what can be broken, what can be asked, and what was run",
		Example: "  faultline list faults\n  faultline list probes --json\n  faultline list runs",
	}
	cmd.AddCommand(
		&cobra.Command{Use: "faults", Short: "List the faults of this build", Args: cobra.NoArgs, Example: "  faultline list faults", RunE: func(*cobra.Command, []string) error { return a.listFaults() }},
		&cobra.Command{Use: "probes", Short: "List the probes of this build", Args: cobra.NoArgs, Example: "  faultline list probes", RunE: func(*cobra.Command, []string) error { return a.listProbes() }},
		&cobra.Command{Use: "runs", Short: "List the runs of this state directory, newest first", Args: cobra.NoArgs, Example: "  faultline list runs", RunE: func(*cobra.Command, []string) error { return a.listRuns() }},
	)
	return cmd
}

// table prints rows for people, or as JSON objects under the header's names.
func (a *app) table(header []string, rows [][]string) error {
	if a.json {
		objects := []map[string]string{}
		for _, row := range rows {
			object := map[string]string{}
			for i, name := range header {
				object[name] = row[i]
			}
			objects = append(objects, object)
		}
		return a.printJSON(objects)
	}
	if err := reports.Table(a.out, header, rows); err != nil {
		return fail(experiments.ExitUsage, "print the table: %w", err)
	}
	return nil
}

func (a *app) listFaults() error {
	var rows [][]string
	for _, f := range injectors.Table() {
		undo := "undone"
		switch {
		case f.About.Irreversible:
			undo = "cannot be undone; needs allow: [irreversible]"
		case !f.About.Undoable:
			undo = "happens once"
		}
		rows = append(rows, []string{f.About.Kind, f.About.Summary, undo, strings.Join(f.About.Doors, ", ")})
	}
	return a.table([]string{"kind", "what it does", "undo", "doors"}, rows)
}

func (a *app) listProbes() error {
	var rows [][]string
	for _, p := range probes.Table() {
		rows = append(rows, []string{p.ProbeKind.Kind, p.Summary, p.Expect})
	}
	return a.table([]string{"kind", "what it asks", "expects unless said"}, rows)
}

func (a *app) listRuns() error {
	w, home, err := a.world()
	if err != nil {
		return err
	}
	a.tellLeft(w, home)
	runs, _, err := home.Runs()
	if err != nil {
		return fail(experiments.ExitInconclusive, "%w", err)
	}
	rows := [][]string{}
	for _, run := range runs {
		rows = append(rows, runRow(run))
	}
	return a.table([]string{"id", "name", "started", "verdict", "undone"}, rows)
}

// runRow: a record that cannot be read is listed with the reason, not left out.
func runRow(run journal.Run) []string {
	alive, err := run.Locked()
	if err != nil {
		return []string{run.ID, "", "", fmt.Sprintf("could not look: %v", err), "unknown"}
	}
	s, err := summarize(run)
	if err != nil {
		return []string{run.ID, "", "", fmt.Sprintf("could not read: %v", err), "unknown"}
	}
	verdict := s.Verdict.String()
	if alive {
		verdict = "running"
	}
	return []string{run.ID, s.Header.Plan.Experiment.Name, s.Header.Started.Local().Format(time.DateTime), verdict, string(s.Undone)}
}
