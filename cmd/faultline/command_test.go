package main_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// shell is a folder and a state directory in which the built binary is used.
type shell struct {
	t   *testing.T
	exe string
	dir string
	env []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the built binary")
	}
	return &shell{t: t, exe: testenv.Binary(t), dir: t.TempDir(), env: append(os.Environ(), testenv.Home(t)...)}
}

func (s *shell) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// use runs one command line and gives its exit code and what it wrote.
func (s *shell) use(stdin string, args ...string) (code int, stdout, stderr string) {
	s.t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.Command(s.exe, args...)
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = s.dir, s.env, strings.NewReader(stdin), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

// state lists every file of the state directory.
func (s *shell) state() []string {
	s.t.Helper()
	var files []string
	for _, variable := range s.env {
		dir, ok := strings.CutPrefix(variable, "FAULTLINE_HOME=")
		if !ok {
			continue
		}
		err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err == nil && !entry.IsDir() {
				files = append(files, path)
			}
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
	}
	return files
}

const nobody = `apiVersion: faultline/v1
kind: Experiment
name: nobody is there
timeline: {before: 0s, during: 1s, after: 0s}
faults:
  - process.kill: {select: {exe: faultline-no-such-executable}, pick: 1}
`

func TestCommandsAnswerWithTheirCodeOnTheRightStream(t *testing.T) {
	for name, row := range map[string]struct {
		args           []string
		stdin          string
		code           int
		stdout, stderr string // a part of each; "" wants nothing there
	}{
		"the version is a result":                   {args: []string{"version"}, stdout: "faultline "},
		"the help of a command has examples":        {args: []string{"run", "--help"}, stdout: "Examples:"},
		"no command shows the commands":             {args: nil, stdout: "Available Commands:"},
		"a command that is not there":               {args: []string{"frobnicate"}, code: 2, stderr: "unknown command"},
		"a flag that is not there":                  {args: []string{"run", "--sed", "1"}, code: 2, stderr: "unknown flag: --sed: see `faultline run --help`"},
		"a valid document":                          {args: []string{"validate", "good.yaml"}, stdout: "is valid"},
		"a valid document from standard input":      {args: []string{"validate", "-"}, stdin: nobody, stdout: "-:1: nobody is there is valid"},
		"a bad document has all its problems":       {args: []string{"validate", "bad.yaml"}, code: 2, stderr: "bad.yaml:3:1: nmae is no key here: did you mean \"name\"?\n"},
		"a bad document is not run":                 {args: []string{"run", "bad.yaml"}, code: 2, stderr: "2 problems: nothing was started"},
		"one bad document of two stops both":        {args: []string{"run", "good.yaml", "bad.yaml"}, code: 2, stderr: "nothing was started"},
		"problems as JSON are a result":             {args: []string{"validate", "bad.yaml", "--json"}, code: 2, stdout: `"line": 3`},
		"a file that is not there":                  {args: []string{"run", "none.yaml"}, code: 2, stderr: "none.yaml: no such file"},
		"run without a file says what to do":        {args: []string{"run"}, code: 2, stderr: "faultline init KIND"},
		"a plan with no match is inconclusive":      {args: []string{"plan", "good.yaml"}, code: 3, stdout: "nobody is there", stderr: "matches no target"},
		"a run with no match is inconclusive":       {args: []string{"run", "good.yaml"}, code: 3, stdout: "nobody is there", stderr: "matches no target"},
		"an unset variable is named":                {args: []string{"validate", "var.yaml"}, code: 2, stderr: "var.yaml:3:7: name: ${var:name} has no value: give it with --var name=VALUE"},
		"a variable is given by a flag":             {args: []string{"validate", "var.yaml", "--var", "name=called"}, stdout: "called is valid"},
		"a variable without a value":                {args: []string{"validate", "var.yaml", "--var", "name"}, code: 2, stderr: "write it as name=value"},
		"an unknown kind to inject":                 {args: []string{"inject", "proces.kill"}, code: 2, stderr: "did you mean process.kill?"},
		"a setting to inject that is not there":     {args: []string{"inject", "process.kill", "exee=x", "pick=1"}, code: 2, stderr: `exee is no key here`},
		"inject keeps the rules of a document":      {args: []string{"inject", "process.pause", "exe=x", "pick=1"}, code: 2, stderr: "for is missing"},
		"inject prints what it would run":           {args: []string{"inject", "process.pause", "exe=x", "pick=1", "--for", "5s", "--print"}, stdout: "    for: 5s\n"},
		"inject does nothing on a dry run":          {args: []string{"inject", "process.pause", "exe=faultline-no-such-executable", "pick=1", "--for", "5s", "--dry-run"}, code: 3, stdout: "inject process.pause", stderr: "matches no target"},
		"init of nothing lists the kinds":           {args: []string{"init", "zzz"}, code: 2, stderr: "container.crash"},
		"a schema that is not there":                {args: []string{"schema", "zzz"}, code: 2, stderr: "there are event, experiment, plan, report, status"},
		"faults are listed":                         {args: []string{"list", "faults"}, stdout: "network.latency"},
		"probes are listed as JSON":                 {args: []string{"list", "probes", "--json"}, stdout: `"http"`},
		"nothing is left where nothing ran":         {args: []string{"undo"}, stdout: "nothing is left to undo"},
		"nothing is left of all":                    {args: []string{"undo", "--all"}, stdout: "nothing is left to undo"},
		"a run that is not there cannot be undone":  {args: []string{"undo", "2099"}, code: 2, stderr: "2099"},
		"a run that is not there has no report":     {args: []string{"report", "last"}, code: 2, stderr: "faultline: "},
		"a format that is not there":                {args: []string{"report", "last", "--format", "pdf"}, code: 2, stderr: "html"},
		"the status of nothing":                     {args: []string{"status"}, stdout: "no runs yet"},
		"completion for a shell":                    {args: []string{"completion", "bash"}, stdout: "bash completion"},
		"a saved plan that is not there":            {args: []string{"run", "--plan", "none.json"}, code: 2, stderr: "none.json"},
		"a saved plan of another schema is refused": {args: []string{"run", "--plan", "plan.json"}, code: 2, stderr: "faultline/plan/v9"},
		"a file and a saved plan are too much":      {args: []string{"run", "good.yaml", "--plan", "plan.json"}, code: 2, stderr: "not both"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.write("good.yaml", nobody)
			s.write("bad.yaml", strings.Replace(nobody, "name:", "nmae:", 1))
			s.write("var.yaml", strings.Replace(nobody, "nobody is there", "${var:name}", 1))
			s.write("plan.json", `{"schema": "faultline/plan/v9"}`)
			code, stdout, stderr := s.use(row.stdin, row.args...)
			if code != row.code {
				t.Errorf("exit %d, want %d", code, row.code)
			}
			if !strings.Contains(stdout, row.stdout) || (row.stdout == "") != (stdout == "") {
				t.Errorf("want %q on stdout", row.stdout)
			}
			if !strings.Contains(stderr, row.stderr) || (row.stderr == "") != (stderr == "") {
				t.Errorf("want %q on stderr", row.stderr)
			}
			if strings.Contains(stdout+stderr, "\x1b") {
				t.Error("there are escape codes, and this is no terminal")
			}
			for _, file := range s.state() {
				if strings.Contains(file, "journal.jsonl") {
					t.Errorf("a run was begun: %s", file)
				}
			}
			if t.Failed() {
				t.Logf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
			}
		})
	}
}

func TestEveryFlagIsAlsoInTheEnvironment(t *testing.T) {
	s := newShell(t)
	s.write("var.yaml", strings.Replace(nobody, "nobody is there", "${var:name}", 1))
	s.env = append(s.env, "FAULTLINE_JSON=true", "FAULTLINE_VAR=name=called")
	code, stdout, stderr := s.use("", "validate", "var.yaml")
	if code != 0 || !json.Valid([]byte(stdout)) || !strings.Contains(stdout, "called") {
		t.Errorf("exit %d\n%s\n%s", code, stdout, stderr)
	}
	s.env = append(s.env, "FAULTLINE_JSON=maybe")
	if code, _, stderr := s.use("", "version"); code != 2 || !strings.Contains(stderr, "FAULTLINE_JSON") {
		t.Errorf("a value that is none: exit %d\n%s", code, stderr)
	}
}

func TestEveryStarterValidatesAndFitsTheSchema(t *testing.T) {
	s := newShell(t)
	schema := s.schema()
	for _, list := range []string{"faults", "probes"} {
		code, stdout, stderr := s.use("", "list", list, "--json")
		var kinds []map[string]string
		if err := json.Unmarshal([]byte(stdout), &kinds); code != 0 || err != nil || len(kinds) == 0 {
			t.Fatalf("list %s: exit %d, %v\n%s", list, code, err, stderr)
		}
		for _, kind := range kinds {
			code, document, stderr := s.use("", "init", kind["kind"])
			if code != 0 || !strings.Contains(document, "# ") {
				t.Errorf("init %s: exit %d\n%s%s", kind["kind"], code, document, stderr)
			}
			if code, _, stderr := s.use(document, "validate", "-"); code != 0 {
				t.Errorf("validate what init %s printed: exit %d\n%s\n%s", kind["kind"], code, stderr, document)
			}
			if err := schema.Validate(inJSON(t, document)); err != nil {
				t.Errorf("the schema refuses what init %s printed: %v\n%s", kind["kind"], err, document)
			}
		}
	}
}

// TestTheSchemaTakesEveryExample: an editor must not underline what runs.
func TestTheSchemaTakesEveryExample(t *testing.T) {
	s := newShell(t)
	schema, examples := s.schema(), 0
	err := filepath.WalkDir(filepath.Join(testenv.Root(t), "examples"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil || !bytes.Contains(text, []byte("apiVersion: faultline/")) {
			return err
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			examples++
			if err := schema.Validate(inJSON(t, document)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if examples == 0 {
		t.Error("there are no examples")
	}
}

// schema is what `faultline schema experiment` prints.
func (s *shell) schema() *jsonschema.Schema {
	s.t.Helper()
	code, text, stderr := s.use("", "schema", "experiment")
	if code != 0 {
		s.t.Fatalf("schema: exit %d\n%s", code, stderr)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("experiment.json", document); err != nil {
		s.t.Fatal(err)
	}
	schema, err := compiler.Compile("experiment.json")
	if err != nil {
		s.t.Fatal(err)
	}
	return schema
}

// inJSON is a YAML document as a JSON Schema sees it.
func inJSON(t *testing.T, document string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(document), &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestWhatInjectPrintsIsWhatItWouldRun(t *testing.T) {
	s := newShell(t)
	code, _, stderr := s.use("", "inject", "process.pause", "exe=x", "user=0", "pick=50%", "--for", "5s", "--allow", "last-replica,overlap",
		"--http", "http://127.0.0.1:1/", "--tcp", "127.0.0.1:1", "--tolerate", "during=99%,abort=5", "--every", "200ms", "--hypothesis", "costs ${5}", "--print")
	if code != 2 || !strings.Contains(stderr, "${5} is no reference") {
		t.Errorf("a reference in a flag: exit %d\n%s", code, stderr)
	}
	s.env = append(s.env, "PASSWORD=hunter2-very-secret")
	code, document, stderr := s.use("", "inject", "process.pause", "exe=x", "user=0", "pick=50%", "--for", "5s", "--allow", "last-replica,overlap",
		"--http", "http://u:${env:PASSWORD}@127.0.0.1:1/", "--tolerate", "during=99%,abort=5", "--every", "200ms", "--print")
	if code != 0 || strings.Contains(document, "hunter2") || !strings.Contains(document, "${env:PASSWORD}") {
		t.Fatalf("exit %d\n%s%s", code, document, stderr)
	}
	code, again, stderr := s.use(document, "validate", "-", "--json")
	if code != 0 || strings.Contains(again, "hunter2") {
		t.Errorf("validate: exit %d\n%s%s\n%s", code, again, stderr, document)
	}
}
