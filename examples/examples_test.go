package examples_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/testenv"
	"github.com/faultline-sh/faultline/probes"
)

func TestExamplesParse(t *testing.T) {
	var catalog experiments.Catalog
	for _, f := range injectors.Table() {
		catalog.Faults = append(catalog.Faults, f.Kind)
	}
	for _, p := range probes.Table() {
		catalog.Probes = append(catalog.Probes, p.ProbeKind)
	}
	asked := map[string]string{"STAGING_URL": "http://127.0.0.1:8080", "STAGING_EXE": "service", "STAGING_OUTAGE": "4s"}
	options := experiments.Options{Getenv: func(name string) (string, bool) { value, ok := asked[name]; return value, ok }}
	for _, dir := range exampleFolders(t) {
		t.Run(dir, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join(dir, "experiment.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			parsed, problems := experiments.Parse([]experiments.File{{Name: dir, Text: text}}, catalog, options)
			for _, p := range problems {
				t.Errorf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Problem)
			}
			for _, e := range parsed.Experiments {
				if e.Hypothesis == "" || len(e.Probes) == 0 {
					t.Errorf("%s has no hypothesis or no probe: an example shows both", e.Name)
				}
			}
		})
	}
}

// exampleFolders are all folders with an experiment, and each must say what it teaches.
func exampleFolders(t *testing.T) []string {
	t.Helper()
	found, err := filepath.Glob("*/experiment.yaml")
	if err != nil || len(found) == 0 {
		t.Fatalf("found no examples: %v", err)
	}
	var folders []string
	for _, path := range found {
		dir := filepath.Dir(path)
		folders = append(folders, dir)
		if dir == "ci" { // it is explained where pipelines are
			continue
		}
		readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
		if err != nil || !strings.Contains(string(readme), "What you learn") {
			t.Errorf("%s: its README.md does not say what a user learns (%v)", dir, err)
		}
	}
	return folders
}

// TestShopExamples uses one shop after the other: they share names, addresses and a port.
func TestShopExamples(t *testing.T) {
	testenv.Require(t, "docker", "haproxy", "bash", "root")
	for _, row := range []struct {
		example, do string
		needs       []string
	}{
		{example: "compose-replica-crash", do: "run"},
		{example: "compose-replica-hangs", do: "run"},
		{example: "haproxy-slow-backend", do: "run", needs: []string{"netns"}},
		{example: "haproxy-backend-down", do: "plan"},
		{example: "compose-rolling-restart", do: "plan"},
		{example: "compose-replica-lost", do: "plan"},
	} {
		t.Run(row.do+" "+row.example, func(t *testing.T) {
			if len(row.needs) > 0 {
				testenv.Require(t, row.needs...)
			}
			cmd := exec.Command("bash", filepath.Join(row.example, "run.sh"), row.do)
			cmd.Env = append(os.Environ(), testenv.Home(t)...)
			cmd.Env = append(cmd.Env, "PATH="+filepath.Dir(testenv.Binary(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
			began := time.Now()
			out, err := cmd.CombinedOutput()
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				t.Errorf("%s exits %d:\n%s", row.example, exit.ExitCode(), out)
			} else if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s", time.Since(began).Round(time.Second))
			left, err := exec.Command("docker", "ps", "--all", "--quiet", "--filter", "label=sh.faultline.example=faultline-shop").Output()
			if err != nil || len(left) > 0 {
				t.Errorf("the shop was not taken down: %s (%v)", left, err)
			}
		})
	}
}
