package probes

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// commandVariable makes this test binary the command that an exec probe runs.
const commandVariable = "FAULTLINE_TEST_COMMAND"

// commands are what the binary does as a command; the value is its exit code.
var commands = map[string]func() int{
	"talk": func() int {
		os.Stdout.WriteString("said\n")
		os.Stderr.WriteString("cried\n")
		return 0
	},
	"fail":    func() int { return 3 },
	"chatter": func() int { os.Stdout.WriteString(strings.Repeat("x", 1<<20)); return 0 },
	"hang": func() int {
		os.Stdout.WriteString("before\n")
		time.Sleep(time.Minute) // the probe ends it
		return 0
	},
}

func run(t *testing.T, command string, timeout string) (experiments.Reading, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(commandVariable, command)
	return look(t, "exec", map[string]any{"command": []string{self}, "timeout": timeout})
}

func TestExecSaysHowTheCommandEnded(t *testing.T) {
	r, err := run(t, "talk", "30s")
	if err != nil || r["code"] != int64(0) || r["stdout"] != "said\n" || r["stderr"] != "cried\n" || r["error"] != "" || r["latency"].(time.Duration) <= 0 {
		t.Errorf("read %v, %v", r, err)
	}
	if r, err := run(t, "fail", "30s"); err != nil || r["code"] != int64(3) || r["error"] != "" {
		t.Errorf("read %v, %v", r, err)
	}
	if r, err := run(t, "chatter", "30s"); err != nil || r["code"] != int64(0) || len(r["stdout"].(string)) != 64<<10 {
		t.Errorf("read %d bytes, %v", len(r["stdout"].(string)), err)
	}
}

func TestExecTellsACommandThatDoesNotEnd(t *testing.T) {
	r, err := run(t, "hang", "300ms")
	if err != nil || !strings.HasPrefix(r["error"].(string), "timeout: ") || !strings.HasSuffix(r["error"].(string), " did not end within 300ms") {
		t.Fatalf("read %v, %v", r, err)
	}
	if l := r["latency"].(time.Duration); l < 300*time.Millisecond || l > 10*time.Second {
		t.Errorf("latency is %s", l)
	}
}

func TestExecCannotLookWithoutTheCommand(t *testing.T) {
	notExecutable := t.TempDir() + "/file"
	if err := os.WriteFile(notExecutable, []byte("#!/bin/sh\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string]string{"there is none": "no-such-command-anywhere", "it may not be run": notExecutable} {
		t.Run(name, func(t *testing.T) {
			if r, err := look(t, "exec", map[string]any{"command": []string{command}}); err == nil {
				t.Errorf("read %v", r)
			}
		})
	}
}

func TestExecSettingsAreChecked(t *testing.T) {
	for _, s := range []Exec{{Timeout: 1}, {Command: []string{""}, Timeout: 1}} {
		if problems := s.Check(); len(problems) != 1 || problems[0].Field != "command" {
			t.Errorf("%v: found %v, want one problem of command", s, problems)
		}
	}
}
