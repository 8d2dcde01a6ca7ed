//go:build unix

package probes

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestExecEndsTheChildrenOfACommandThatDoesNotEnd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	r, err := look(t, "exec", map[string]any{"command": []string{"/bin/sh", "-c", "sleep 600 & echo $! > " + file + "; wait"}, "timeout": "500ms"})
	if err != nil || !strings.HasPrefix(r["error"].(string), "timeout: ") {
		t.Fatalf("read %v, %v", r, err)
	}
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, 10*time.Second, "the command's child ends", func() bool {
		// A zombie that nobody has reaped yet has ended too.
		state, err := os.ReadFile("/proc/" + strconv.Itoa(child) + "/stat")
		return errors.Is(syscall.Kill(child, 0), syscall.ESRCH) || err == nil && strings.Contains(string(state), ") Z ")
	})
}

func TestExecTellsACommandThatASignalEnded(t *testing.T) {
	r, err := look(t, "exec", map[string]any{"command": []string{"/bin/sh", "-c", "kill -SEGV $$"}, "timeout": "30s"})
	if err != nil || r["code"] != int64(-1) || r["error"] != "killed: /bin/sh ended by SIGSEGV" {
		t.Errorf("read %v, %v", r, err)
	}
}
