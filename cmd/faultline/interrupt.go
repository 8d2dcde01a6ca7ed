package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// interrupts are the signals that end a run by its door.
var interrupts = map[os.Signal]experiments.AbortBy{
	os.Interrupt:    experiments.AbortInt,
	syscall.SIGTERM: experiments.AbortTerm,
	syscall.SIGHUP:  experiments.AbortHup,
}

// interruptible ends the context with an *Aborted at the first signal. At the
// second it names what is still on, leaves the undo to the holder and ends.
func (a *app) interruptible(ctx context.Context, home journal.Home, w *platform.World) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	done := make(chan struct{})
	go func() {
		select {
		case s := <-signals:
			fmt.Fprintf(a.err, "faultline: %v: healing; once more leaves it to the holder\n", s)
			cancel(&scheduler.Aborted{By: interrupts[s], Why: fmt.Sprintf("faultline got %v", s)})
		case <-done:
			return
		}
		select {
		case <-signals:
			a.leaveToHolder(home, w)
		case <-done:
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(errInterrupted)
	}
}

// leaveToHolder ends this process: the holder sees that and heals.
func (a *app) leaveToHolder(home journal.Home, w *platform.World) {
	for _, r := range scheduler.LookAround(home, w.Host).Runs {
		for _, on := range r.On {
			fmt.Fprintf(a.err, "faultline: still on: %s on %s (run %s)\n", on.Kind, on.Target, r.ID)
		}
	}
	fmt.Fprintln(a.err, "faultline: the holder goes on healing; `faultline status` shows how far it is")
	os.Exit(int(experiments.ExitStillBroken))
}

// selfExe is this very binary, also when its file was replaced since.
func selfExe() string {
	if runtime.GOOS == "linux" {
		return "/proc/self/exe"
	}
	exe, err := os.Executable()
	if err != nil {
		return os.Args[0]
	}
	return exe
}
