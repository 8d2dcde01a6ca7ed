package platform

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// procStat is what we use of /proc/PID/stat.
type procStat struct {
	name    string
	state   string
	ppid    int
	flags   uint64
	threads int
	start   uint64
}

// kernelThread is the kernel's PF_KTHREAD.
const kernelThread = 0x00200000

// dead: ended, and not yet reaped. A leader that has ended is a zombie too while other threads run on.
func (s procStat) dead() bool {
	return s.state == "X" || s.state == "x" || s.state == "Z" && s.threads <= 1
}

func readStat(pid int) (procStat, error) {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return procStat{}, gone(err, "read the state", pid)
	}
	s, err := parseStat(string(line))
	if err != nil {
		return procStat{}, fmt.Errorf("read the state of process %d: %w", pid, err)
	}
	return s, nil
}

// parseStat reads proc_pid_stat(5). The name stands in parentheses and may hold any byte, those too.
func parseStat(line string) (procStat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("%q has no name in parentheses", line)
	}
	f := strings.Fields(line[end+1:]) // f[0] is field 3
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("%q has too few fields", line)
	}
	s := procStat{name: line[open+1 : end], state: f[0]}
	var errs [4]error
	s.ppid, errs[0] = strconv.Atoi(f[1])
	s.flags, errs[1] = strconv.ParseUint(f[6], 10, 64)
	s.threads, errs[2] = strconv.Atoi(f[17])
	s.start, errs[3] = strconv.ParseUint(f[19], 10, 64)
	return s, errors.Join(errs[:]...)
}

// clockTick is the unit of start times: USER_HZ is 100 on every platform that Go knows.
const clockTick = 10 * time.Millisecond

// reader reads processes of one listing; it looks up each user and each network namespace once.
type reader struct {
	host  Host
	users map[int]string
	ports *portReader // nil: not asked for
}

func newReader(h Host, withPorts bool) *reader {
	r := &reader{host: h, users: map[int]string{}}
	if withPorts {
		r.ports = newPortReader()
	}
	return r
}

// read gives one process; a field that may not be read is named in Unread.
func (r *reader) read(pid int) (Process, error) {
	stat, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	p := Process{
		PID: pid, PPID: stat.ppid, Start: stat.start, Born: experiments.Boottime(stat.start) * experiments.Boottime(clockTick),
		Name: stat.name, State: stat.state, Kernel: stat.flags&kernelThread != 0,
	}
	if stat.dead() {
		return Process{}, fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	parts := []struct {
		field string
		read  func(*Process) error
	}{{"user", r.user}, {"args", readArgs}, {"cgroup", readCgroup}, {"exe", readExe}, {"ports", r.listening}}
	for _, part := range parts {
		if err := part.read(&p); err != nil {
			p.Unread = append(p.Unread, part.field)
		}
	}
	// All that was read is this process's if its number still is.
	again, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	if again.start != stat.start {
		return Process{}, fmt.Errorf("process %d has ended: %w", pid, ErrGone)
	}
	return p, nil
}

func (r *reader) user(p *Process) error {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return err
	}
	ids := strings.Fields(statusField(status, "Uid:"))
	if len(ids) < 2 {
		return errors.New("no Uid line")
	}
	uid, err := strconv.Atoi(ids[1]) // the effective one: whose rights it has
	if err != nil {
		return err
	}
	p.UID, p.User = uid, r.name(uid)
	return nil
}

func (r *reader) name(uid int) string {
	if name, known := r.users[uid]; known {
		return name
	}
	name := strconv.Itoa(uid)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	r.users[uid] = name
	return name
}

// statusField gives the rest of the line of /proc/PID/status that begins with name.
func statusField(status []byte, name string) string {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte(name)); ok {
			return strings.TrimSpace(string(rest))
		}
	}
	return ""
}

func readArgs(p *Process) error {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.PID))
	if err != nil {
		return err
	}
	if text := strings.TrimSuffix(string(raw), "\x00"); text != "" {
		p.Args = strings.Split(text, "\x00")
	}
	return nil
}

func readExe(p *Process) error {
	if p.Kernel {
		return nil
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.PID))
	if err != nil {
		return err
	}
	p.Exe = strings.TrimSuffix(exe, " (deleted)") // replaced while it ran: an upgrade
	return nil
}

func readCgroup(p *Process) error {
	lines, err := readCgroups(p.PID)
	if err != nil {
		return err
	}
	p.Cgroup, p.Unit = lines.path(), lines.unit()
	return nil
}
