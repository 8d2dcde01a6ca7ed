package main

import "github.com/spf13/cobra"

// commands is every command, one line each, one file each.
func commands() []func(*app) *cobra.Command {
	return []func(*app) *cobra.Command{
		newRun,
		newPlan,
		newUndo,
		newStatus,
		newHalt,
		newResume,
		newValidate,
		newReport,
		newList,
		newPrune,
		newDemo,
		newDoctor,
		newInject,
		newInit,
		newSchema,
		newCompletion,
		newVersion,
	}
}
