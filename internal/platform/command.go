package platform

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"time"
)

// NewCommands runs commands on this host.
func NewCommands() Commands { return commands{} }

type commands struct{}

// kept is how much of each output stream is kept.
const kept = 64 << 10

// lingering is how long output is still read after the command itself has
// ended: what it left running in the background may hold the pipes open.
const lingering = 500 * time.Millisecond

func (commands) Find(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("find command %s: %w", name, err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("find command %s: %w", name, err)
	}
	return absolute, nil
}

func (commands) Run(ctx context.Context, c Command) (CommandResult, error) {
	if len(c.Argv) == 0 {
		return CommandResult{}, errors.New("run a command: it has no words")
	}
	if c.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.Timeout)
		defer cancel()
	}
	if ctx.Err() != nil {
		return CommandResult{}, fmt.Errorf("run %s: %w", c.Argv[0], context.Cause(ctx))
	}
	type ending struct {
		result CommandResult
		err    error
	}
	ended := make(chan ending, 1)
	go func() {
		// What ends with its parent ends with its parent's thread: this one lives as long as the command.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		result, err := run(ctx, c)
		ended <- ending{result, err}
	}()
	e := <-ended
	return e.result, e.err
}

func run(ctx context.Context, c Command) (CommandResult, error) {
	var stdout, stderr bounded
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Dir, cmd.Env = c.Dir, environment(c.Env)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &stdout, &stderr, lingering
	cmd.SysProcAttr = ownGroup()
	began := time.Now()
	if err := cmd.Start(); err != nil {
		return CommandResult{}, fmt.Errorf("start %s: %w", c.Argv[0], err)
	}
	cut, err := waitOrKill(ctx, cmd)
	var failed *exec.ExitError
	if err != nil && !errors.As(err, &failed) && !errors.Is(err, exec.ErrWaitDelay) {
		return CommandResult{}, fmt.Errorf("wait for %s: %w", c.Argv[0], err)
	}
	return CommandResult{
		Code: cmd.ProcessState.ExitCode(), Signal: endSignal(cmd.ProcessState),
		TimedOut: cut && errors.Is(ctx.Err(), context.DeadlineExceeded),
		Stdout:   stdout.String(), Stderr: stderr.String(), Cut: stdout.more || stderr.more, Took: time.Since(began),
	}, nil
}

func environment(more map[string]string) []string {
	env := os.Environ()
	for _, name := range sortedNames(more) {
		env = append(env, name+"="+more[name])
	}
	return env
}

func sortedNames(m map[string]string) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// bounded keeps the first bytes and goes on reading: a full pipe would hold the
// command up. The buffer is a field, since an embedded one would lend its
// ReadFrom, and io.Copy would go round Write.
type bounded struct {
	first bytes.Buffer
	more  bool
}

func (b *bounded) Write(p []byte) (int, error) {
	room := kept - b.first.Len()
	b.more = b.more || len(p) > room
	b.first.Write(p[:min(len(p), room)])
	return len(p), nil
}

func (b *bounded) String() string { return b.first.String() }
