package holder

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// Child is a holder as its parent sees it.
type Child struct {
	*Link
	cmd    *exec.Cmd
	exited chan struct{}
	err    error
}

// Spawn starts the binary exe as a holder in a session of its own, its words in the file log.
func Spawn(exe string, args []string, log *os.File) (*Child, error) {
	// Not CommandContext: a holder is never killed because its parent's context ended.
	cmd := exec.Command(exe, append([]string{Arg}, args...)...)
	cmd.Args[0] = "faultline" // exe may be /proc/self/exe, which tells nobody anything
	cmd.Stderr = log
	cmd.Env = slices.DeleteFunc(os.Environ(), isJobCookie)
	cmd.SysProcAttr = ownSession()
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe to the holder: %w", err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("make the pipe from the holder: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the holder %s: %w", exe, err)
	}
	c := &Child{cmd: cmd, exited: make(chan struct{}), Link: NewLink(out, in)}
	go func() {
		state, err := cmd.Process.Wait() // not cmd.Wait: that closes the pipe before all is read
		c.err = err
		if err == nil && !state.Success() {
			c.err = fmt.Errorf("holder (pid %d) ended with %s", state.Pid(), state)
		}
		tidyCgroup()
		close(c.exited)
	}()
	return c, nil
}

// PID is the holder's process number, for people.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// Kill ends a holder that does not answer, through the handle of exactly that process.
func (c *Child) Kill() error { return c.cmd.Process.Kill() }

// Wait waits until the holder has ended or ctx has.
func (c *Child) Wait(ctx context.Context) error {
	select {
	case <-c.exited:
		return c.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the holder (pid %d): %w", c.PID(), context.Cause(ctx))
	}
}

// Exited is closed when the holder has ended.
func (c *Child) Exited() <-chan struct{} { return c.exited }

// jobCookies mark a process as belonging to a CI job, which then kills it at
// the job's end, and with it the healing.
var jobCookies = []string{"BUILD_ID=", "JENKINS_NODE_COOKIE=", "JENKINS_SERVER_COOKIE=", "HUDSON_COOKIE=", "HUDSON_SERVER_COOKIE=", "RUNNER_TRACKING_ID="}

func isJobCookie(kv string) bool {
	return slices.ContainsFunc(jobCookies, func(c string) bool { return strings.HasPrefix(kv, c) })
}

// Born is what a fresh holder does before anything else: it takes the pipe off
// its standard files, makes itself hard to kill by accident, and gives its end of the link.
func Born() (*Link, []string, error) {
	in, out, err := takePipes()
	if err != nil {
		return nil, nil, fmt.Errorf("take the pipe to the parent: %w", err)
	}
	return NewLink(in, out), harden(), nil
}

// Grace is how long a parent waits for a holder that it told to end, beyond what the faults need.
const Grace = 5 * time.Second
