package house_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// race runs the script that decides about -race, with a compiler of the test's choice.
func race(t *testing.T, wanted, compiler string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.Command(filepath.Join(testenv.Root(t), ".ci", "race"), wanted)
	cmd.Env = append(os.Environ(), "CC="+compiler, "CGO_ENABLED=1")
	var out, err strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run() // the code says it
	return strings.TrimSpace(out.String()), err.String(), cmd.ProcessState.ExitCode()
}

func TestRaceDetectorIsUsedOrItsAbsenceIsSaid(t *testing.T) {
	testenv.Require(t, "bash", "cc")
	for _, row := range []struct {
		name, wanted, compiler string
		stdout, stderr         string
		code                   int
	}{
		{"a compiler that works", "auto", "cc", "-race", "", 0},
		{"no compiler, and none insisted on", "auto", "/no/such/cc", "", "WITHOUT the race detector", 0},
		{"no compiler, and insisted on", "yes", "/no/such/cc", "", "insists", 1},
		{"a compiler that fails", "yes", "false", "", "insists", 1},
		{"left out on purpose", "no", "cc", "", "as asked", 0},
		{"a word that means nothing", "maybe", "cc", "", "auto, yes or no", 2},
	} {
		t.Run(row.name, func(t *testing.T) {
			stdout, stderr, code := race(t, row.wanted, row.compiler)
			if stdout != row.stdout || !strings.Contains(stderr, row.stderr) || code != row.code {
				t.Errorf("it prints %q, %q and exits %d; want %q, %q, %d", stdout, stderr, code, row.stdout, row.stderr, row.code)
			}
		})
	}
}

func TestEveryMakeTargetIsInTheHelp(t *testing.T) {
	content, err := os.ReadFile(filepath.Join(testenv.Root(t), "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(content)) {
		name, ok := strings.CutPrefix(strings.TrimSpace(line), ".PHONY: ")
		if ok && !strings.Contains(string(content), "\n"+name+":") {
			t.Errorf("make %s is declared and not there", name)
		}
		for _, target := range strings.Fields(name) {
			if ok && !describes(string(content), target) {
				t.Errorf("make %s has no line for `make help` (## …)", target)
			}
		}
	}
}

func describes(makefile, target string) bool {
	for line := range strings.Lines(makefile) {
		if strings.HasPrefix(line, target+":") && strings.Contains(line, " ## ") {
			return true
		}
	}
	return false
}
