package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newValidate(a *app) *cobra.Command {
	var vars []string
	cmd := &cobra.Command{
		Use:     "validate FILE...",
		Short:   "Check experiments without looking at the world; touch nothing",
		Long:    "Validate reads the documents, tells every problem at once as file:line:column, and evaluates each `expect` on a sample reading.",
		Example: "  faultline validate experiment.yaml\n  faultline validate experiments/ --json",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			es, err := a.documents(args, vars)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"problems": []string{}, "experiments": es})
			}
			for _, e := range es {
				fmt.Fprintf(a.out, "%s: %s is valid: %d faults, %d probes\n", e.Source, e.Name, len(e.Faults), len(e.Probes))
			}
			return nil
		},
	}
	cmd.Flags().StringArrayVar(&vars, "var", nil, "give ${var:name} a value, as name=value")
	return cmd
}
