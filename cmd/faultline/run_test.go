package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
)

// touching breaks nothing but a file of the test's own.
const touching = `apiVersion: faultline/v1
kind: Experiment
name: a file ${env:SECRET_NAME}
timeline: {before: 500ms, after: 300ms}
probes:
  - name: the file is away
    exec: {command: [test, "!", -e, DIR/down]}
    expect: code == 0 || stdout == "${env:SECRET_NAME}"
    every: 20ms
    tolerate: {during: 0%}
faults:
  - name: touch
    for: 500ms
    exec: {inject: [touch, DIR/down], confirm: [test, -e, DIR/down], undo: [rm, -f, DIR/down], timeout: 5s}
`

func TestARunEndsWithItsNameVerdictAndReport(t *testing.T) {
	s := newShell(t)
	s.env = append(s.env, "SECRET_NAME=hunter2-very-secret")
	s.write("touch.yaml", strings.ReplaceAll(touching, "DIR", s.dir))
	code, stdout, stderr := s.use("", "run", "touch.yaml", "--out", "out", "--seed", "7")
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	last := strings.Fields(lines[len(lines)-1])
	if code != 0 || len(last) != 3 || last[1] != "passed" || last[2] != filepath.Join(s.dir, "out", "report.html") {
		t.Fatalf("exit %d, last line %q\n%s\n%s", code, last, stdout, stderr)
	}
	for _, name := range []string{"report.html", "report.md", "report.json", "junit.xml"} {
		if _, err := os.Stat(filepath.Join(s.dir, "out", name)); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Join(s.dir, "down")); err == nil {
		t.Error("the file is still there")
	}
	s.nothingHolds(t, "hunter2", stdout+stderr)
	checkPhases(t, s.journalOf(last[0]))
	for _, ref := range []string{"last", last[0], last[0][:12]} {
		if code, stdout, _ := s.use("", "report", ref, "--format", "json"); code != 0 || !strings.Contains(stdout, last[0]) {
			t.Errorf("report %s: exit %d\n%s", ref, code, stdout)
		}
	}
	if code, stdout, _ := s.use("", "list", "runs"); code != 0 || !strings.Contains(stdout, last[0]) {
		t.Errorf("list runs: exit %d\n%s", code, stdout)
	}
	if code, stdout, _ := s.use("", "undo", last[0]); code != 0 || !strings.Contains(stdout, "nothing is left") {
		t.Errorf("undo: exit %d\n%s", code, stdout)
	}
}

func TestSeveralRunsKeepAReportEach(t *testing.T) {
	s := newShell(t)
	s.env = append(s.env, "SECRET_NAME=x")
	one := strings.NewReplacer("DIR", s.dir, "before: 500ms", "before: 60ms", "for: 500ms", "for: 100ms").Replace(touching)
	s.write("one.yaml", one)
	s.write("two.yaml", strings.Replace(one, "tolerate: {during: 0%}", "tolerate: {during: 100%}", 1)+"---\n"+strings.Replace(one, "a file", "another", 1))
	code, stdout, stderr := s.use("", "run", "one.yaml", "two.yaml", "--out", "out")
	if code != 1 {
		t.Errorf("one of three fails: exit %d\n%s%s", code, stdout, stderr)
	}
	reports, err := filepath.Glob(filepath.Join(s.dir, "out", "*", "junit.xml"))
	if err != nil || len(reports) != 3 {
		t.Errorf("there are %d reports, %v\n%s%s", len(reports), err, stdout, stderr)
	}
	var verdicts []string
	for _, line := range strings.Split(strings.TrimSpace(stdout), "\n") {
		verdicts = append(verdicts, strings.Fields(line)[1])
	}
	if !slices.Equal(verdicts, []string{"passed", "failed", "passed"}) {
		t.Errorf("verdicts are %q", verdicts)
	}
}

// journalOf is the folder of one run.
func (s *shell) journalOf(id string) string {
	s.t.Helper()
	for _, file := range s.state() {
		if strings.Contains(file, id) && filepath.Base(file) == "journal.jsonl" {
			return filepath.Dir(file)
		}
	}
	s.t.Fatalf("run %s has no journal", id)
	return ""
}

// nothingHolds looks for a secret in everything that was written down or said.
func (s *shell) nothingHolds(t *testing.T, secret, said string) {
	t.Helper()
	if strings.Contains(said, secret) {
		t.Errorf("it says a secret:\n%s", said)
	}
	err := filepath.WalkDir(s.dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("a secret stands in %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	for _, path := range s.state() {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("a secret stands in %s", path)
		}
	}
}

// checkPhases: no question is due between the end of the baseline and the
// beginning of During: it would count as baseline and feel the fault.
func checkPhases(t *testing.T, dir string) {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "journal.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var judged, began experiments.Boottime
	for scanner := bufio.NewScanner(f); scanner.Scan(); {
		var e experiments.Event
		if err := json.Unmarshal(scanner.Bytes(), &e); err != nil {
			continue // the journal has its own tests; the last line may have a checksum
		}
		switch {
		case e.Type == experiments.EventBaseline:
			judged = e.Boot
		case e.Type == experiments.EventPhase && e.Phase == experiments.PhaseDuring:
			began = e.Boot
		}
	}
	if judged == 0 || began == 0 {
		t.Fatal("the journal has no baseline, or no During")
	}
	samples := 0
	for sample, err := range journal.ReadSamples((journal.Run{Dir: dir}).Samples()) {
		if err != nil {
			t.Fatal(err)
		}
		samples++
		if sample.Due > judged && sample.Due < began {
			t.Errorf("a question was due %s after the baseline and %s before During", sample.Due.Sub(judged), began.Sub(sample.Due))
		}
	}
	if samples < 20 {
		t.Errorf("there are %d samples", samples)
	}
}

// holding stays on until it is undone, and needs a secret to be.
const holding = `apiVersion: faultline/v1
kind: Experiment
name: held
timeline: {before: 0s, after: 0s}
faults:
  - name: touch
    for: 60s
    exec:
      inject: [sh, -c, 'printf %s "$1" > DIR/down', inject, "${env:PASSWORD}"]
      confirm: [test, -e, DIR/down]
      undo: [sh, -c, 'grep -qx "$1" DIR/down && rm -f DIR/down', undo, "${env:PASSWORD}"]
      timeout: 5s
`

// TestASecretIsReadAgainToUndo: the record has only its name, so a later
// process that cannot read it says which one it needs, and changes nothing.
func TestASecretIsReadAgainToUndo(t *testing.T) {
	s := newShell(t)
	s.write("held.yaml", strings.ReplaceAll(holding, "DIR", s.dir))
	without := s.env
	s.env = append(slices.Clone(without), "PASSWORD=hunter2-very-secret")
	said := s.killMidway("run", "held.yaml")
	down := filepath.Join(s.dir, "down")
	if text, err := os.ReadFile(down); err != nil || string(text) != "hunter2-very-secret" {
		t.Fatalf("the fault is not on: %q, %v\n%s", text, err, said)
	}

	s.env = without
	code, stdout, stderr := s.use("", "undo")
	if code != 6 || !strings.Contains(stdout, "env:PASSWORD") {
		t.Errorf("undo without the secret: exit %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(down); err != nil {
		t.Errorf("it was touched: %v", err)
	}
	s.env = append(slices.Clone(without), "PASSWORD=hunter2-very-secret")
	said += stdout + stderr
	code, stdout, stderr = s.use("", "undo")
	if code != 0 {
		t.Errorf("undo with the secret: exit %d\n%s%s", code, stdout, stderr)
	}
	if _, err := os.Stat(down); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file is still there: %v", err)
	}
	s.nothingHolds(t, "hunter2", said+stdout+stderr)
}

// killMidway starts a run, waits until its fault is confirmed, and kills the
// tool and its holder so that neither can heal.
func (s *shell) killMidway(args ...string) (said string) {
	s.t.Helper()
	var news bytes.Buffer
	cmd := exec.Command(s.exe, args...)
	cmd.Dir, cmd.Env, cmd.Stdout = s.dir, s.env, io.Discard
	stderr, err := cmd.StderrPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	for scanner := bufio.NewScanner(stderr); scanner.Scan(); {
		fmt.Fprintln(&news, scanner.Text())
		if strings.Contains(scanner.Text(), "in effect") {
			break
		}
	}
	holder := s.holder()
	// The holder first: it heals when its parent dies.
	for _, process := range []*os.Process{holder, cmd.Process} {
		if err := process.Kill(); err != nil {
			s.t.Error(err)
		}
	}
	_, _ = io.Copy(&news, stderr) // both have closed it when they are gone
	_ = cmd.Wait()                // it was killed: that is its error
	return news.String()
}

// holder is the process that carries the only run.
func (s *shell) holder() *os.Process {
	s.t.Helper()
	for _, file := range s.state() {
		if filepath.Base(file) != "journal.jsonl" {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			s.t.Fatal(err)
		}
		first, _, _ := bytes.Cut(text, []byte("\n"))
		var e experiments.Event
		var id struct {
			PID int `json:"pid"`
		}
		if err := errors.Join(json.Unmarshal(first, &e), json.Unmarshal([]byte(e.Header.HolderID), &id)); err != nil {
			s.t.Fatal(err)
		}
		process, err := os.FindProcess(id.PID)
		if err != nil {
			s.t.Fatal(err)
		}
		return process
	}
	s.t.Fatal("no run has a holder")
	return nil
}

func TestInjectBreaksWhatItNames(t *testing.T) {
	s := newShell(t)
	victim := exec.Command("sleep", "600")
	if err := victim.Start(); err != nil {
		t.Skipf("there is no sleep here: %v", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- victim.Wait() }()
	code, stdout, stderr := s.use("", "inject", "process.kill", fmt.Sprintf("pid=%d", victim.Process.Pid), "signal=TERM", "--for", "500ms")
	if code != 3 || !strings.Contains(stdout, " inconclusive ") {
		t.Errorf("a kill that nobody watched: exit %d\n%s%s", code, stdout, stderr)
	}
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "terminated") {
			t.Errorf("it ended by %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Errorf("it is alive\n%s%s", stdout, stderr)
		if err := victim.Process.Kill(); err != nil {
			t.Error(err)
		}
	}
}
