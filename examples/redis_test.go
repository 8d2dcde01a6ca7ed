package examples_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// TestRedisExamples carries them out one after the other: they share their ports.
func TestRedisExamples(t *testing.T) {
	testenv.Require(t, "redis", "bash", "pidfd")
	rows := []struct {
		example string
		code    int
		says    string // in its report
	}{
		{"redis-sentinel", 0, "was killed"},
		{"redis-sentinel-hang", 0, "was frozen"},
		{"redis-sentinel-gray", 1, "The hypothesis did not hold"},
	}
	for _, row := range rows {
		t.Run(row.example, func(t *testing.T) {
			reports := t.TempDir()
			cmd := exec.Command("bash", filepath.Join(row.example, "run.sh"))
			cmd.Env = append(os.Environ(), testenv.Home(t)...)
			cmd.Env = append(cmd.Env, "FAULTLINE_OUT="+reports,
				"PATH="+filepath.Dir(testenv.Binary(t))+string(os.PathListSeparator)+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			report, err := os.ReadFile(filepath.Join(reports, "report.md"))
			if code := cmd.ProcessState.ExitCode(); code != row.code {
				t.Errorf("it exits with %d, want %d:\n%s\n%s", code, row.code, out, report)
			}
			if err != nil || !strings.Contains(string(report), row.says) {
				t.Errorf("its report does not say %q (%v):\n%s", row.says, err, report)
			}
		})
	}
}
