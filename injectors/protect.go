package injectors

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/faultline-sh/faultline/internal/platform"
)

// Guard knows the processes that no fault may hit: what carries this run and
// other runs, and what keeps the host itself, its containers and the way to it alive.
type Guard struct {
	ancestors []int
	self      string // our own executable
}

// holderArg is the hidden command of a process that carries a run (internal/holder.Arg).
const holderArg = "__holder"

// keepers are programs without which a host, its containers or the way to it are lost.
var keepers = map[string]string{
	"dockerd": "the container engine", "containerd": "the container engine", "podman": "the container engine", "crio": "the container engine",
	"docker-init": "a part of the container engine", "docker-proxy": "a part of the container engine",
	"runc": "a part of the container engine", "crun": "a part of the container engine", "conmon": "a part of the container engine",
	"kubelet": "the Kubernetes node agent", "k3s": "the Kubernetes node agent",
	"sshd": "the way to this host", "sshd-session": "the way to this host", "sshd-auth": "the way to this host",
	"systemd": "the init system", "systemd-journald": "the init system", "systemd-logind": "the init system", "systemd-udevd": "the init system", "launchd": "the init system",
}

// newGuard finds out who we are.
func newGuard(ctx context.Context, w World) (*Guard, error) {
	ancestors, err := w.Processes.Ancestors(ctx)
	if err != nil {
		return nil, fmt.Errorf("find out which processes carry this run: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find out which processes carry this run: %w", err)
	}
	return &Guard{ancestors: ancestors, self: strings.TrimSuffix(self, " (deleted)")}, nil
}

// Why says why the process must not be hit; "" when it may be.
func (g *Guard) Why(p platform.Process) string {
	if len(g.ancestors) > 0 && p.PID == g.ancestors[0] {
		return "it is this run's own process"
	}
	switch {
	case slices.Contains(g.ancestors, p.PID) && p.PID != 1:
		return "this run was started from it (an ancestor)"
	case p.PID == 1:
		return "it is pid 1"
	case p.Kernel:
		return "it is a kernel thread"
	case g.holds(p):
		return "it carries another run of faultline"
	}
	name := programName(p)
	if what := keepers[name]; what != "" {
		return "it is " + name + ": " + what
	}
	if strings.HasPrefix(name, "containerd-shim") {
		return "it is " + name + ": a part of the container engine"
	}
	return ""
}

// Ancestor says whether the pid is this process or one that it was started from.
func (g *Guard) Ancestor(pid int) bool { return slices.Contains(g.ancestors, pid) }

// holds: a holder is known by its hidden command and by what it runs. Where the
// executable may not be read the command is enough.
func (g *Guard) holds(p platform.Process) bool {
	if len(p.Args) < 2 || p.Args[1] != holderArg {
		return false
	}
	return slices.Contains(p.Unread, "exe") || p.Exe == g.self || filepath.Base(p.Exe) == filepath.Base(g.self) || strings.HasPrefix(filepath.Base(p.Exe), "faultline")
}
