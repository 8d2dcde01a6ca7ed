package crash_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// A call is one system call at its entry, before the kernel has done anything.
type call struct {
	tid  int
	nr   uint64
	args [6]uint64
}

// changes are the system calls by which faultline can change anything outside
// itself. Each gives the name of the point, or "" when this one changes nothing.
// Reading, waiting, memory and what a thread does to itself (setns) are left out:
// a crash between two of those is the same crash as one at the next change.
var changes = map[uint64]func(call) string{
	unix.SYS_WRITE:             call.write,
	unix.SYS_PWRITE64:          call.onFile,
	unix.SYS_WRITEV:            call.onFile,
	unix.SYS_FSYNC:             call.onFile,
	unix.SYS_FDATASYNC:         call.onFile,
	unix.SYS_FTRUNCATE:         call.onFile,
	unix.SYS_FALLOCATE:         call.onFile,
	unix.SYS_FCHMOD:            call.onFile,
	unix.SYS_FLOCK:             call.onFile,
	unix.SYS_OPENAT:            call.create,
	unix.SYS_MKDIRAT:           call.onPath,
	unix.SYS_UNLINKAT:          call.onPath,
	unix.SYS_RENAMEAT:          call.onPath,
	unix.SYS_RENAMEAT2:         call.onPath,
	unix.SYS_FCHMODAT:          call.onPath,
	unix.SYS_KILL:              call.plain,
	unix.SYS_TGKILL:            call.signal,
	unix.SYS_PIDFD_SEND_SIGNAL: call.signalPidfd,
	unix.SYS_PTRACE:            call.plain,
	unix.SYS_CONNECT:           call.plain,
	unix.SYS_SENDTO:            call.plain,
	unix.SYS_SENDMSG:           call.plain,
	unix.SYS_SENDMMSG:          call.plain,
	unix.SYS_CLONE:             call.spawn,
	unix.SYS_EXIT_GROUP:        call.plain,
}

var callNames = map[uint64]string{
	unix.SYS_WRITE: "write", unix.SYS_PWRITE64: "pwrite64", unix.SYS_WRITEV: "writev", unix.SYS_FSYNC: "fsync", unix.SYS_FDATASYNC: "fdatasync",
	unix.SYS_FTRUNCATE: "ftruncate", unix.SYS_FALLOCATE: "fallocate", unix.SYS_FCHMOD: "fchmod", unix.SYS_FLOCK: "flock", unix.SYS_OPENAT: "create",
	unix.SYS_MKDIRAT: "mkdir", unix.SYS_UNLINKAT: "unlink", unix.SYS_RENAMEAT: "rename", unix.SYS_RENAMEAT2: "rename", unix.SYS_FCHMODAT: "chmod",
	unix.SYS_KILL: "kill", unix.SYS_TGKILL: "tgkill", unix.SYS_PIDFD_SEND_SIGNAL: "pidfd_send_signal", unix.SYS_PTRACE: "ptrace",
	unix.SYS_CONNECT: "connect", unix.SYS_SENDTO: "sendto", unix.SYS_SENDMSG: "sendmsg", unix.SYS_SENDMMSG: "sendmmsg",
	unix.SYS_CLONE: "spawn", unix.SYS_EXIT_GROUP: "exit",
}

// point names the call if it changes anything.
func (c call) point() string {
	if name := changes[c.nr]; name != nil {
		return name(c)
	}
	return ""
}

func (c call) plain() string { return callNames[c.nr] }

func (c call) on(what string) string { return callNames[c.nr] + " " + what }

// file is what the first argument, a descriptor, is open on.
func (c call) file() string {
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", c.tid, int32(c.args[0])))
	if err != nil {
		return "closed"
	}
	if kind, _, ok := strings.Cut(path, ":["); ok { // "socket:[123]"
		return kind
	}
	return filepath.Base(path)
}

func (c call) onFile() string { return c.on(c.file()) }

func (c call) onPath() string { return c.on(filepath.Base(c.text(c.args[1]))) }

// write leaves out what only wakes a thread up or says that somebody is alive.
func (c call) write() string {
	file := c.file()
	switch {
	case file == "anon_inode" || strings.HasPrefix(file, "["): // an eventfd of the Go runtime
		return ""
	case strings.HasPrefix(file, outputName): // what the tool says
		return ""
	case file == "pipe" && strings.HasPrefix(c.text(c.args[1]), `{"type":"beat"`):
		return ""
	}
	return c.on(file)
}

func (c call) create() string {
	if c.args[2]&unix.O_CREAT == 0 {
		return ""
	}
	return c.on(filepath.Base(c.text(c.args[1])))
}

// signal leaves out the Go runtime's way of stopping its own threads.
func (c call) signal() string {
	if unix.Signal(c.args[2]) == unix.SIGURG {
		return ""
	}
	return c.plain()
}

// signalPidfd leaves out the question whether a process is there.
func (c call) signalPidfd() string {
	if c.args[1] == 0 {
		return ""
	}
	return c.plain()
}

func (c call) spawn() string {
	if c.args[0]&unix.CLONE_THREAD != 0 {
		return ""
	}
	return c.plain()
}

// text reads a string from the caller's memory.
func (c call) text(address uint64) string {
	buffer := make([]byte, 256)
	local := []unix.Iovec{{Base: &buffer[0], Len: uint64(len(buffer))}}
	remote := []unix.RemoteIovec{{Base: uintptr(address), Len: len(buffer)}}
	n, err := unix.ProcessVMReadv(c.tid, local, remote, 0)
	if err != nil {
		return "?"
	}
	text, _, _ := strings.Cut(string(buffer[:n]), "\x00")
	return text
}
