package probes

import (
	"errors"
	"os/exec"
	"sync"
	"time"
)

// group is a command that runs as the leader of its own process group. The group
// is only signalled while its leader is not reaped: until then its number cannot
// be anybody else's.
type group struct {
	cmd *exec.Cmd

	mu     sync.Mutex
	reaped bool
}

func startGroup(cmd *exec.Cmd) (*group, error) {
	lead(cmd)
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &group{cmd: cmd}, nil
}

// wait returns when the leader has ended and the rest of the group was ended with it.
func (g *group) wait() error {
	if err := awaitEnd(g.cmd.Process.Pid); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	left := killGroup(g.cmd)
	g.reaped = true
	return errors.Join(g.cmd.Wait(), left)
}

// end kills the whole group and waits for wait to say that it has ended. A
// process that even SIGKILL does not end (it waits for a disk) is left to the
// goroutine that waits for it.
func (g *group) end(ended <-chan error) error {
	if err := g.kill(); err != nil {
		return err
	}
	patience := time.NewTimer(2 * pipesClose)
	defer patience.Stop()
	select {
	case <-ended: // killed, as we know
	case <-patience.C:
	}
	return nil
}

func (g *group) kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.reaped {
		return nil
	}
	return killGroup(g.cmd)
}
