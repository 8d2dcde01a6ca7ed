// Command bench runs every measurement of `make bench`, one after the other, so
// that none disturbs another. Each prints rows: id, target, got, the peer's
// version, n, spread, met or MISSED. It exits 1 when a ratio was missed; absolute
// figures are another machine's business and are only reported.
//
// It refuses to leave out silently what this machine cannot measure.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// measurements are commands below the top of the tree, in the order of their run.
// The one with peers has a module of its own, so that ours does not depend on them.
var measurements = [][]string{
	{"go", "run", "./internal/bench/start"},
	{"go", "run", "./internal/bench/sampling"},
	{"go", "run", "./internal/bench/record"},
	{"go", "run", "./internal/bench/report"},
	{"go", "-C", "bench", "run", "-mod=mod", "./crash"},
	{"go", "-C", "bench", "run", "-mod=mod", "./network"},
}

func main() {
	var missed []string
	for _, command := range measurements {
		name := strings.Join(command, " ")
		fmt.Printf("\n=== %s\n", name)
		cmd := exec.Command(command[0], command[1:]...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case errors.As(err, &exit):
			missed = append(missed, fmt.Sprintf("%s: %v", name, exit))
		case err != nil:
			missed = append(missed, fmt.Sprintf("%s: could not be started: %v", name, err))
		}
	}
	if len(missed) > 0 {
		fmt.Printf("\nmissed, or not measured:\n  %s\n", strings.Join(missed, "\n  "))
		os.Exit(1)
	}
}
