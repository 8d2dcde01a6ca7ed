// Package platform is faultline's only door to the outside: this host's
// processes and clocks, container engines, network namespaces. Interfaces are
// no wider than what the faults and probes use; each has an in-memory twin
// (platform/twin) that keeps state and honours its context.
//
// It refuses to decide anything: it reads, and does the one thing it is told to
// the one identity it is given. It compares error numbers, never error texts.
package platform

import (
	"context"
	"errors"
	"syscall"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// World is everything that faults and probes may touch. Every field is set; a
// part that this machine does not have answers ErrUnsupported with the reason.
type World struct {
	Host      Host
	Processes Processes
	Engine    Engine
}

// What a platform call can say; compare with errors.Is.
var (
	ErrGone        = errors.New("gone")
	ErrNotOurs     = errors.New("not the one that was meant")
	ErrUnsupported = errors.New("not supported here")
	ErrDenied      = errors.New("permission denied")
	ErrUnreachable = errors.New("cannot be reached")
)

// Host is this machine: who it is and what time it is.
type Host interface {
	BootID() string
	MachineID() string
	Boottime() experiments.Boottime // CLOCK_BOOTTIME, counts suspend
	Now() time.Time
	OS() string // "linux 6.18.44 amd64"
}

// ProcessID is a process for certain: PidfdInode where the kernel makes it
// unique (6.9), else the start time, executable and cgroup as well. Plain data.
type ProcessID struct {
	BootID     string `json:"boot_id"`
	PID        int    `json:"pid"`
	PidfdInode uint64 `json:"pidfd_inode,omitempty"` // 0 where not unique
	Start      uint64 `json:"start"`                 // clock ticks after boot (Linux), else what the system gives
	ExeInode   uint64 `json:"exe_inode,omitempty"`
	Cgroup     string `json:"cgroup,omitempty"`
}

// Process is what can be read of one process. A field that could not be read is
// named in Unread, and is then neither empty nor equal to anything.
type Process struct {
	PID    int
	PPID   int
	Start  uint64
	Exe    string // absolute path
	Args   []string
	User   string // name, or uid when it has none
	UID    int
	Cgroup string
	Unit   string // systemd unit, from the cgroup
	State  string // one letter of proc(5)
	Kernel bool   // a kernel thread
	Ports  []int  // TCP and UDP ports it listens on; filled only when asked for
	Unread []string
}

// Processes is this host's process table.
type Processes interface {
	// List reads the table. withPorts also resolves listening sockets.
	List(ctx context.Context, withPorts bool) ([]Process, error)
	// Pin opens the process (a pidfd), reads its identity through it and keeps it open until Release.
	Pin(ctx context.Context, pid int) (ProcessID, error)
	// Signal goes through the pidfd of exactly this process; ErrGone when it is no more.
	Signal(ctx context.Context, id ProcessID, sig syscall.Signal) error
	// State is the letter of proc(5) for exactly this process; ErrGone when it is no more (a zombie is gone).
	State(ctx context.Context, id ProcessID) (string, error)
	// Release closes what Pin opened; releasing twice is fine.
	Release(id ProcessID)
	// Ancestors gives this process and its ancestors up to pid 1.
	Ancestors(ctx context.Context) ([]int, error)
}

// Container is what an engine says of one container.
type Container struct {
	ID            string
	Name          string // without the leading slash
	Image         string
	Labels        map[string]string
	State         string // created, running, paused, restarting, removing, exited, dead
	Health        string // none, starting, healthy, unhealthy
	PID           int    // init's pid as the engine sees it; not ours when the engine is remote
	StartedAt     string // as the engine writes it; ID + StartedAt is the identity
	RestartCount  int
	RestartPolicy string // no, always, on-failure, unless-stopped
	ExitCode      int
	AutoRemove    bool
	NetworkMode   string // host, container:ID, default, …
	Project       string // compose project
	Service       string // compose service
}

// Engine is a container engine.
type Engine interface {
	// Info names the engine and its endpoint ("Docker 20.10.24 at unix:///…").
	Info(ctx context.Context) (EngineInfo, error)
	// List gives all containers, stopped ones too, with what a list call knows (no health detail, no pid).
	List(ctx context.Context) ([]Container, error)
	// Inspect gives one container in full by its full ID; ErrGone when there is none.
	Inspect(ctx context.Context, id string) (Container, error)
	Kill(ctx context.Context, id string, signal string) error
	Stop(ctx context.Context, id string, grace time.Duration, signal string) error
	Start(ctx context.Context, id string) error
	Restart(ctx context.Context, id string, grace time.Duration) error
	Pause(ctx context.Context, id string) error
	Unpause(ctx context.Context, id string) error
	Remove(ctx context.Context, id string, volumes bool) error
	// Init proves that a container runs on this host's kernel and pins its init:
	// pidfd, the full container ID in /proc/PID/cgroup, inspected again with the same
	// pid and StartedAt. ErrUnsupported with the reason when it is not proven (remote).
	Init(ctx context.Context, c Container) (ProcessID, error)
}

// EngineInfo is what plan and report say of an engine.
type EngineInfo struct {
	Name        string // "Docker"
	Version     string
	API         string // negotiated
	Endpoint    string
	LiveRestore bool
}
