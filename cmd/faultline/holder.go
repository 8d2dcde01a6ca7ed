package main

import (
	"fmt"
	"os"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/holder"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// hold is the whole life of a holder: the hidden command under which faultline
// starts itself to carry a run's faults. Its standard error is the run's holder.log.
func hold() experiments.Exit {
	link, refused, err := holder.Born()
	if err != nil {
		fmt.Fprintln(os.Stderr, "faultline holder:", err)
		return experiments.ExitRefused
	}
	for _, what := range refused {
		fmt.Fprintln(os.Stderr, "faultline holder:", what)
	}
	world, err := platform.Open()
	if err != nil {
		link.Send(holder.Message{Type: holder.MessageRefused, Why: err.Error()})
		link.Close()
		return experiments.ExitRefused
	}
	carrier := scheduler.Carrier{World: world, Faults: injectors.Find, Link: link}
	return carrier.Carry()
}
