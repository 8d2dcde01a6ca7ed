package crash_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/testenv"
)

// A kind is one fault on one real target.
type kind struct {
	needs []string
	// target makes what is broken. document is the experiment's fault on it, state
	// reads of the real thing all that the fault can change.
	target func(t *testing.T) (document string, state func() string)
	// fresh: the target does not live through the fault, each point needs another one.
	fresh   bool
	changes int // what one whole run changes on the target: the inject, and the undo where there is one
	without int // a capability that faultline does not get, -1: none
}

// lasting is the same fault for longer than it takes to look at it.
func (k kind) lasting() kind {
	target := k.target
	k.target = func(t *testing.T) (string, func() string) {
		document, state := target(t)
		return strings.Replace(document, "for: 150ms", "for: 4s", 1), state
	}
	return k
}

// A subject is whose changes are counted, and who dies.
type subject struct {
	name string
	of   string
	dies []string
}

var subjects = []subject{
	{"tool", "tool", []string{"tool"}},
	{"holder", "holder", []string{"holder"}},
	// The holder first: it is at its call, and must not see the pipe end.
	{"holder and tool", "holder", []string{"holder", "tool"}},
}

// workers break at the same time, each its own target: most of a run is waiting.
const workers = 4

// most points that one sweep may take: far above what a run changes, so that a run that never ends fails.
const most = 2000

// sweep kills a subject at point after point, until a run ends by itself.
func sweep(t *testing.T, k kind, s subject) {
	testenv.Require(t, append([]string{"strace", "root"}, k.needs...)...)
	began := time.Now()
	points, a := everyPoint(t, k, func(w *worker, point int) *attempt { return w.try(s, point) })
	if a == nil {
		return
	}
	least := 1
	if s.of == "holder" {
		least = a.lines + k.changes
	}
	if points < least {
		t.Errorf("only %d points, and a whole run writes %d lines and changes %d things: points were missed", points, a.lines, k.changes)
	}
	t.Logf("%s: %s killed at %d points (%d journal lines, %d changes), residue 0, %s: %s",
		t.Name(), s.name, points, a.lines, k.changes, time.Since(began).Round(time.Second), tally(a.seen.Points))
}

// everyPoint tries point after point until nobody is killed any more. It gives the
// last point that killed and the attempt that ended by itself, nil when t has failed.
func everyPoint(t *testing.T, k kind, try func(w *worker, point int) *attempt) (int, *attempt) {
	var next, last atomic.Int64
	var whole atomic.Pointer[attempt]
	var working sync.WaitGroup
	for range workers {
		w := newWorker(t, k)
		working.Go(func() {
			for whole.Load() == nil && !t.Failed() {
				point := int(next.Add(1))
				if point > most {
					t.Errorf("%d points and no end", most)
					return
				}
				a := try(w, point)
				if a == nil {
					return // it has failed t
				}
				if !a.seen.Killed {
					whole.CompareAndSwap(nil, a)
					return
				}
				for seen := last.Load(); int64(point) > seen && !last.CompareAndSwap(seen, int64(point)); {
					seen = last.Load()
				}
			}
		})
	}
	working.Wait()
	if t.Failed() {
		return 0, nil
	}
	return int(last.Load()), whole.Load()
}

// tally says how often each name occurs.
func tally(names []string) string {
	count := map[string]int{}
	for _, n := range names {
		count[n]++
	}
	var parts []string
	for _, n := range slices.Sorted(maps.Keys(count)) {
		parts = append(parts, fmt.Sprintf("%s %d", n, count[n]))
	}
	return strings.Join(parts, ", ")
}

// A worker breaks one target again and again.
type worker struct {
	t        *testing.T
	kind     kind
	exe      string // faultline under a path of its own: no other process runs it
	tracer   string
	document string
	state    func() string
}

func newWorker(t *testing.T, k kind) *worker {
	t.Helper()
	tracer, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{t: t, kind: k, exe: filepath.Join(t.TempDir(), "faultline"), tracer: tracer}
	if err := os.Link(testenv.Binary(t), w.exe); err != nil {
		t.Fatal(err)
	}
	if !k.fresh {
		w.document, w.state = k.target(t)
	}
	return w
}

// An attempt is one run that was killed at one point, or ended by itself.
type attempt struct {
	*worker
	home  []string
	seen  outcome
	undos []string // what undo said, each time
	lines int      // of the journal
}

const header = `apiVersion: faultline/v1
kind: Experiment
name: crash anywhere
timeline: {before: 0s, during: 100ms, after: 50ms}
faults:
`

func (w *worker) prepare() (*attempt, string) {
	if w.kind.fresh {
		w.document, w.state = w.kind.target(w.t)
	}
	a := &attempt{worker: w, home: testenv.Home(w.t)}
	file := filepath.Join(w.t.TempDir(), "experiment.yaml")
	if err := os.WriteFile(file, []byte(header+w.document), 0o600); err != nil {
		w.t.Error(err)
	}
	return a, file
}

// order is a run of the experiment.
func (a *attempt) order(file string) order {
	return order{
		Argv: []string{a.exe, "run", "--no-input", file}, Env: a.environment(), Dir: filepath.Dir(file), Without: a.kind.without,
	}
}

// environment is the tests' own, without any FAULTLINE_… that a developer has set.
func (a *attempt) environment() []string {
	own := slices.DeleteFunc(os.Environ(), func(pair string) bool { return strings.HasPrefix(pair, "FAULTLINE_") })
	return append(own, a.home...)
}

// try runs the experiment, kills at the point, undoes, and compares; nil when it has failed t.
func (w *worker) try(s subject, point int) *attempt {
	a, file := w.prepare()
	before := w.state()
	o := a.order(file)
	o.Subject, o.Kill, o.Dies = s.of, point, s.dies
	var err error
	a.seen, err = o.run(w.tracer, func() {
		if point%2 == 0 { // a user who does not wait for the holder to heal
			a.undo("at once")
		}
	})
	if err != nil {
		w.t.Errorf("point %d: %v", point, err)
		return nil
	}
	if !a.seen.Killed && a.seen.Exit != int(experiments.ExitInconclusive) && a.seen.Exit != int(experiments.ExitPassed) {
		w.t.Errorf("a run that was not killed ended with %d:\n%s", a.seen.Exit, a.seen.Output)
		return nil
	}
	return a.compare(s.name, point, before)
}

// compare undoes as a user does after a crash, again, and looks for what is left; nil when it has failed t.
func (a *attempt) compare(who string, point int, before string) *attempt {
	a.undo("after the crash")
	a.undo("again")
	if problems := a.residue(before); len(problems) > 0 {
		a.t.Errorf("%s killed before point %d (%s):\n  %s\n%s", who, point, a.at(), strings.Join(problems, "\n  "), a.story())
		return nil
	}
	return a
}

// tryUndo leaves the fault behind, kills the undo at the point, undoes again, and compares; nil when it has failed t.
func (w *worker) tryUndo(point int) *attempt {
	a, file := w.prepare()
	before := w.state()
	o := a.order(file)
	// Before the line that says that the fault is in effect: it is, and nobody has begun to heal.
	o.Subject, o.Match, o.Kill, o.Dies = "holder", "write journal.jsonl", firstConfirm, []string{"holder", "tool"}
	var err error
	if a.seen, err = o.run(w.tracer, func() {}); err != nil || !a.seen.Killed {
		w.t.Errorf("point %d: leaving a fault behind: %v\n%s", point, err, a.story())
		return nil
	}
	if w.state() == before {
		w.t.Errorf("point %d: nothing was left behind, so there is nothing to undo\n%s", point, a.story())
		return nil
	}
	undo := order{Argv: []string{a.exe, "undo", "--all"}, Env: o.Env, Dir: o.Dir, Subject: "tool", Kill: point, Dies: []string{"tool"}, Without: -1}
	if a.seen, err = undo.run(w.tracer, func() {}); err != nil {
		w.t.Errorf("point %d: %v", point, err)
		return nil
	}
	if !a.seen.Killed && a.seen.Exit != 0 {
		w.t.Errorf("an undo that was not killed ended with %d:\n%s", a.seen.Exit, a.seen.Output)
		return nil
	}
	return a.compare("undo", point, before)
}

// firstConfirm is the line behind run, before, baseline, during, aimed and injected.
const firstConfirm = 7

// sweepUndo kills the undo itself at point after point.
func sweepUndo(t *testing.T, k kind) {
	testenv.Require(t, append([]string{"strace", "root"}, k.needs...)...)
	began := time.Now()
	points, a := everyPoint(t, k.lasting(), func(w *worker, point int) *attempt { return w.tryUndo(point) })
	if a == nil {
		return
	}
	const least = 2 + 1 // it writes undone and closed, and changes the target
	if points < least {
		t.Errorf("only %d points: points were missed", points)
	}
	t.Logf("%s: undo killed at %d points, residue 0, %s: %s", t.Name(), points, time.Since(began).Round(time.Second), tally(a.seen.Points))
}

// at is the call before which it was killed.
func (a *attempt) at() string {
	if len(a.seen.Points) == 0 {
		return "none"
	}
	return a.seen.Points[len(a.seen.Points)-1]
}

const undoLimit = 60 * time.Second

// undo does what a user does then; it must end with 0.
func (a *attempt) undo(when string) {
	ctx, cancel := context.WithTimeout(context.Background(), undoLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, a.exe, "undo", "--all")
	cmd.Env = a.environment()
	out, err := cmd.CombinedOutput()
	a.undos = append(a.undos, fmt.Sprintf("undo %s: %v\n%s", when, err, out))
	if err != nil {
		a.t.Errorf("undo %s, killed before point %d (%s): %v\n%s", when, len(a.seen.Points), a.at(), err, a.story())
	}
}

// residue is everything that is not as it was.
func (a *attempt) residue(before string) []string {
	var problems []string
	if after := a.state(); after != before {
		problems = append(problems, fmt.Sprintf("the target was\n%s\nand is\n%s", before, after))
	}
	if left := a.processes(); len(left) > 0 {
		problems = append(problems, "processes of faultline are left: "+strings.Join(left, ", "))
	}
	home, err := journal.OpenHome(a.getenv)
	if err != nil {
		return append(problems, err.Error())
	}
	if held, err := home.Held(); err != nil || len(held) > 0 {
		problems = append(problems, fmt.Sprintf("leases are held: %+v, %v", held, err))
	}
	if listed, err := filepath.Glob(filepath.Join(home.Shared, "*", "*.run")); err != nil || len(listed) > 0 {
		problems = append(problems, fmt.Sprintf("runs are listed as active: %v, %v", listed, err))
	}
	runs, others, err := home.Runs()
	if err != nil || len(others) > 0 || len(runs) > 1 {
		problems = append(problems, fmt.Sprintf("runs: %v, others %v, %v", runs, others, err))
	}
	for _, run := range runs {
		problems = append(problems, a.open(run)...)
	}
	return problems
}

func (a *attempt) open(run journal.Run) []string {
	record, err := run.Read()
	err = errors.Join(err, record.Actionable())
	if err != nil {
		return []string{err.Error()}
	}
	a.lines = len(record.Lines)
	var problems []string
	state := journal.Fold(record.Events)
	if !state.Done() || len(record.Events) > 0 && state.Closed == nil {
		problems = append(problems, fmt.Sprintf("the record is open: %+v", state))
	}
	if locked, err := run.Locked(); err != nil || locked {
		problems = append(problems, fmt.Sprintf("the run is locked: %v, %v", locked, err))
	}
	return problems
}

func (a *attempt) getenv(key string) string {
	for _, pair := range a.home {
		if value, ok := strings.CutPrefix(pair, key+"="); ok {
			return value
		}
	}
	return ""
}

// processes are those that execute this worker's own binary.
func (w *worker) processes() []string {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return []string{err.Error()}
	}
	var found []string
	for _, link := range links {
		if exe, err := os.Readlink(link); err == nil && strings.TrimSuffix(exe, " (deleted)") == w.exe {
			found = append(found, filepath.Base(filepath.Dir(link)))
		}
	}
	return found
}

// story is what a reader needs to see why.
func (a *attempt) story() string {
	points, _ := json.Marshal(a.seen.Points)
	text := fmt.Sprintf("points: %s\nsaid:\n%s\n%s\n", points, a.seen.Output, strings.Join(a.undos, "\n"))
	for _, pattern := range []string{"journal.jsonl", "holder.log"} {
		files, _ := filepath.Glob(filepath.Join(a.getenv(journal.EnvHome), "runs", "*", pattern))
		for _, file := range files {
			content, err := os.ReadFile(file)
			text += fmt.Sprintf("%s (%v):\n%s\n", pattern, err, content)
		}
	}
	return text
}
