package injectors

import (
	"context"
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

// ProcessSelect names processes of this host. All keys that are given must hold.
type ProcessSelect struct {
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

// Check says what cannot be selected by. Field names begin below the selector itself.
func (s ProcessSelect) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	problem := func(field, format string, args ...any) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if s == (ProcessSelect{}) {
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
		problem("pidfile", "%q is not absolute: the fault is carried out by another process, elsewhere", s.Pidfile)
	}
	if s.Cgroup != "" && !strings.HasPrefix(s.Cgroup, "/") {
		problem("cgroup", "%q does not begin with a slash: write it as /proc/PID/cgroup does", s.Cgroup)
	}
	if _, err := regexp.Compile(s.Cmdline); err != nil {
		problem("cmdline", "%v", err)
	}
	return problems
}

// single says that at most one process can be meant.
func (s ProcessSelect) single() bool { return s.PID != 0 || s.Pidfile != "" }

// checkProcessFault checks a fault whose settings select processes and pick from them.
func checkProcessFault(s ProcessSelect, pick experiments.Pick) []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	for _, p := range s.Check() {
		problems = append(problems, experiments.FieldProblem{Field: strings.TrimSuffix("select."+p.Field, "."), Problem: p.Problem})
	}
	if pick.IsZero() && !s.single() {
		problems = append(problems, experiments.FieldProblem{Field: "pick", Problem: "is missing: write pick: 1, 50% or all (it may be left out with pid or pidfile only)"})
	}
	return problems
}

// Choose gives the processes that the selector matches, and says why others that
// match are no targets. What could not be read never matches.
func (s ProcessSelect) Choose(ctx context.Context, w World, pick experiments.Pick) (experiments.Choice, error) {
	choice := experiments.Choice{Matched: []experiments.Candidate{}, Groups: []experiments.Group{}, Pick: pick}
	if choice.Pick.IsZero() && s.single() {
		choice.Pick = experiments.Pick{Count: 1}
	}
	m, err := s.matcher(w.Host)
	if err != nil {
		return choice, err
	}
	if m.nobody != "" {
		choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: "pidfile " + s.Pidfile, Why: m.nobody})
		return choice, nil
	}
	guard, err := newGuard(ctx, w)
	if err != nil {
		return choice, err
	}
	all, err := w.Processes.List(ctx, s.Port != 0)
	if err != nil {
		return choice, err
	}
	for _, p := range all {
		why, matches := m.match(p)
		if matches && why == "" {
			why = guard.Why(p)
		}
		switch {
		case why != "":
			choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: processName(p), Why: why})
		case matches:
			if err := addProcess(ctx, w, &choice, p); err != nil {
				return choice, err
			}
		}
	}
	return choice, nil
}

// addProcess proves who the process is; one that ended meanwhile is left out.
func addProcess(ctx context.Context, w World, choice *experiments.Choice, p platform.Process) error {
	id, err := w.Processes.Pin(ctx, p.PID)
	if errors.Is(err, platform.ErrGone) || err == nil && id.Start != p.Start {
		w.Processes.Release(id)
		choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: processName(p), Why: "it ended while we were looking"})
		return nil
	}
	if err != nil {
		return err
	}
	w.Processes.Release(id)
	choice.Matched = append(choice.Matched, experiments.Candidate{
		Kind: "process", ID: id.String(), Name: programName(p), Detail: processDetail(p), Lease: processLease(id),
	})
	return nil
}

// matcher is a selector made ready: what it needs was read once.
type matcher struct {
	ProcessSelect
	cmdline *regexp.Regexp
	nobody  string // why no process can match
	written experiments.Boottime
}

func (s ProcessSelect) matcher(h platform.Host) (*matcher, error) {
	cmdline, err := regexp.Compile(s.Cmdline)
	if err != nil {
		return nil, fmt.Errorf("select processes by cmdline: %w", err)
	}
	m := &matcher{ProcessSelect: s, cmdline: cmdline}
	if s.Pidfile == "" {
		return m, nil
	}
	return m, m.readPidfile(h)
}

// readPidfile makes the pid in the file one that must match. The file's age goes
// with it: a process that is younger than the file is not the one that wrote it.
func (m *matcher) readPidfile(h platform.Host) error {
	info, err := os.Stat(m.Pidfile)
	if errors.Is(err, fs.ErrNotExist) {
		m.nobody = "there is no such file"
		return nil
	}
	if err != nil {
		return fmt.Errorf("select the process by its pidfile: %w", err)
	}
	content, err := os.ReadFile(m.Pidfile)
	if err != nil {
		return fmt.Errorf("select the process by its pidfile: %w", err)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(content)), "\n") // some write more lines
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || pid < 1 {
		return fmt.Errorf("select the process by its pidfile %s: it holds no pid but %.40q: %w", m.Pidfile, first, ErrRefused)
	}
	if m.PID != 0 && m.PID != pid {
		m.nobody = fmt.Sprintf("it says %d, and pid says %d", pid, m.PID)
	}
	m.PID, m.written = pid, h.Boottime().Add(info.ModTime().Sub(h.Now()))
	return nil
}

// slack is how exact start times and file times are, together.
const slack = 2 * time.Second

// match says whether every key holds. When one that would decide could not be
// read it does not match, and why is said; but not when another key rules it out.
func (m *matcher) match(p platform.Process) (why string, matches bool) {
	keys := []struct {
		asked bool
		field string // what it reads
		holds func() bool
	}{
		{m.PID != 0, "", func() bool { return p.PID == m.PID }},
		{m.Exe != "", "exe", func() bool { return p.Exe == m.Exe || p.Exe != "" && filepath.Base(p.Exe) == m.Exe }},
		{m.Arg != "", "args", func() bool { return slices.Contains(p.Args, m.Arg) }},
		{m.Cmdline != "", "args", func() bool { return len(p.Args) > 0 && m.cmdline.MatchString(strings.Join(p.Args, " ")) }},
		{m.Port != 0, "ports", func() bool { return slices.Contains(p.Ports, m.Port) }},
		{m.User != "", "user", func() bool { return p.User == m.User || strconv.Itoa(p.UID) == m.User }},
		{m.Cgroup != "", "cgroup", func() bool { return within(p.Cgroup, m.Cgroup) }},
		{m.Unit != "", "cgroup", func() bool { return p.Unit != "" && (p.Unit == m.Unit || p.Unit == m.Unit+".service") }},
	}
	var unread []string
	for _, key := range keys {
		switch {
		case !key.asked:
		case slices.Contains(p.Unread, key.field):
			unread = append(unread, key.field)
		case !key.holds():
			return "", false
		}
	}
	if m.Pidfile != "" && p.Born > m.written.Add(slack) {
		return "it started after the pidfile was written: the file is of an earlier process", false
	}
	if len(unread) > 0 {
		return "could not read its " + strings.Join(slices.Compact(unread), " and ") + ": run as root, or as its user", false
	}
	return "", true
}

func within(path, above string) bool {
	above = strings.TrimSuffix(above, "/")
	return path == above || strings.HasPrefix(path, above+"/")
}

// programName is what runs, for people; it is the same for every process of one program.
func programName(p platform.Process) string {
	switch {
	case p.Exe != "":
		return filepath.Base(p.Exe)
	case len(p.Args) > 0:
		return filepath.Base(p.Args[0])
	}
	return p.Name
}

// processName is one process, for people.
func processName(p platform.Process) string { return fmt.Sprintf("%s (pid %d)", programName(p), p.PID) }

// longestDetail keeps a plan readable.
const longestDetail = 120

func processDetail(p platform.Process) string {
	args := ""
	if len(p.Args) > 1 {
		args = " " + strings.Join(hideSecrets(p.Args[1:]), " ")
	}
	if len(args) > longestDetail {
		args = strings.ToValidUTF8(args[:longestDetail], "") + "…"
	}
	return fmt.Sprintf("pid %d, user %s:%s", p.PID, p.User, args)
}

// secretName is a flag whose value is nobody's business; secretURL a password inside an address.
var (
	secretName = regexp.MustCompile(`(?i)(pass|secret|token|credential|api-?key|auth)`)
	secretURL  = regexp.MustCompile(`(://[^/\s:@]*:)[^/\s@]+@`)
)

// hideSecrets blanks what looks like a password on somebody's command line: a report travels.
func hideSecrets(args []string) []string {
	shown := make([]string, 0, len(args))
	hide := false
	for _, arg := range args {
		name, _, assigned := strings.Cut(arg, "=")
		switch {
		case hide && !strings.HasPrefix(arg, "-"):
			shown = append(shown, "***")
		case assigned && secretName.MatchString(name):
			shown = append(shown, name+"=***")
		default:
			shown = append(shown, secretURL.ReplaceAllString(arg, "${1}***@"))
		}
		hide = !assigned && strings.HasPrefix(arg, "-") && secretName.MatchString(arg)
	}
	return shown
}

// aimProcess pins the victim and says who it is; the pin stays for a real run
// and not for a plan, which only looks.
func aimProcess(ctx context.Context, w World, o experiments.Order) (platform.ProcessID, platform.Process, error) {
	want, err := platform.ParseProcessID(o.Victim.ID)
	if err != nil {
		return platform.ProcessID{}, platform.Process{}, err
	}
	got, err := w.Processes.Pin(ctx, want.PID)
	if err == nil {
		err = want.Verify(got)
	}
	if err == nil {
		var p platform.Process
		if p, err = readProcess(ctx, w, got); err == nil {
			if o.Run == "" {
				w.Processes.Release(got)
			}
			return got, p, nil
		}
	}
	w.Processes.Release(got)
	if errors.Is(err, platform.ErrGone) {
		err = fmt.Errorf("%s (pid %d): %w: %w", o.Victim.Name, want.PID, ErrGone, err)
	}
	return platform.ProcessID{}, platform.Process{}, err
}

// readProcess reads the pinned process, and that it may be hit is asked again.
func readProcess(ctx context.Context, w World, id platform.ProcessID) (platform.Process, error) {
	guard, err := newGuard(ctx, w)
	if err != nil {
		return platform.Process{}, err
	}
	all, err := w.Processes.List(ctx, false)
	if err != nil {
		return platform.Process{}, err
	}
	for _, p := range all {
		if p.PID != id.PID || p.Start != id.Start {
			continue
		}
		if why := guard.Why(p); why != "" {
			return p, fmt.Errorf("aim at %s: %s: %w", processName(p), why, ErrRefused)
		}
		return p, nil
	}
	return platform.Process{}, fmt.Errorf("pid %d has ended: %w", id.PID, platform.ErrGone)
}

// unpin is what a fault holds for as long as its target is pinned.
type unpin struct {
	processes platform.Processes
	id        platform.ProcessID
}

func (u unpin) Close() error {
	u.processes.Release(u.id)
	return nil
}

// processLease is the thing that a fault on a process touches.
func processLease(id platform.ProcessID) string {
	return fmt.Sprintf("process/%s/%d-%d", id.BootID, id.PID, id.Start)
}
