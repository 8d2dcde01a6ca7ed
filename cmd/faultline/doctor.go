package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// ability is one thing that this machine can or cannot do, found out by trying.
type ability struct {
	what  string
	works string // "works", "works by …", "not here", "could not look"
	why   string
	mend  string // the one command that would mend it
}

// examinations is everything doctor tries, in the order of the table.
var examinations = []func(context.Context, *app, *platform.World, journal.Home) ability{
	tryState, tryShared, tryPidfd, tryEngine,
	func(ctx context.Context, _ *app, _ *platform.World, _ journal.Home) ability {
		return tryNetwork(ctx, netfault.NFQueue)
	},
	func(ctx context.Context, _ *app, _ *platform.World, _ journal.Home) ability {
		return tryNetwork(ctx, netfault.Netem)
	},
}

// doctorLimit bounds each trial.
const doctorLimit = 15 * time.Second

func newDoctor(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "doctor",
		Short:   "Show what this machine can and cannot do, by trying it in scratch places",
		Example: "  faultline doctor\n  faultline doctor --json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, home, err := a.world()
			if err != nil {
				return err
			}
			a.tellLeft(w, home)
			var rows [][]string
			for _, examine := range examinations {
				ctx, cancel := context.WithTimeout(cmd.Context(), doctorLimit)
				found := examine(ctx, a, w, home)
				cancel()
				rows = append(rows, []string{found.what, found.works, found.why, found.mend})
			}
			return a.table([]string{"what", "here", "why", "what mends it"}, rows)
		},
	}
}

func works(what string, err error, mend string) ability {
	if err != nil {
		return ability{what, "not here", err.Error(), mend}
	}
	return ability{what: what, works: "works"}
}

func tryState(_ context.Context, _ *app, _ *platform.World, home journal.Home) ability {
	found := works("state directory "+home.State, nil, "") // opening the home has tried it
	if host, err := os.Hostname(); err == nil {
		found.why = "records of " + host
	}
	return found
}

func tryShared(_ context.Context, _ *app, _ *platform.World, home journal.Home) ability {
	_, err := home.Held()
	return works("host-wide leases "+home.Shared, err, "")
}

// tryPidfd pins this very process and asks whether a signal could reach it.
func tryPidfd(ctx context.Context, _ *app, w *platform.World, _ journal.Home) ability {
	id, err := w.Processes.Pin(ctx, os.Getpid())
	if err != nil {
		return works("processes", err, "")
	}
	defer w.Processes.Release(id)
	found := works("processes", w.Processes.Signal(ctx, id, syscall.Signal(0)), "")
	switch {
	case found.works != "works":
	case id.PidfdInode != 0:
		found.works, found.why = "works by pidfd", "a process is known for certain"
	case runtime.GOOS == "linux":
		found.works, found.why = "works by pidfd and start time", "this kernel is older than 6.9"
	default:
		found.works, found.why = "works by pid and start time", runtime.GOOS+" has no pidfd"
	}
	return found
}

func tryEngine(ctx context.Context, _ *app, w *platform.World, _ journal.Home) ability {
	info, err := w.Engine.Info(ctx)
	if errors.Is(err, platform.ErrDenied) {
		return works("container engine", err, "sudo usermod -aG docker $USER")
	}
	found := works("container engine", err, "start the engine, or set DOCKER_HOST")
	if err == nil {
		found.why = fmt.Sprintf("%s %s (API %s) at %s", info.Name, info.Version, info.API, info.Endpoint)
	}
	return found
}

func tryNetwork(ctx context.Context, m netfault.Mechanism) ability {
	tried := netfault.Try(ctx, m)
	what := "network.latency by " + string(m)
	if !tried.Works {
		return ability{what, "not here", tried.Why, tried.Mend}
	}
	return ability{what, "works by " + tried.By, tried.Why, tried.Mend}
}
