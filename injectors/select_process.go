package injectors

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
)

// ProcessSelect names processes of this host; the process probe selects by the same keys.
type ProcessSelect struct{ selector.Process }

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
	m, err := s.Matcher(w.Host)
	if errors.Is(err, selector.ErrPidfile) {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err != nil {
		return choice, err
	}
	if m.Nobody != "" {
		choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: "pidfile " + s.Pidfile, Why: m.Nobody})
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
	unknown := unreadable{}
	for _, p := range all {
		matches, unread, why := m.Match(p)
		protected := guard.Why(p)
		switch {
		case matches && protected != "":
			why = protected
		case matches:
			if err := addProcess(ctx, w, &choice, p); err != nil {
				return choice, err
			}
		case len(unread) > 0 && protected == "":
			unknown.add(strings.Join(unread, " and "), p)
		}
		if why != "" {
			choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: processName(p), Why: why})
		}
	}
	choice.Skipped = append(choice.Skipped, unknown.skipped()...)
	if target := linkedTo(s.Exe); len(choice.Matched) == 0 && target != "" {
		choice.Skipped = append(choice.Skipped, experiments.Skipped{Name: "exe " + s.Exe, Why: fmt.Sprintf(
			"it is a link to %s, and processes are known by what they really run: write that, and port or arg to tell it from others that do", target)})
	}
	return choice, nil
}

// unreadable are processes that might have matched, by what could not be read of them.
type unreadable map[string][]string

func (u unreadable) add(what string, p platform.Process) { u[what] = append(u[what], processName(p)) }

// mostNamed keeps a plan readable: without root most of a host cannot be read.
const mostNamed = 3

func (u unreadable) skipped() []experiments.Skipped {
	var skipped []experiments.Skipped
	for _, what := range slices.Sorted(maps.Keys(u)) {
		names := u[what]
		why := "could not read its " + what + ": run as root, or as its user"
		if len(names) > mostNamed {
			names, why = []string{fmt.Sprintf("%d processes (%s …)", len(names), strings.Join(names[:mostNamed], ", "))},
				"could not read their "+what+": run as root, or as their user"
		}
		for _, name := range names {
			skipped = append(skipped, experiments.Skipped{Name: name, Why: why})
		}
	}
	return skipped
}

// linkedTo says what an executable's file really is, where its name is only a
// link: on Debian redis-server and redis-sentinel are one program of a third name.
func linkedTo(exe string) string {
	if exe == "" {
		return ""
	}
	path, err := exec.LookPath(exe)
	if err != nil {
		return ""
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil || filepath.Base(target) == filepath.Base(path) {
		return ""
	}
	return target
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
		Kind: "process", ID: id.String(), Name: titleOf(p), Detail: processDetail(p), Lease: processLease(id),
	})
	return nil
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
func processName(p platform.Process) string { return fmt.Sprintf("%s (pid %d)", titleOf(p), p.PID) }

// longestTitle is as much of a title as fits into a name.
const longestTitle = 40

// titleOf adds what a program calls itself, where that is something else: it is
// only a claim ("postgres: checkpointer"), and nothing is ever selected by it.
func titleOf(p platform.Process) string {
	name := programName(p)
	if len(p.Args) == 0 || p.Exe == "" {
		return name
	}
	title := strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, strings.TrimPrefix(p.Args[0], "-")) // a login shell
	if title == "" || len(title) > longestTitle || filepath.Base(title) == name {
		return name
	}
	return fmt.Sprintf("%s [%s]", name, title)
}

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
