//go:build unix

package run_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// freeze is an experiment on one process with an http probe.
func freeze(pid int, url, tolerate string) string {
	return fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: freeze
hypothesis: The service answers while its process stands still.
timeline: {before: 400ms, after: 1s}
probes:
  - name: answers
    http: {url: %q, timeout: 200ms}
    every: 50ms
    tolerate: %s
faults:
  - name: freeze
    for: 700ms
    process.pause: {select: {pid: %d}}
`, url, tolerate, pid)
}

func TestAHypothesisThatDoesNotHoldFailsAndOneThatHoldsPasses(t *testing.T) {
	testenv.Require(t, "pidfd")
	l := newLab(t)
	victim, bystander := testenv.Process(t, "-http", "127.0.0.1:0"), testenv.Process(t, "-http", "127.0.0.1:0")
	o := l.want(1, "run", l.write(freeze(victim.PID, victim.URL(), "{during: 99%, recover: 1s}")))
	if rep := l.report("last"); rep.Verdict != "failed" || rep.ExitCode != 1 || rep.Axes["hypothesis"].Verdict != "failed" || rep.Axes["recovery"].Verdict != "passed" {
		t.Errorf("report %+v\n%s", rep, o)
	}
	o = l.want(0, "run", l.write(freeze(victim.PID, bystander.URL(), "{during: 99%}")))
	if rep := l.report("last"); rep.Verdict != "passed" || rep.Undone != true && rep.Undone != "true" || rep.Faults[0].Targets[0].State == "" {
		t.Errorf("report %+v\n%s", rep, o)
	}
	fields := strings.Fields(o.stdout)
	if len(fields) != 3 || fields[1] != "passed" {
		t.Errorf("the last line is %q", o.stdout)
	}
	for _, file := range []string{"report.html", "report.md", "report.json", "junit.xml", "journal.jsonl", "holder.log"} {
		if !exists(filepath.Join(filepath.Dir(fields[2]), file)) {
			t.Errorf("no %s beside %s", file, fields[2])
		}
	}
}

func TestH71_ABrokenBaselineInjectsNothing(t *testing.T) {
	testenv.Require(t, "pidfd")
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	o := l.want(3, "run", l.write(freeze(victim.PID, "http://127.0.0.1:1/", "{during: 99%}")))
	if strings.Contains(o.stderr, "injected") {
		t.Errorf("something was injected: %s", o)
	}
	if rep := l.report("last"); rep.Verdict != "inconclusive" || rep.Axes["valid"].Verdict != "inconclusive" {
		t.Errorf("report %+v", rep)
	}
}

func TestAProbeThatIsBadTooOftenAbortsAndHeals(t *testing.T) {
	testenv.Require(t, "pidfd")
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	document := strings.Replace(freeze(victim.PID, victim.URL(), "{during: 1%, abort: 3}"), "for: 700ms", "for: 60s", 1)
	o := l.want(4, "run", l.write(document))
	if frozen(victim.PID) || o.took > 20*time.Second {
		t.Errorf("not healed at once: %s", o)
	}
}

func TestH72_AnUndoThatDoesNotWorkBeatsEverything(t *testing.T) {
	l := newLab(t)
	flag := filepath.Join(l.dir, "flag")
	bystander := testenv.Process(t, "-http", "127.0.0.1:0")
	o := l.want(6, "run", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: stuck
timeline: {before: 400ms, after: 200ms}
probes:
  - name: answers
    http: {url: %q}
    every: 50ms
faults:
  - for: 200ms
    exec: {inject: [touch, %[2]q], confirm: [test, -e, %[2]q], undo: ["true"], timeout: 2s}
`, bystander.URL(), flag)))
	if rep := l.report("last"); rep.Undone != false && rep.Undone != "false" || rep.ExitCode != 6 {
		t.Errorf("report %+v\n%s", rep, o)
	}
	l.want(6, "status")
	l.want(6, "undo", "--all")
	if err := os.Remove(flag); err != nil { // somebody heals it by hand
		t.Fatal(err)
	}
	l.want(0, "undo", "--all")
	l.want(0, "status")
}

func TestH74_NoMatchIsInconclusiveInPlanAndRun(t *testing.T) {
	l := newLab(t)
	document := l.write(`
apiVersion: faultline/v1
kind: Experiment
name: nobody
faults:
  - for: 1s
    process.pause: {select: {exe: no-such-program-here}, pick: 1}
`)
	l.want(3, "plan", document)
	l.want(3, "run", document)
}

func TestH31_ASecondExperimentOnTheSameTargetIsRefused(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	o := l.want(5, "run", l.write(freeze(target, "http://127.0.0.1:1/", "{during: 99%}")))
	if !strings.Contains(o.stderr, "busy") || !frozen(target) || !exists(flag) {
		t.Errorf("the first experiment must stay as it is: %s", o)
	}
	r.signal(15)
	r.wait()
}

func TestAPlanIsCarriedOutOnlyWhileTheWorldIsTheSame(t *testing.T) {
	testenv.Require(t, "pidfd")
	l := newLab(t)
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	saved := filepath.Join(l.dir, "plan.json")
	document := l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: planned
timeline: {before: 0s, after: 100ms}
faults:
  - for: 200ms
    process.pause: {select: {exe: %q}, pick: 1}
`, victim.Exe))
	l.want(0, "plan", document, "--out", saved)
	if frozen(victim.PID) {
		t.Error("a plan froze its target")
	}
	l.want(3, "run", "--plan", saved) // no probes: inconclusive, but carried out
	victim.Kill()
	if o := l.run("run", "--plan", saved); o.code != 3 && o.code != 5 {
		t.Errorf("the target is gone: %s", o)
	}
}
