package main

import (
	"bytes"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
)

func newReport(a *app) *cobra.Command {
	var format string
	cmd := &cobra.Command{
		Use:   "report RUN",
		Short: "Print the report of a run, also of one that was killed",
		Long: `Report folds the run's record again and prints it. It judges nothing anew that was
not recorded. RUN is an ID, the beginning of one, or "last".`,
		Example: "  faultline report last\n  faultline report last --format html > report.html\n  faultline report 2026112 --format junit",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if a.json {
				format = "json"
			}
			f, ok := reports.FindFormat(format)
			if !ok {
				return fail(experiments.ExitUsage, "there is no format %q: there are %s", format, strings.Join(formatNames(), ", "))
			}
			w, home, err := a.world()
			if err != nil {
				return err
			}
			a.tellLeft(w, home)
			run, err := home.Find(append(args, "last")[0])
			if err != nil {
				return fail(experiments.ExitUsage, "%w", err)
			}
			summary, err := summarize(run)
			if err != nil {
				return fail(experiments.ExitInconclusive, "read the record of run %s: %w", run.ID, err)
			}
			var text bytes.Buffer
			if err := f.Render(&text, summary); err != nil {
				return fail(experiments.ExitInconclusive, "write the %s report: %w", f.Name, err)
			}
			if _, err := io.Copy(a.out, &text); err != nil {
				return fail(experiments.ExitInconclusive, "print the report: %w", err)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&format, "format", "table", "one of "+strings.Join(formatNames(), ", "))
	return cmd
}

func formatNames() []string {
	var names []string
	for _, f := range reports.Formats() {
		names = append(names, f.Name)
	}
	return names
}
