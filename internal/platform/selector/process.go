package selector

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Process names processes of this host. All keys that are given must hold.
type Process struct {
	PID     int    `json:"pid,omitempty"`
	Exe     string `json:"exe,omitempty"`     // exact path of the executable, or its base name
	Arg     string `json:"arg,omitempty"`     // exactly one element of argv
	Cmdline string `json:"cmdline,omitempty"` // regular expression on argv, joined by spaces
	Pidfile string `json:"pidfile,omitempty"` // a file that holds the pid
	Port    int    `json:"port,omitempty"`    // it listens on (TCP or UDP)
	User    string `json:"user,omitempty"`    // name or number of whose rights it has
	Cgroup  string `json:"cgroup,omitempty"`  // path, or one above it
	Unit    string `json:"unit,omitempty"`    // systemd unit; ".service" may be left out
}

// IsZero says that no key is given.
func (s Process) IsZero() bool { return s == Process{} }

// Check says what cannot be selected by. Field names begin below the selector itself.
func (s Process) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	problem := func(field, format string, args ...any) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if s.IsZero() {
		problem("", "selects nothing: give at least one of pid, exe, arg, cmdline, pidfile, port, user, cgroup, unit")
	}
	if s.PID < 0 {
		problem("pid", "%d is no pid: they begin at 1", s.PID)
	}
	if s.Port < 0 || s.Port > 65535 {
		problem("port", "%d is no port: write 1 to 65535", s.Port)
	}
	if strings.Contains(s.Exe, "/") && !filepath.IsAbs(s.Exe) {
		problem("exe", "%q is neither an absolute path nor a base name", s.Exe)
	}
	if strings.ContainsAny(s.Exe, " \t") && !strings.Contains(s.Exe, "/") {
		problem("exe", "%q looks like a command line: write the executable alone, and an argument as arg", s.Exe)
	}
	if s.Pidfile != "" && !filepath.IsAbs(s.Pidfile) {
		problem("pidfile", "%q is not absolute: it may be read by another process, elsewhere", s.Pidfile)
	}
	if s.Cgroup != "" && !strings.HasPrefix(s.Cgroup, "/") {
		problem("cgroup", "%q does not begin with a slash: write it as /proc/PID/cgroup does", s.Cgroup)
	}
	if _, err := regexp.Compile(s.Cmdline); err != nil {
		problem("cmdline", "%v", err)
	}
	return problems
}

// ProcessMatcher is a selector made ready: what it needs was read once.
type ProcessMatcher struct {
	// Nobody says why no process can match; "" when one can.
	Nobody string

	selected Process
	cmdline  *regexp.Regexp
	written  experiments.Boottime
}

// ErrPidfile says that a pidfile holds no pid.
var ErrPidfile = errors.New("it holds no pid")

// Matcher reads what the selector needs to be asked: it is good for one look at the process table.
func (s Process) Matcher(h platform.Host) (*ProcessMatcher, error) {
	cmdline, err := regexp.Compile(s.Cmdline)
	if err != nil {
		return nil, fmt.Errorf("select processes by cmdline: %w", err)
	}
	m := &ProcessMatcher{selected: s, cmdline: cmdline}
	if s.Pidfile == "" {
		return m, nil
	}
	return m, m.readPidfile(h)
}

// readPidfile makes the pid in the file one that must match. The file's age goes
// with it: a process that is younger than the file is not the one that wrote it.
func (m *ProcessMatcher) readPidfile(h platform.Host) error {
	file := m.selected.Pidfile
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		m.Nobody = "there is no such file"
		return nil
	}
	if err != nil {
		return fmt.Errorf("select the process by its pidfile: %w", err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("select the process by its pidfile: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(content)), "\n") // some write more lines
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 1 {
		return fmt.Errorf("select the process by its pidfile %s: %w but %.40q", file, ErrPidfile, first)
	}
	if m.selected.PID != 0 && m.selected.PID != pid {
		m.Nobody = fmt.Sprintf("it says %d, and pid says %d", pid, m.selected.PID)
	}
	m.selected.PID, m.written = pid, h.Boottime().Add(info.ModTime().Sub(h.Now()))
	return nil
}

// slack is how exact start times and file times are, together.
const slack = 2 * time.Second

// Match says whether every key holds. When one that would decide could not be
// read it does not match, and unread names it; but not when another key rules
// the process out. Stale says why a pidfile does not mean this process.
func (m *ProcessMatcher) Match(p platform.Process) (matches bool, unread []string, stale string) {
	s := m.selected
	keys := []struct {
		asked bool
		field string // what it reads
		holds func() bool
	}{
		{s.PID != 0, "", func() bool { return p.PID == s.PID }},
		{s.Exe != "", "exe", func() bool { return p.Exe == s.Exe || p.Exe != "" && filepath.Base(p.Exe) == s.Exe }},
		{s.Arg != "", "args", func() bool { return slices.Contains(p.Args, s.Arg) }},
		{s.Cmdline != "", "args", func() bool { return len(p.Args) > 0 && m.cmdline.MatchString(strings.Join(p.Args, " ")) }},
		{s.Port != 0, "ports", func() bool { return slices.Contains(p.Ports, s.Port) }},
		{s.User != "", "user", func() bool { return p.User == s.User || strconv.Itoa(p.UID) == s.User }},
		{s.Cgroup != "", "cgroup", func() bool { return within(p.Cgroup, s.Cgroup) }},
		{s.Unit != "", "cgroup", func() bool { return p.Unit != "" && (p.Unit == s.Unit || p.Unit == s.Unit+".service") }},
	}
	for _, key := range keys {
		switch {
		case !key.asked:
		case slices.Contains(p.Unread, key.field):
			unread = append(unread, key.field)
		case !key.holds():
			return false, nil, ""
		}
	}
	if s.Pidfile != "" && p.Born > m.written.Add(slack) {
		return false, nil, "it started after the pidfile was written: the file is of an earlier process"
	}
	return len(unread) == 0, slices.Compact(unread), ""
}

func within(path, above string) bool {
	above = strings.TrimSuffix(above, "/")
	return path == above || strings.HasPrefix(path, above+"/")
}
