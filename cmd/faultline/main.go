// Command faultline breaks running systems on purpose, watches what they do,
// puts them back, and tells the truth about it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/faultline-sh/faultline/internal/holder"
)

// version is stamped by the linker; `go install` leaves it empty and the build information answers.
var version string

func main() {
	if len(os.Args) > 1 && os.Args[1] == holder.Arg {
		os.Exit(int(hold()))
	}
	// A reader that goes away is an error of that write, not the end of a run.
	signal.Ignore(syscall.SIGPIPE)
	a := &app{in: os.Stdin, out: os.Stdout, err: os.Stderr, getenv: os.Getenv}
	os.Exit(int(a.execute(context.Background(), os.Args[1:])))
}
