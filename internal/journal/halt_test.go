package journal

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// watch says when it sees a halt.
func watch(home Home, _ []string) error {
	news := home.WatchHalt(context.Background())
	os.Stdout.WriteString("watching\n")
	info := <-news
	_, err := os.Stdout.WriteString("halted by " + info.Who + "\n")
	return err
}

func TestH67_HaltReachesEveryRunAndNothingStartsUntilResume(t *testing.T) {
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	var watchers []*other
	for _, state := range []string{"a", "b", "c"} { // three state directories, as of three users
		w := startOther(t, homeIn(t, filepath.Join(dir, state), shared), "watch")
		if got := w.says(); got != "watching" {
			t.Fatal(got)
		}
		watchers = append(watchers, w)
	}
	home := homeIn(t, filepath.Join(dir, "a"), shared)
	start := time.Now()
	if err := home.Halt("operator", "smoke", start); err != nil {
		t.Fatal(err)
	}
	for _, w := range watchers {
		if got := w.says(); got != "halted by operator" {
			t.Errorf("a run heard %q", got)
		}
	}
	t.Logf("halt reached 3 processes in %s", time.Since(start))

	due := homeIn(t, filepath.Join(dir, "d"), shared)
	info, halted, err := due.Halted()
	if err != nil || !halted || info.Who != "operator" || info.Why != "smoke" || !info.At.Equal(start.UTC()) {
		t.Errorf("a run that is due sees %+v, %v, %v", info, halted, err)
	}
	// A restart of the machine may clear the host-wide place.
	if err := os.RemoveAll(shared); err != nil {
		t.Fatal(err)
	}
	if _, halted, err := home.Halted(); err != nil || !halted {
		t.Errorf("after a restart: %v, %v", halted, err)
	}
	if err := home.Resume(); err != nil {
		t.Fatal(err)
	}
	for _, h := range []Home{home, due} {
		if _, halted, err := h.Halted(); err != nil || halted {
			t.Errorf("after resume: %v, %v", halted, err)
		}
	}
}

func TestH67_ResumeFromAnotherStateDirectoryLiftsTheCopyToo(t *testing.T) {
	dir := t.TempDir()
	a := homeIn(t, filepath.Join(dir, "a"), filepath.Join(dir, "shared"))
	b := homeIn(t, filepath.Join(dir, "b"), filepath.Join(dir, "shared"))
	if err := a.Halt("operator", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := b.Resume(); err != nil {
		t.Fatal(err)
	}
	if _, halted, err := a.Halted(); err != nil || halted {
		t.Errorf("%v, %v", halted, err)
	}
	if err := b.Resume(); err != nil {
		t.Errorf("again: %v", err)
	}
}

func TestAHaltThatCannotBeReadIsNoGoAhead(t *testing.T) {
	home := testHome(t)
	if err := home.Halt("operator", "", time.Now()); err != nil {
		t.Fatal(err)
	}
	halts, err := filepath.Glob(filepath.Join(home.Shared, "*", haltName))
	if err != nil || len(halts) != 1 {
		t.Fatal(halts, err)
	}
	if err := os.WriteFile(halts[0], []byte(`{"who":`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, halted, err := home.Halted(); err == nil && !halted {
		t.Error("an unreadable halt was taken for none")
	}
	if err := home.Resume(); err != nil {
		t.Errorf("resume must lift it: %v", err)
	}
}

func TestAnotherUsersHaltStaysAndIsNamed(t *testing.T) {
	testenv.Require(t, "root")
	home := testHome(t)
	run := newRun(t, home)
	l := lock(t, run)
	defer l.Unlock()
	if _, err := home.Lease(run, nil, noon.now, ""); err != nil { // makes the host-wide place
		t.Fatal(err)
	}
	theirs := filepath.Join(home.Shared, "u12345-1")
	copyElsewhere := filepath.Join(t.TempDir(), haltName)
	for path, text := range map[string]string{copyElsewhere: "not theirs to name", filepath.Join(theirs, haltName): `{"who":"eve","why":"drill","copy":"` + copyElsewhere + `"}`} {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(theirs, 12345, -1); err != nil {
		t.Fatal(err)
	}
	if info, halted, err := home.Halted(); err != nil || !halted || info.Who != "eve" {
		t.Errorf("%+v, %v, %v", info, halted, err)
	}
	if err := home.Resume(); err != nil {
		t.Errorf("root lifts anybody's halt: %v", err)
	}
	if _, err := os.Stat(copyElsewhere); err != nil {
		t.Errorf("a path that another user wrote was removed: %v", err)
	}
}

func TestWatchingEndsWithItsContext(t *testing.T) {
	home := testHome(t)
	ctx, cancel := context.WithCancel(t.Context())
	news := home.WatchHalt(ctx)
	cancel()
	if info, open := <-news; open {
		t.Errorf("said %+v", info)
	}
}

func TestAWatcherThatCannotLookStopsItsRun(t *testing.T) {
	home := testHome(t)
	if err := os.WriteFile(home.Shared, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	info := <-home.WatchHalt(t.Context())
	if !strings.Contains(info.Why, home.Shared) || time.Since(start) < haltBlind {
		t.Errorf("%+v after %s", info, time.Since(start))
	}
}
