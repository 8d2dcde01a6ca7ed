// Package crash_test kills the built binary, on real targets, before each single
// thing that it changes: the tool, its holder, and both at once, the point rising
// until the run ends by itself. Then `faultline undo --all` must leave the world as
// it was before the run.
package crash_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// tracerVariable makes this test binary trace one command: tracing belongs to one
// thread and waits for every child of its process, so it has a process of its own.
const tracerVariable = "FAULTLINE_CRASH_TRACER"

func TestMain(m *testing.M) {
	if os.Getenv(tracerVariable) == "" {
		os.Exit(m.Run())
	}
	if err := traceOne(); err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		os.Exit(1)
	}
}

// traceOne reads an order, says "killed" when it has killed, and then the outcome.
func traceOne() error {
	var o order
	if err := json.NewDecoder(os.Stdin).Decode(&o); err != nil {
		return err
	}
	seen, err := o.trace(func() { fmt.Println("killed") })
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(seen)
}

// runLimit is far above what one run takes: a holder that never ends fails its point.
const runLimit = 3 * time.Minute

// run carries out an order in a process of its own. atKill is called at the kill, while what survived goes on.
func (o order) run(exe string, atKill func()) (outcome, error) {
	var seen outcome
	ctx, cancel := context.WithTimeout(context.Background(), runLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), tracerVariable+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return seen, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return seen, err
	}
	if err := cmd.Start(); err != nil {
		return seen, err
	}
	if err := json.NewEncoder(in).Encode(o); err != nil {
		return seen, err
	}
	lines := bufio.NewReader(out)
	line, err := lines.ReadBytes('\n')
	if string(line) == "killed\n" {
		atKill()
		line, err = lines.ReadBytes('\n')
	}
	if err != nil {
		return seen, fmt.Errorf("the tracer said nothing more: %w, %w", err, cmd.Wait())
	}
	if err := json.Unmarshal(line, &seen); err != nil {
		return seen, err
	}
	return seen, cmd.Wait()
}
