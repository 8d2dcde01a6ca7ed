package house_test

import (
	"context"
	"encoding/xml"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// A staging is what the pipelines of examples/ci run against: a real service,
// and the environment of one job.
type staging struct {
	tree    string // the job's checkout
	env     []string
	path    string // PATH, which steps may extend
	addPath string // the file in which they do
}

// newStaging starts the service. Its outage is the longest that the gate takes:
// a freeze of 2s passes with 4s and fails with 1s.
func newStaging(t *testing.T, outage string) *staging {
	t.Helper()
	testenv.Require(t, "bash")
	service := testenv.Process(t, "-http", "127.0.0.1:0")
	s := &staging{tree: t.TempDir(), path: os.Getenv("PATH")}
	if err := os.CopyFS(filepath.Join(s.tree, "examples", "ci"), os.DirFS(filepath.Join(testenv.Root(t), "examples", "ci"))); err != nil {
		t.Fatal(err)
	}
	s.addPath = filepath.Join(s.tree, "path")
	s.env = append(s.env, testenv.Home(t)...)
	s.env = append(s.env, "HOME="+s.tree, "CI=true", "GITHUB_PATH="+s.addPath, "GITHUB_STEP_SUMMARY="+filepath.Join(s.tree, "summary.md"),
		"STAGING_URL="+service.URL(), "STAGING_EXE="+service.Exe, "STAGING_OUTAGE="+outage)
	return s
}

// withBinary puts the tree's faultline on the PATH, for what does not install it itself.
func (s *staging) withBinary(t *testing.T) *staging {
	s.path = filepath.Dir(testenv.Binary(t)) + string(os.PathListSeparator) + s.path
	return s
}

// bash runs one step's script, fails t never, and returns its exit code.
func (s *staging) bash(t *testing.T, script string, env ...string) (code int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", script)
	cmd.Dir = s.tree
	cmd.Env = slices.Concat(os.Environ(), s.env, env, []string{"PATH=" + s.path})
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("running %q: %v", script, err)
	}
	if added, err := os.ReadFile(s.addPath); err == nil {
		for line := range strings.Lines(string(added)) {
			s.path += string(os.PathListSeparator) + strings.TrimSpace(line)
		}
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// junit finds the one junit.xml below a folder of the job and returns how many cases failed.
func (s *staging) junit(t *testing.T, folder string) (cases, failures int) {
	t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(s.tree, folder), func(path string, _ fs.DirEntry, err error) error {
		if filepath.Base(path) == "junit.xml" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) != 1 {
		t.Fatalf("looking for one junit.xml in %s: %v, %v", folder, files, err)
	}
	content, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(strings.NewReader(string(content)))
	for {
		token, err := decoder.Token()
		if err != nil {
			return cases, failures
		}
		if start, ok := token.(xml.StartElement); ok && start.Name.Local == "testcase" {
			cases++
		} else if ok && (start.Name.Local == "failure" || start.Name.Local == "error") {
			failures++
		}
	}
}

// checkKept wants the JUnit file whatever the gate said.
func (s *staging) checkKept(t *testing.T, folder string, code int) {
	t.Helper()
	cases, failures := s.junit(t, folder)
	if cases == 0 {
		t.Errorf("junit.xml has no case")
	}
	if (failures > 0) != (code != 0) {
		t.Errorf("the gate exits %d, and junit.xml tells of %d failures", code, failures)
	}
}

// gates are the two ways in which a gate can end.
var gates = []struct {
	name, outage string
	want         int
}{
	{"the hypothesis holds", "4s", 0},
	{"the hypothesis does not hold", "1s", 1},
}

func TestGateScript(t *testing.T) {
	t.Parallel() // they mostly wait
	for _, row := range gates {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStaging(t, row.outage).withBinary(t)
			code, out := s.bash(t, "examples/ci/gate.sh results examples/ci/experiment.yaml")
			if code != row.want {
				t.Fatalf("gate.sh exits %d, want %d:\n%s", code, row.want, out)
			}
			s.checkKept(t, "results", code)
		})
	}
}

func TestGateScriptStopsAtAMistake(t *testing.T) {
	t.Parallel() // they mostly wait
	s := newStaging(t, "4 seconds").withBinary(t)
	if code, out := s.bash(t, "examples/ci/gate.sh results examples/ci/experiment.yaml"); code != 2 || !strings.Contains(out, "experiment.yaml:") {
		t.Errorf("gate.sh exits %d, want 2 and the place of the mistake:\n%s", code, out)
	}
	if code, out := s.bash(t, "examples/ci/gate.sh results"); code != 2 || !strings.Contains(out, "usage:") {
		t.Errorf("gate.sh without an experiment exits %d, want 2 and its usage:\n%s", code, out)
	}
}

// A step is one of GitHub's.
type step struct {
	Name, Uses, Run, If string
	Env                 map[string]string
	With                map[string]string
}

var expression = regexp.MustCompile(`\$\{\{ *([a-z]+)\.([A-Za-z_]+) *\}\}`)

// runSteps carries GitHub's steps out as its runner would: after a failure only
// those that say `if: always()`. It returns the first failure's code.
func (s *staging) runSteps(t *testing.T, steps []step, values map[string]string) int {
	t.Helper()
	failed := 0
	uploads := 0
	for _, one := range steps {
		if failed != 0 && one.If != "always()" {
			continue
		}
		switch action, _, _ := strings.Cut(one.Uses, "@"); action {
		case "":
		case "actions/upload-artifact":
			if one.If != "always()" {
				t.Errorf("step %q keeps the reports only when the gate passes", one.Name)
			}
			uploads++
			continue
		case "actions/checkout", "actions/setup-go":
			continue
		default:
			t.Fatalf("step %q uses %s, and this test does not know what that does", one.Name, one.Uses)
		}
		var env []string
		for key, value := range one.Env {
			env = append(env, key+"="+expression.ReplaceAllStringFunc(value, func(e string) string {
				return values[expression.FindStringSubmatch(e)[2]]
			}))
		}
		if strings.Contains(one.Run, "${{") {
			t.Errorf("step %q puts an expression into a shell script: pass it by env, or it can be more than a word", one.Name)
		}
		code, out := s.bash(t, one.Run, env...)
		t.Logf("step %q exits %d\n%s", one.Name, code, out)
		if code != 0 && failed == 0 {
			failed = code
		}
	}
	if uploads != 1 {
		t.Errorf("%d steps keep the reports, want 1", uploads)
	}
	return failed
}

func readYAML(t *testing.T, path string, into any) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(testenv.Root(t), path))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(content, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func TestGitHubAction(t *testing.T) {
	t.Parallel() // they mostly wait
	var action struct {
		Inputs map[string]struct{ Default string }
		Runs   struct{ Steps []step }
	}
	readYAML(t, "examples/ci/github/action.yml", &action)
	values := map[string]string{}
	for name, input := range action.Inputs {
		values[name] = input.Default
	}
	values["experiments"] = "examples/ci/experiment.yaml"
	for _, row := range gates {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := newStaging(t, row.outage)
			s.env = append(s.env, installable(t)...)
			code := s.runSteps(t, action.Runs.Steps, values)
			if code != row.want {
				t.Errorf("the action ends with %d, want %d", code, row.want)
			}
			s.checkKept(t, values["results"], code)
			if summary, err := os.ReadFile(filepath.Join(s.tree, "summary.md")); err != nil || !strings.Contains(string(summary), "staging-rides-out-a-hang") {
				t.Errorf("the job's page shows %q, %v", summary, err)
			}
		})
	}
}

func TestGitHubWorkflow(t *testing.T) {
	t.Parallel() // they mostly wait
	var workflow struct {
		Jobs map[string]struct{ Steps []step }
	}
	readYAML(t, "examples/ci/github/workflow.yml", &workflow)
	s := newStaging(t, "1s")
	s.env = append(s.env, installable(t)...)
	code := s.runSteps(t, workflow.Jobs["gate"].Steps, nil)
	if code != 1 {
		t.Errorf("the job ends with %d, want 1", code)
	}
	s.checkKept(t, "faultline-results", code)
}

func TestGitLabJob(t *testing.T) {
	t.Parallel() // they mostly wait
	var pipeline struct {
		Resilience struct {
			Script    []string
			Artifacts struct {
				When    string
				Paths   []string
				Reports struct{ JUnit string }
			}
		}
	}
	readYAML(t, "examples/ci/gitlab/gitlab-ci.yml", &pipeline)
	job := pipeline.Resilience
	if job.Artifacts.When != "always" || !slices.Contains(job.Artifacts.Paths, "faultline-results") || !strings.HasPrefix(job.Artifacts.Reports.JUnit, "faultline-results/") {
		t.Errorf("the job keeps %+v; want the results and their JUnit always", job.Artifacts)
	}
	s := newStaging(t, "1s")
	s.env = append(s.env, installable(t)...)
	// GitLab runs a job's lines in one shell.
	code, out := s.bash(t, strings.Join(job.Script, "\n"))
	if code != 1 {
		t.Fatalf("the job ends with %d, want 1:\n%s", code, out)
	}
	s.checkKept(t, "faultline-results", code)
}
