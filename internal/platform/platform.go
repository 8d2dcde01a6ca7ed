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
	Commands  Commands
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
	Born   experiments.Boottime // when it started, as exact as Start
	Name   string               // what the kernel calls it (comm), cut to 15 bytes
	Exe    string               // absolute path
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
	// MaySignal says why Signal would be refused, without sending one.
	MaySignal(ctx context.Context, id ProcessID) error
	// State is the letter of proc(5) for exactly this process; ErrGone when it is no more (a zombie is gone).
	State(ctx context.Context, id ProcessID) (string, error)
	// Release closes what Pin opened; releasing twice is fine.
	Release(id ProcessID)
	// Threads reads every thread of exactly this process; ErrGone when it is no more.
	Threads(ctx context.Context, id ProcessID) ([]Thread, error)
	// CanFreeze says why Freeze would be refused, without touching the process:
	// ErrUnsupported, ErrDenied, ErrGone, or ErrNotOurs when another tracer has it.
	CanFreeze(ctx context.Context, id ProcessID) error
	// Freeze stops every thread. The kernel resumes the process when Frozen is
	// closed and also when this process dies, however it dies.
	Freeze(ctx context.Context, id ProcessID) (Frozen, error)
	// Ancestors gives this process and its ancestors up to pid 1.
	Ancestors(ctx context.Context) ([]int, error)
}

// Thread is one thread of a process.
type Thread struct {
	TID    int
	State  string // one letter of proc(5)
	Tracer int    // pid of the process that traces it; 0 for none
}

// Frozen is a process that does not run as long as this process holds it.
type Frozen interface {
	// Close lets every thread go on and waits until it does; closing twice is fine.
	Close() error
}

// Commands runs the user's own commands.
type Commands interface {
	// Find gives the absolute path that a command's first word stands for.
	Find(name string) (string, error)
	// Run runs one command to its end, which its timeout or ctx can hasten: then
	// its whole process group is killed. It dies with this process. The error is
	// about not having been able to run it; how it ended stands in the result.
	Run(ctx context.Context, c Command) (CommandResult, error)
}

// Command is an argv list; no shell ever sees it.
type Command struct {
	Argv    []string
	Dir     string
	Env     map[string]string // added to this process's environment
	Timeout time.Duration
}

// CommandResult is how a command ended.
type CommandResult struct {
	Code     int // -1 when a signal ended it
	Signal   string
	TimedOut bool
	Stdout   string // the first 64 KiB
	Stderr   string
	Cut      bool // there was more
	Took     time.Duration
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
	FinishedAt    string // as the engine writes it; of the last time it ended
	RestartCount  int
	RestartPolicy string // no, always, on-failure, unless-stopped
	ExitCode      int
	AutoRemove    bool
	NetworkMode   string        // host, container:ID, default, …
	Project       string        // compose project
	Service       string        // compose service
	OneOff        bool          // made by `compose run`: no replica of its service
	Self          bool          // this very process runs in it
	StopGrace     time.Duration // how long a stop waits before it kills: its own setting, else the engine's default
}

// Engine is a container engine.
type Engine interface {
	// Info names the engine and its endpoint ("Docker 20.10.24 at unix:///…").
	Info(ctx context.Context) (EngineInfo, error)
	// List gives all containers, stopped ones too, with what a list call knows (no health detail, no pid).
	List(ctx context.Context) ([]Container, error)
	// Inspect gives one container in full by its full ID; ErrGone when there is none.
	Inspect(ctx context.Context, id string) (Container, error)
	// Await looks until `until` is true of the container, and gives it as last seen:
	// with ctx's error when ctx ended first, ErrGone when there is none.
	Await(ctx context.Context, id string, until func(Container) bool) (Container, error)
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
	ID          string // the engine's own identity: equal for every endpoint that leads to it
	Name        string // "Docker"
	Version     string
	API         string // negotiated
	Endpoint    string
	LiveRestore bool
}
