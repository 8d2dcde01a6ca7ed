package main

import (
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// TestEveryCommandIsExplained: a line on what it does, and an example that names it.
func TestEveryCommandIsExplained(t *testing.T) {
	var look func(*cobra.Command)
	look = func(cmd *cobra.Command) {
		for _, child := range cmd.Commands() {
			if !child.IsAvailableCommand() || child.Name() == "help" {
				continue
			}
			if child.Short == "" || !strings.Contains(child.Example, child.CommandPath()) {
				t.Errorf("%s has no example of itself, or no line on what it does", child.CommandPath())
			}
			look(child)
		}
	}
	look((&app{getenv: func(string) string { return "" }}).root())
}

// TestEveryCommandOfTheDesignIsThere: what design and issue name is offered.
func TestEveryCommandOfTheDesignIsThere(t *testing.T) {
	there := map[string]bool{}
	for _, cmd := range (&app{getenv: func(string) string { return "" }}).root().Commands() {
		there[cmd.Name()] = cmd.IsAvailableCommand()
	}
	for _, name := range strings.Fields("inject init run plan validate undo status halt resume report list doctor demo schema prune version completion") {
		if !there[name] {
			t.Errorf("there is no command %s", name)
		}
	}
}
