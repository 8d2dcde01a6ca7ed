package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// tryTime bounds each trial: a daemon that hangs is a capability that is not there.
const tryTime = 30 * time.Second

// output runs a program of this machine and returns what it printed on stdout.
func output(name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), tryTime)
	defer cancel()
	return outputOf(exec.CommandContext(ctx, name, args...))
}

func outputOf(cmd *exec.Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(stdout.String()), nil
}

// runs is content when the program can be run.
func runs(name string, args ...string) error {
	_, err := output(name, args...)
	return err
}

func tryDocker() error {
	version, err := output("docker", "version", "--format", "{{.Server.Version}}")
	if err == nil && version == "" {
		return errors.New("docker version names no engine")
	}
	return err
}

func tryRedis() error {
	return errors.Join(runs("redis-server", "--version"), runs("redis-sentinel", "--version"), runs("redis-cli", "--version"))
}

func tryBash() error { return runs("bash", "--version") }

// tryGit wants a clone around the tests: an unpacked source archive is none.
func tryGit() error { return runs("git", "rev-parse", "--show-toplevel") }

func tryPython() error { return runs("python3", "--version") }

func tryHAProxy() error { return runs("haproxy", "-v") }

func tryNginx() error { return runs("nginx", "-v") }

// tryStrace injects an error into a traced call: a kernel or a sandbox can
// forbid tracing, and old versions cannot inject.
func tryStrace() error {
	return runs("strace", "-f", "-o", os.DevNull, "-e", "inject=getppid:error=EPERM", "true")
}

func tryChromium() error {
	profile, err := os.MkdirTemp("", "faultline-test-chromium-")
	if err != nil {
		return fmt.Errorf("making a profile folder for chromium: %w", err)
	}
	defer os.RemoveAll(profile)
	dom, err := output("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
		"--user-data-dir="+profile, "--dump-dom", "data:text/html,<p>drawn</p>")
	if err == nil && !strings.Contains(dom, "drawn") {
		return fmt.Errorf("chromium drew no page but %q", dom)
	}
	return err
}

// tryCompiler compiles for the race detector's sake: it needs cgo and a C compiler that works.
func tryCompiler() error {
	settings, err := output("go", "env", "CGO_ENABLED", "CC")
	if err != nil {
		return err
	}
	enabled, compiler, _ := strings.Cut(settings, "\n")
	if enabled != "1" {
		return errors.New("cgo is off (CGO_ENABLED=0)")
	}
	scratch, err := os.MkdirTemp("", "faultline-test-cc-")
	if err != nil {
		return fmt.Errorf("making a folder to compile in: %w", err)
	}
	defer os.RemoveAll(scratch)
	source := filepath.Join(scratch, "empty.c")
	if err := os.WriteFile(source, []byte("int main(void) { return 0; }\n"), 0o600); err != nil {
		return fmt.Errorf("writing a C program to try the compiler with: %w", err)
	}
	fields := strings.Fields(compiler)
	return runs(fields[0], append(fields[1:], "-o", filepath.Join(scratch, "empty"), source)...)
}
