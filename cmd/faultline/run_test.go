package main_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

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
