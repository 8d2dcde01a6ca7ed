package house_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// A snippet is one fenced block of a document. In the line above the fence an
// HTML comment, which no reader sees, says what the test does with it:
//
//	<!-- run -->                run by bash, after the blocks before it; must exit 0
//	<!-- run: exit 3 -->        run, and the last command must exit 3
//	<!-- run: needs docker -->  run where the machine has it (testenv.Require)
//	<!-- run: port 8421 -->     run, and the next one only when something listens there
//	<!-- file: first.yaml -->   written for the blocks after it; YAML is validated as an experiment
//	<!-- go: injectors/x.go --> compiled as if it stood there, with all others of its kind
//	<!-- shown: reason -->      only read, for the reason given
//
// Blocks of sh, console, yaml and go must have one.
type snippet struct {
	path     string // of the document
	line     int
	language string
	verb     string // run, file, go, shown; "" without a comment
	argument string
	text     string
}

func (s snippet) at() string { return fmt.Sprintf("%s:%d", s.path, s.line) }

var (
	marker    = regexp.MustCompile(`^<!-- (run|file|go|shown)(?:: (.*))? -->$`)
	fence     = regexp.MustCompile("^```([a-z]*)$")
	mustMark  = []string{"sh", "bash", "console", "shell", "yaml", "yml", "go"}
	runOption = regexp.MustCompile(`^(?:exit ([0-9]+)|needs ([a-z]+)|port ([0-9]+))$`)
)

// parseSnippets reads one document's blocks.
func parseSnippets(path, text string) ([]snippet, error) {
	var found []snippet
	var above, inside []string
	var open *snippet
	for i, line := range strings.Split(text, "\n") {
		opening := fence.FindStringSubmatch(line)
		switch {
		case open != nil && line == "```":
			open.text = strings.Join(inside, "\n") + "\n"
			found = append(found, *open)
			open, inside, above = nil, nil, nil
		case open != nil:
			inside = append(inside, line)
		case opening != nil:
			open = &snippet{path: path, line: i + 1, language: opening[1]}
			if above != nil {
				open.verb, open.argument = above[1], above[2]
			}
		default:
			if above != nil {
				return nil, fmt.Errorf("%s:%d: a comment for the snippet test stands above no block", path, i)
			}
			above = marker.FindStringSubmatch(line)
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s: the block is not closed", open.at())
	}
	return found, nil
}

// documents are all Markdown files of the tree, by their path from the root.
func documents(t *testing.T) []string {
	t.Helper()
	root := testenv.Root(t)
	var paths []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir():
			return skipFolder(root, path)
		case filepath.Ext(path) != ".md":
			return nil
		}
		rel, err := filepath.Rel(root, path)
		paths = append(paths, filepath.ToSlash(rel))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestSnippetsOfDocumentsWork(t *testing.T) {
	for _, path := range documents(t) {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join(testenv.Root(t), path))
			if err != nil {
				t.Fatal(err)
			}
			found, err := parseSnippets(path, string(text))
			if err != nil {
				t.Fatal(err)
			}
			s := newSession(t)
			for _, one := range found {
				s.add(t, one)
			}
			s.finish(t)
		})
	}
}

// A session is one document, tried from its first line to its last in one folder.
type session struct {
	folder  string
	script  strings.Builder
	needs   []string
	overlay map[string]string
	files   []string // YAML to validate
}

func newSession(t *testing.T) *session {
	return &session{folder: t.TempDir(), overlay: map[string]string{}}
}

func (s *session) add(t *testing.T, one snippet) {
	t.Helper()
	switch one.verb {
	case "":
		if slices.Contains(mustMark, one.language) {
			t.Errorf("%s: the %s block has no comment that says how it is tested", one.at(), one.language)
		}
	case "shown":
		if one.argument == "" {
			t.Errorf("%s: say why the block is only shown", one.at())
		}
	case "file":
		s.write(t, one)
	case "go":
		path := filepath.Join(t.TempDir(), "snippet.go")
		if err := os.WriteFile(path, []byte(one.text), 0o600); err != nil {
			t.Fatal(err)
		}
		s.overlay[filepath.Join(testenv.Root(t), one.argument)] = path
	case "run":
		s.addRun(t, one)
	}
}

func (s *session) write(t *testing.T, one snippet) {
	t.Helper()
	path := filepath.Join(s.folder, one.argument)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(one.text), 0o600)); err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(one.text, "apiVersion:") {
		s.files = append(s.files, one.argument)
	}
}

// addRun appends a block to the script. A prompt, as in console blocks, is cut off.
func (s *session) addRun(t *testing.T, one snippet) {
	t.Helper()
	code, listening := "0", ""
	for option := range strings.SplitSeq(one.argument, ", ") {
		parsed := runOption.FindStringSubmatch(option)
		switch {
		case option == "":
		case parsed == nil:
			t.Errorf("%s: %q is none of `exit N`, `needs NAME`, `port N`", one.at(), option)
		case parsed[1] != "":
			code = parsed[1]
		case parsed[3] != "":
			listening = fmt.Sprintf("until (exec 3<>/dev/tcp/127.0.0.1/%s) 2>/dev/null; do sleep 0.1; done\n", parsed[3])
		default:
			s.needs = append(s.needs, parsed[2])
		}
	}
	fmt.Fprintf(&s.script, "echo '--- %s'\n", one.at())
	if code == "0" {
		s.script.WriteString(one.text + listening)
		return
	}
	fmt.Fprintf(&s.script, "set +e\n%scode=$?\nset -e\n[ $code = %s ] || { echo \"exit $code, want %s\"; exit 99; }\n", one.text, code, code)
}

func (s *session) finish(t *testing.T) {
	if len(s.overlay) > 0 {
		s.compile(t)
	}
	if len(s.files) > 0 {
		s.bash(t, "faultline validate "+strings.Join(s.files, " "))
	}
	if s.script.Len() > 0 {
		testenv.Require(t, append([]string{"bash"}, s.needs...)...)
		s.bash(t, s.script.String())
	}
}

// compile vets the tree as it would be with the document's Go files in it.
func (s *session) compile(t *testing.T) {
	t.Helper()
	overlay, err := json.Marshal(map[string]any{"Replace": s.overlay})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "overlay.json")
	if err := os.WriteFile(path, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"build", "-overlay", path}
	for target := range s.overlay {
		args = append(args, filepath.Dir(target))
	}
	cmd := exec.Command("go", args...)
	cmd.Dir = testenv.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("the Go blocks do not compile: %v\n%s", err, out)
	}
}

// bash runs a script as a reader would: in a folder of its own, with faultline
// on the PATH. What it leaves in the background ends with it.
func (s *session) bash(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n"+script)
	cmd.Dir = s.folder
	cmd.Env = append(os.Environ(), testenv.Home(t)...)
	cmd.Env = append(cmd.Env, "HOME="+s.folder, "CI=",
		"PATH="+filepath.Dir(testenv.Binary(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s\n%s", err, script, out)
	}
}

func TestSnippetsAreParsed(t *testing.T) {
	text := "# T\n<!-- run: exit 3, needs docker -->\n```sh\nfalse\n```\n\n```text\nx\n```\n<!-- file: a.yaml -->\n```yaml\na: 1\n```\n"
	found, err := parseSnippets("x.md", text)
	if err != nil || len(found) != 3 {
		t.Fatalf("%v, %v", found, err)
	}
	if s := found[0]; s.verb != "run" || s.argument != "exit 3, needs docker" || s.text != "false\n" || s.line != 3 {
		t.Errorf("the first is %+v", s)
	}
	if s := found[1]; s.verb != "" || s.language != "text" {
		t.Errorf("the second is %+v", s)
	}
	if s := found[2]; s.verb != "file" || s.argument != "a.yaml" {
		t.Errorf("the third is %+v", s)
	}
	for name, broken := range map[string]string{
		"a comment above no block":   "<!-- run -->\n\n```sh\nx\n```\n",
		"a block that is not closed": "<!-- run -->\n```sh\nx\n",
	} {
		if _, err := parseSnippets("x.md", broken); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}
