package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/scheduler"
)

// schemas are what is published, by the names that `schema` takes.
var schemas = map[string]func() ([]byte, error){
	"experiment": func() ([]byte, error) { return experiments.ExperimentSchema(catalog()) },
	"event": func() ([]byte, error) {
		return experiments.SchemaOf("faultline event: one line of journal.jsonl", experiments.Event{})
	},
	"plan":   func() ([]byte, error) { return experiments.SchemaOf("faultline plan", experiments.Plan{}) },
	"report": func() ([]byte, error) { return experiments.SchemaOf("faultline report.json", reports.Document{}) },
	"status": func() ([]byte, error) { return experiments.SchemaOf("faultline status", scheduler.Status{}) },
}

func schemaNames() []string {
	var names []string
	for name := range schemas {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func newSchema(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "schema " + strings.Join(schemaNames(), "|"),
		Short: "Print the JSON Schema of a document that faultline reads or writes",
		Long: `Schema prints a JSON Schema, draft 2020-12. An editor with YAML support completes
experiments by it: save it, and begin the document with
# yaml-language-server: $schema=PATH`,
		Example:   "  faultline schema experiment > experiment.schema.json\n  faultline schema report",
		Args:      cobra.ExactArgs(1),
		ValidArgs: schemaNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			make, ok := schemas[args[0]]
			if !ok {
				return fail(experiments.ExitUsage, "there is no schema %q: there are %s", args[0], strings.Join(schemaNames(), ", "))
			}
			text, err := make()
			if err == nil {
				_, err = fmt.Fprintf(a.out, "%s", text)
			}
			if err != nil {
				return fail(experiments.ExitUsage, "print the schema: %w", err)
			}
			return nil
		},
	}
}
