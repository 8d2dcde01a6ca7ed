package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faultline-sh/faultline/experiments"
)

// roleVariable makes this test binary play one other faultline process.
const roleVariable = "FAULTLINE_JOURNAL_TEST_ROLE"

func TestMain(m *testing.M) {
	role, ok := os.LookupEnv(roleVariable)
	if !ok {
		goleak.VerifyTestMain(m)
		return
	}
	home, err := OpenHome(os.Getenv)
	if err == nil {
		err = roles[role](home, os.Args[1:])
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
}

// other starts another process in a role; it ends when its stdin does, at the latest with t.
type other struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

func startOther(t *testing.T, home Home, role string, args ...string) *other {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return startCommand(t, home, role, exec.Command(exe, args...))
}

func startCommand(t *testing.T, home Home, role string, cmd *exec.Cmd) *other {
	t.Helper()
	cmd.Env = append(os.Environ(), roleVariable+"="+role, EnvHome+"="+home.State, EnvShared+"="+home.Shared)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	o := &other{t, cmd, in, bufio.NewScanner(out)}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	return o
}

// says gives the next line of the other process.
func (o *other) says() string {
	o.t.Helper()
	if !o.out.Scan() {
		o.t.Fatalf("the other process said nothing more: %v", o.out.Err())
	}
	return o.out.Text()
}

func (o *other) kill() {
	o.t.Helper()
	if err := o.cmd.Process.Kill(); err != nil {
		o.t.Fatal(err)
	}
	o.cmd.Wait()
}

func testHome(t testing.TB) Home {
	t.Helper()
	dir := t.TempDir()
	return homeIn(t, filepath.Join(dir, "state"), filepath.Join(dir, "shared"))
}

func homeIn(t testing.TB, state, shared string) Home {
	t.Helper()
	home, err := OpenHome(env(EnvHome, state, EnvShared, shared))
	if err != nil {
		t.Fatal(err)
	}
	return home
}

func env(pairs ...string) func(string) string {
	return func(key string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == key {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func newRun(t testing.TB, home Home) Run {
	t.Helper()
	run, err := home.Create(NewID(time.Now(), rand.Uint64()))
	if err != nil {
		t.Fatal(err)
	}
	return run
}

func lock(t testing.TB, run Run) *Lock {
	t.Helper()
	l, err := run.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// clock stands still until it is set.
type clock struct {
	now  time.Time
	boot experiments.Boottime
}

func (c clock) Now() time.Time                 { return c.now }
func (c clock) Boottime() experiments.Boottime { return c.boot }

var noon = clock{time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), 1000}

// write appends the events to the run's journal.
func write(t testing.TB, run Run, events ...experiments.Event) {
	t.Helper()
	l := lock(t, run)
	writeLocked(t, l, events...)
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
}

func writeLocked(t testing.TB, l *Lock, events ...experiments.Event) {
	t.Helper()
	w, err := l.Writer(noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		if _, err := w.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func begun() experiments.Event {
	return experiments.Event{Type: experiments.EventRun, Header: &experiments.Header{Schema: experiments.JournalSchema, Run: "r", Plan: experiments.Plan{Experiment: experiments.Experiment{Faults: []experiments.Fault{}}}}}
}

func aimed(id string) experiments.Event {
	return experiments.Event{Type: experiments.EventAimed, Target: id, Injection: &experiments.Injection{ID: id, Kind: "process.pause", Target: json.RawMessage(`{"pid":1}`)}}
}

func of(kind experiments.EventType, id string) experiments.Event {
	return experiments.Event{Type: kind, Target: id}
}

func failing(kind experiments.EventType, id, why string) experiments.Event {
	return experiments.Event{Type: kind, Target: id, Error: why}
}

// disk is a File in memory that knows what would survive a loss of power, and
// that fails where it is told to.
type disk struct {
	content []byte
	durable int // bytes
	calls   []string
	failAt  int // fails the call with this number (1-based), 0: none
	partial int // bytes that a failing write still writes
	err     error
}

func (d *disk) call(name string) error {
	d.calls = append(d.calls, name)
	if d.failAt != 0 && len(d.calls) == d.failAt {
		return d.err
	}
	return nil
}

func (d *disk) ReadAt(p []byte, off int64) (int, error) {
	return bytes.NewReader(d.content).ReadAt(p, off)
}
func (d *disk) Size() (int64, error) { return int64(len(d.content)), nil }
func (d *disk) Close() error         { return nil }
func (d *disk) Reserve(int64) error  { return d.call("reserve") }

func (d *disk) Write(p []byte) (int, error) {
	if err := d.call("write"); err != nil {
		n := min(d.partial, len(p))
		d.content = append(d.content, p[:n]...)
		return n, err
	}
	d.content = append(d.content, p...)
	return len(p), nil
}

func (d *disk) Truncate(size int64) error {
	if err := d.call("truncate"); err != nil {
		return err
	}
	d.content = d.content[:size]
	d.durable = min(d.durable, len(d.content))
	return nil
}

func (d *disk) Sync() error {
	if err := d.call("sync"); err != nil {
		return err
	}
	d.durable = len(d.content)
	return nil
}

func types(events []experiments.Event) string {
	var names []string
	for _, e := range events {
		names = append(names, strings.TrimSuffix(string(e.Type)+" "+e.Target, " "))
	}
	return strings.Join(names, ", ")
}
