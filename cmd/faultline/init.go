package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/probes"
)

func newInit(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "init KIND",
		Short: "Print a commented experiment to begin with, of a fault or a probe",
		Example: `  faultline init container.crash > experiment.yaml
  faultline init http
  faultline validate experiment.yaml`,
		Args: cobra.ExactArgs(1),
		ValidArgsFunction: func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
			return startKinds(), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			text, err := starter(args[0])
			if err != nil {
				return err
			}
			if _, err := fmt.Fprint(a.out, text); err != nil {
				return fail(experiments.ExitUsage, "print the experiment: %w", err)
			}
			return nil
		},
	}
}

// startKinds are those that a document can begin with; a kind of both worlds stands once.
func startKinds() []string {
	kinds := faultKinds()
	for _, p := range probes.Table() {
		kinds = append(kinds, p.ProbeKind.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

const starterHead = `# A chaos experiment for faultline. Check it:  faultline validate FILE
# See who would be hit:  faultline plan FILE   Carry it out:  faultline run FILE
apiVersion: faultline/v1
kind: Experiment
name: %s
hypothesis: Users notice nothing worth a page, and all is well again soon after.
timeline:
  before: 10s # the baseline: nothing is broken unless it holds
%s  after: 30s  # how long to watch the recovery
limits:
  targets: 3   # more is refused, never cut down
  duration: 5m
`

// starter is a document about one kind, whole enough to validate. Where a fault
// and a probe share a name, it holds both.
func starter(kind string) (string, error) {
	fault, isFault := injectors.Find(kind)
	probe, isProbe := probes.Find(kind)
	if !isFault && !isProbe {
		return "", unknownKind(kind, startKinds())
	}
	during := "  during: 20s # how long to watch: no fault says how long it is on\n"
	if isFault && fault.About.Undoable {
		during = ""
	}
	if !isProbe {
		probe, _ = probes.Find("http")
	}
	var text strings.Builder
	fmt.Fprintf(&text, starterHead, strings.ReplaceAll(kind, ".", "-")+"-experiment", during)
	fmt.Fprintf(&text, "probes: # the steady state: what is asked before, during and after\n%s", indented(probe.Example))
	if isFault {
		fmt.Fprintf(&text, "faults: # what is broken\n%s", indented(fault.About.Example))
	}
	return text.String(), nil
}

func indented(item string) string {
	var out strings.Builder
	for _, line := range strings.Split(strings.TrimRight(item, "\n"), "\n") {
		if line != "" {
			line = "  " + line
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
