package main

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// demoRun is a `faultline demo` of the built binary, with a home of its own.
type demoRun struct {
	cmd    *exec.Cmd
	out    bytes.Buffer
	home   string
	mark   string // in the environment of everything that it starts
	phases chan string
}

func startDemo(t *testing.T, args ...string) *demoRun {
	t.Helper()
	testenv.Require(t, "pidfd")
	home := t.TempDir()
	d := &demoRun{home: home, mark: "FAULTLINE_HOME=" + home, phases: make(chan string, 1000)}
	d.cmd = exec.Command(testenv.Binary(t), append([]string{"demo"}, args...)...)
	d.cmd.Env = append(os.Environ(), d.mark)
	d.cmd.Stdout = &d.out
	news, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(d.phases)
		for lines := bufio.NewScanner(news); lines.Scan(); {
			t.Log(lines.Text())
			d.phases <- lines.Text()
		}
		io.Copy(io.Discard, news)
	}()
	t.Cleanup(func() {
		d.cmd.Process.Kill() // it has ended, unless the test has failed
		testenv.Eventually(t, 10*time.Second, "everything that the demo started has ended", func() bool { return len(d.left(t)) == 0 })
	})
	return d
}

// until waits for a line of news.
func (d *demoRun) until(t *testing.T, words string) {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case line, open := <-d.phases:
			if !open {
				t.Fatalf("the demo ended before it said %q; it said on stdout:\n%s", words, d.out.String())
			}
			if strings.Contains(line, words) {
				return
			}
		case <-limit:
			t.Fatalf("the demo did not say %q within a minute", words)
		}
	}
}

func (d *demoRun) wait(t *testing.T) int {
	t.Helper()
	for range d.phases { // to its end
	}
	d.cmd.Wait() // the code says it all
	return d.cmd.ProcessState.ExitCode()
}

// left are the processes that still carry the demo's mark.
func (d *demoRun) left(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, file := range files {
		environ, err := os.ReadFile(file)
		if err != nil || !bytes.Contains(environ, []byte(d.mark+"\x00")) {
			continue // ended, or another user's
		}
		cmdline, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "cmdline"))
		left = append(left, strings.ReplaceAll(string(cmdline), "\x00", " "))
	}
	return left
}

func TestDemoEndsAsMeant(t *testing.T) {
	reports := t.TempDir()
	began := time.Now()
	d := startDemo(t, "--out", reports)
	if code := d.wait(t); code != 0 {
		t.Fatalf("exit code %d, want 0:\n%s", code, d.out.String())
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("it took %s, want a minute at most", took)
	}
	if left := d.left(t); len(left) > 0 {
		t.Errorf("it left processes running: %v", left)
	}
	for name, sentence := range map[string]string{
		"kill": "The system held.", "freeze": "the health check is too slow to notice it",
	} {
		report, err := os.ReadFile(filepath.Join(reports, name, "report.md"))
		if err != nil || !strings.Contains(string(report), sentence) {
			t.Errorf("the report of %s does not say %q (%v):\n%s", name, sentence, err, report)
		}
		if path := filepath.Join(reports, name, "report.html"); !strings.Contains(d.out.String(), path) {
			t.Errorf("the path %s is not printed:\n%s", path, d.out.String())
		}
	}
}

func TestDemoInterruptedHealsAndEndsEverything(t *testing.T) {
	d := startDemo(t)
	d.until(t, "injected process.kill")
	if err := d.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if code := d.wait(t); code != 130 {
		t.Errorf("exit code %d, want 130:\n%s", code, d.out.String())
	}
	if left := d.left(t); len(left) > 0 {
		t.Errorf("it left processes running: %v", left)
	}
}

// Killed in the middle of a freeze: the replica is let go and ends, as all the others do.
func TestDemoKilledLeavesNothing(t *testing.T) {
	d := startDemo(t)
	d.until(t, "injected process.pause")
	if err := syscall.Kill(d.cmd.Process.Pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	d.wait(t)
	testenv.Eventually(t, 5*time.Second, "the frozen replica and all the rest have ended", func() bool { return len(d.left(t)) == 0 })
}
