//go:build unix

package run_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// two is an experiment with a fault that the kernel keeps and one that only the journal does.
func two(pid int, flag string, length string) string {
	return fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: two-keepers
timeline: {before: 0s, after: 100ms}
faults:
  - name: freeze
    for: %[3]s
    process.pause: {select: {pid: %[1]d}}
  - name: flag
    for: %[3]s
    exec:
      inject: [touch, %[2]q]
      confirm: [test, -e, %[2]q]
      undo: [rm, -f, %[2]q]
      timeout: 5s
`, pid, flag, length)
}

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// bothOn starts the experiment of two keepers and waits until both are in effect.
func bothOn(t *testing.T, l *lab) (r *running, target int, flag string) {
	t.Helper()
	testenv.Require(t, "pidfd")
	victim := testenv.Process(t, "-http", "127.0.0.1:0")
	flag = filepath.Join(l.dir, "flag")
	r = l.start("run", l.write(two(victim.PID, flag, "60s")))
	within(t, 20*time.Second, "both faults in effect:\n"+r.stderr.String(), func() bool { return frozen(victim.PID) && exists(flag) })
	return r, victim.PID, flag
}

func TestH1_KillingTheToolHealsWithinASecond(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	r.signal(syscall.SIGKILL)
	took := within(t, time.Second, "everything healed", func() bool { return !frozen(target) && !exists(flag) })
	t.Logf("healed %s after the kill", took)
	r.wait()
	within(t, 5*time.Second, "the holder closes the record", func() bool { return strings.Contains(l.run("status").stdout, "closed") })
	if o := l.want(0, "status"); !strings.Contains(o.stdout, "undone by holder") {
		t.Errorf("status does not say who undid it: %s", o)
	}
	if rep := l.report("last"); rep.Undone != true && rep.Undone != "true" || rep.Verdict == "passed" {
		t.Errorf("report of the killed run: %+v", rep)
	}
}

func TestH2_KillingToolAndHolderLeavesOnlyWhatTheNextCommandNamesAndHeals(t *testing.T) {
	for _, heal := range [][]string{{"undo", "--all"}, {"halt"}, {"run"}} {
		t.Run(strings.Join(heal, " "), func(t *testing.T) {
			l := newLab(t)
			r, target, flag := bothOn(t, l)
			holder := r.holder()
			if err := syscall.Kill(holder, syscall.SIGSTOP); err != nil { // so that it cannot heal between the two kills
				t.Fatal(err)
			}
			r.signal(syscall.SIGKILL)
			if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			within(t, time.Second, "the kernel takes back what it keeps", func() bool { return !frozen(target) })
			dead(t, holder, r.cmd.Process.Pid)
			if !exists(flag) {
				t.Fatal("the flag is gone: nobody was there to take it away")
			}
			if o := l.want(6, "status"); !strings.Contains(o.stdout, "exec") || !exists(flag) {
				t.Errorf("status must name what is left and touch nothing: %s", o)
			}
			if heal[0] == "run" {
				heal = []string{"run", l.write(two(target, filepath.Join(l.dir, "other"), "200ms"))}
			}
			if o := l.run(heal...); exists(flag) || !strings.Contains(o.stdout+o.stderr, "undone") {
				t.Errorf("%v did not heal: %s", heal, o)
			}
			l.run("resume")
			l.want(0, "status")
			if o := l.want(0, "undo", "--all"); !strings.Contains(o.stdout, "nothing is left") {
				t.Errorf("undo a second time: %s", o)
			}
		})
	}
}

func TestH4_SignalsHealReportAndSayByTheirCode(t *testing.T) {
	for signal, code := range map[syscall.Signal]int{syscall.SIGINT: 130, syscall.SIGTERM: 143, syscall.SIGHUP: 129} {
		t.Run(signal.String(), func(t *testing.T) {
			l := newLab(t)
			r, target, flag := bothOn(t, l)
			r.signal(signal)
			o := r.wait()
			if o.code != code || frozen(target) || exists(flag) {
				t.Errorf("frozen %v, flag %v: want exit %d, got %s", frozen(target), exists(flag), code, o)
			}
			fields := strings.Fields(o.stdout)
			if len(fields) != 3 || !exists(fields[2]) {
				t.Errorf("no last line with a report: %s", o)
			}
		})
	}
}

func TestH4_ASecondSignalLeavesTheUndoToTheHolder(t *testing.T) {
	l := newLab(t)
	testenv.Require(t, "pidfd")
	slow := filepath.Join(l.dir, "slow")
	r := l.start("run", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: slow-undo
timeline: {before: 0s, after: 100ms}
faults:
  - name: flag
    for: 60s
    exec:
      inject: [touch, %[1]q]
      confirm: [test, -e, %[1]q]
      undo: [sh, -c, "sleep 2; rm -f $0", %[1]q]
      timeout: 10s
`, slow)))
	within(t, 20*time.Second, "the fault", func() bool { return exists(slow) })
	r.until("in effect")
	r.signal(syscall.SIGINT)
	r.until("healing")
	r.signal(syscall.SIGINT)
	if o := r.wait(); o.code != 6 || !strings.Contains(o.stderr, "still on") {
		t.Errorf("want exit 6 and what is still on, got %s", o)
	}
	within(t, 10*time.Second, "the holder heals", func() bool { return !exists(slow) })
	within(t, 5*time.Second, "the record is closed", func() bool { return l.run("status").code == 0 })
}

func TestH4_AClosedPipeDoesNotStopTheUndo(t *testing.T) {
	l := newLab(t)
	testenv.Require(t, "pidfd")
	victim := testenv.Process(t)
	flag := filepath.Join(l.dir, "flag")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(l.exe, "run", l.write(two(victim.PID, flag, "1s")))
	cmd.Env, cmd.Stdout, cmd.Stderr = l.env, writer, writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 20*time.Second, "both faults in effect", func() bool { return frozen(victim.PID) && exists(flag) })
	if err := errors.Join(writer.Close(), reader.Close()); err != nil { // nobody reads from here on
		t.Fatal(err)
	}
	err = cmd.Wait()
	if frozen(victim.PID) || exists(flag) {
		t.Errorf("left behind: %v", err)
	}
	if !exists(filepath.Join(l.lastRun(), "report.html")) {
		t.Errorf("no report: %v", err)
	}
}

func TestAStoppedHolderIsEndedAndItsFaultsAreHealed(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	holder := r.holder()
	if err := syscall.Kill(holder, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	took := within(t, 6*time.Second, "the parent takes over", func() bool { return !frozen(target) && !exists(flag) })
	t.Logf("healed %s after the holder was stopped", took)
	if o := r.wait(); o.code == 0 || state(holder) != "" {
		t.Errorf("holder is %q; a lost holder is at best inconclusive: %s", state(holder), o)
	}
	l.want(0, "status")
}

func TestAKilledHolderIsReplacedByItsParent(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	if err := syscall.Kill(r.holder(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	took := within(t, time.Second, "the parent takes over", func() bool { return !frozen(target) && !exists(flag) })
	t.Logf("healed %s after the holder was killed", took)
	if o := r.wait(); o.code != 3 {
		t.Errorf("want inconclusive (3), got %s", o)
	}
}

func TestAStoppedToolCountsAsDead(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	r.signal(syscall.SIGSTOP)
	took := within(t, 5*time.Second, "the holder heals", func() bool { return !frozen(target) && !exists(flag) })
	t.Logf("healed %s after the tool was stopped", took)
	r.signal(syscall.SIGCONT)
	if o := r.wait(); o.code == 0 {
		t.Errorf("a run whose tool stood still passed: %s", o)
	}
}

func TestUndoOfALiveRunAsksItsHolder(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	l.want(0, "undo", "last")
	if frozen(target) || exists(flag) {
		t.Error("undo returned with faults on")
	}
	if o := r.wait(); o.code != 4 {
		t.Errorf("want aborted (4), got %s", o)
	}
}

func TestH67_HaltStopsEveryRunAndBlocksNewOnesUntilResume(t *testing.T) {
	l := newLab(t)
	r, target, flag := bothOn(t, l)
	r2 := l.start("run", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: second
timeline: {before: 0s, after: 100ms}
faults:
  - for: 60s
    process.pause: {select: {pid: %d}}
`, testenv.Process(t).PID)))
	r2.until("in effect")
	l.want(0, "halt", "customers", "are", "calling")
	if frozen(target) || exists(flag) {
		t.Error("halt returned with faults on")
	}
	for _, run := range []*running{r, r2} {
		if o := run.wait(); o.code != 4 {
			t.Errorf("want aborted (4), got %s", o)
		}
	}
	document := l.write(two(target, flag, "100ms"))
	if o := l.want(5, "run", document); !strings.Contains(o.stderr, "customers are calling") || exists(flag) {
		t.Errorf("a blocked run must say who halted and why: %s", o)
	}
	l.want(0, "resume")
	l.want(3, "run", document) // no probes: inconclusive, but carried out
}

// orphan kills tool and holder so that neither can heal, and gives the flag that stays.
func orphan(t *testing.T, l *lab) (flag string) {
	t.Helper()
	r, target, flag := bothOn(t, l)
	holder := r.holder()
	if err := syscall.Kill(holder, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	r.signal(syscall.SIGKILL)
	if err := syscall.Kill(holder, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, "the kernel takes back what it keeps", func() bool { return !frozen(target) })
	dead(t, holder, r.cmd.Process.Pid)
	return flag
}

func TestH8_AFaultOfAnotherVersionIsShownAndNotTouched(t *testing.T) {
	l := newLab(t)
	flag := orphan(t, l)
	path := filepath.Join(l.lastRun(), "journal.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	newer := strings.ReplaceAll(string(text), `"kind":"exec"`, `"kind":"exec.of.tomorrow"`)
	if err := os.WriteFile(path, []byte(newer), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := l.want(6, "undo", "--all"); !exists(flag) || !strings.Contains(o.stdout, "exec.of.tomorrow") {
		t.Errorf("want it named and not touched: %s", o)
	}
	l.want(6, "status")
}

func TestATornLastLineIsToleratedAndHealed(t *testing.T) {
	l := newLab(t)
	flag := orphan(t, l)
	journal, err := os.OpenFile(filepath.Join(l.lastRun(), "journal.jsonl"), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = journal.WriteString(`{"seq":99,"type":"undone","targ`)
	if err := errors.Join(err, journal.Close()); err != nil {
		t.Fatal(err)
	}
	l.want(0, "undo", "--all")
	if exists(flag) {
		t.Error("the flag is still there")
	}
	l.want(0, "report", "last", "--format", "md")
}

func TestARecordOfAnotherMachineIsShownAndNotTouched(t *testing.T) {
	l := newLab(t)
	flag := orphan(t, l)
	path := filepath.Join(l.lastRun(), "journal.jsonl")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	elsewhere := regexp.MustCompile(`"machine":"[^"]*"`).ReplaceAllString(string(text), `"machine":"another"`)
	if err := os.WriteFile(path, []byte(elsewhere), 0o600); err != nil {
		t.Fatal(err)
	}
	if o := l.want(6, "undo", "last"); !exists(flag) || !strings.Contains(o.stdout, "another machine") {
		t.Errorf("want it refused: %s", o)
	}
}

func TestABareUndoNamesWhatOlderRunsLeft(t *testing.T) {
	l := newLab(t)
	flag := orphan(t, l)
	l.want(3, "run", "-q", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: later
timeline: {before: 0s, after: 50ms}
faults:
  - for: 100ms
    process.pause: {select: {pid: %d}}
`, testenv.Process(t).PID)))
	if exists(flag) {
		t.Fatal("a run heals what earlier ones left")
	}
	l.want(0, "undo")
	stuck := filepath.Join(l.dir, "stuck")
	l.want(6, "run", "-q", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: stuck
timeline: {before: 0s, after: 50ms}
faults:
  - for: 100ms
    exec: {inject: [touch, %[1]q], confirm: [test, -e, %[1]q], undo: ["true"], timeout: 2s}
`, stuck)))
	l.run("run", "-q", l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: last
timeline: {before: 0s, after: 50ms}
faults:
  - for: 100ms
    process.pause: {select: {pid: %d}}
`, testenv.Process(t).PID)))
	if o := l.want(6, "undo"); !strings.Contains(o.stderr, "undo --all") {
		t.Errorf("a bare undo must name what older runs left: %s", o)
	}
}

func TestMoreThanTheLimitOfDurationIsABlastRadiusThatIsRefused(t *testing.T) {
	l := newLab(t)
	document := l.write(fmt.Sprintf(`
apiVersion: faultline/v1
kind: Experiment
name: long
limits: {duration: 1s}
timeline: {before: 0s, after: 50ms}
faults:
  - for: 5s
    process.pause: {select: {pid: %d}}
`, testenv.Process(t).PID))
	for _, command := range []string{"plan", "run"} {
		if o := l.want(5, command, document); !strings.Contains(o.stderr, "limits.duration") {
			t.Errorf("want the limit named: %s", o)
		}
	}
}
