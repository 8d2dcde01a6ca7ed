package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// roles are what another process can do.
var roles = map[string]func(home Home, args []string) error{
	"hold":  hold,
	"race":  race,
	"watch": watch,
	"visit": visit,
}

// hold locks the run, leases the things, says so and waits for the end of stdin.
func hold(home Home, args []string) error {
	things := args[1:]
	run, err := home.Find(args[0])
	if err != nil {
		return err
	}
	if _, err := run.TryLock(); err != nil {
		return err
	}
	if len(things) > 0 {
		if _, err := home.Lease(run, things, noon.now, "test"); err != nil {
			return err
		}
	}
	fmt.Println("locked")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// race locks its run, waits for the start and tries for the things once.
func race(home Home, args []string) error {
	run, err := home.Find(args[0])
	if err != nil {
		return err
	}
	if _, err := run.TryLock(); err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return err
	}
	_, err = home.Lease(run, args[1:], noon.now, "test")
	var held *HeldError
	switch {
	case err == nil:
		fmt.Println("won")
	case errors.As(err, &held):
		fmt.Println("lost to", held.Run)
	default:
		return err
	}
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

// visit is another user's faultline: it looks at what is leased and halted, takes
// a lease of its own and holds it.
func visit(home Home, args []string) error {
	fmt.Println("lease:", home.CheckLeases([]string{"x"}))
	run, err := home.Create(args[0])
	if err != nil {
		return err
	}
	if _, err := run.TryLock(); err != nil {
		return err
	}
	_, err = home.Lease(run, []string{"theirs"}, noon.now, "process.pause")
	fmt.Println("own lease:", err)
	fmt.Println("resume:", home.Resume())
	info, halted, err := home.Halted()
	fmt.Println("halted:", info.Who, halted, err)
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestH31_OfManyProcessesAtTheSameMomentOneGetsTheLease(t *testing.T) {
	const processes, rounds = 12, 6
	for round := range rounds {
		home := testHome(t)
		thing := "netns/4026/eth0/egress"
		if round%2 == 1 { // a dead run's lease lies in the way: taking it over is a race as well
			dead := newRun(t, home)
			holder := startOther(t, home, "hold", dead.ID, thing)
			if got := holder.says(); got != "locked" {
				t.Fatal(got)
			}
			holder.kill()
		}
		var racers []*other
		ids := map[string]bool{}
		for n := range processes {
			run := newRun(t, home)
			ids[run.ID] = true
			// Each wants a thing of its own too, in another order: all or nothing, and no deadlock.
			things := []string{thing, fmt.Sprintf("container/%d", n/2)}
			if n%2 == 1 {
				slices.Reverse(things)
			}
			racers = append(racers, startOther(t, home, "race", append([]string{run.ID}, things...)...))
		}
		for _, r := range racers {
			if got := r.says(); got != "ready" {
				t.Fatal(got)
			}
		}
		var start sync.WaitGroup
		for _, r := range racers {
			start.Go(func() { r.in.Write([]byte("!")) })
		}
		start.Wait()
		won := 0
		for _, r := range racers {
			said := r.says()
			if said == "won" {
				won++
			} else if winner, ok := strings.CutPrefix(said, "lost to "); !ok || !ids[winner] {
				t.Errorf("round %d: %s", round, said)
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of %d processes have the lease", round, won, processes)
		}
		held, err := home.Held()
		if err != nil || len(held) != 1 || len(held[0].Things) != 2 || !held[0].Alive {
			t.Errorf("round %d: held %+v, %v: the losers must have nothing", round, held, err)
		}
	}
}

func TestH31_TheLoserIsToldWhoHasItAndUntilWhen(t *testing.T) {
	home := testHome(t)
	a, b := newRun(t, home), newRun(t, home)
	defer lock(t, a).Unlock()
	defer lock(t, b).Unlock()
	until := time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC)
	lease, err := home.Lease(a, []string{"x", "y"}, until, "network.latency")
	if err != nil {
		t.Fatal(err)
	}
	_, err = home.Lease(b, []string{"z", "y"}, until, "network.latency")
	var held *HeldError
	if !errors.As(err, &held) {
		t.Fatalf("%v: want a HeldError", err)
	}
	want := HeldError{Thing: "y", Run: a.ID, User: userName(), Until: until, What: "network.latency"}
	if *held != want {
		t.Errorf("%+v, want %+v", *held, want)
	}
	if !strings.Contains(err.Error(), "y is busy") || !strings.Contains(err.Error(), "2026-05-06T07:08:09Z") {
		t.Errorf("%v", err)
	}
	if err := home.CheckLeases([]string{"z"}); err != nil {
		t.Errorf("z was leased although y could not be: %v", err)
	}
	if err := home.CheckLeases([]string{"x"}); !errors.As(err, &held) {
		t.Errorf("preflight: %v", err)
	}
	if err := errors.Join(lease.Release(), lease.Release()); err != nil {
		t.Fatal(err)
	}
	if _, err := home.Lease(b, []string{"z", "y"}, until, "again"); err != nil {
		t.Errorf("after the release: %v", err)
	}
}

func TestARunHasItsOwnThingsAlready(t *testing.T) {
	home := testHome(t)
	run, rival := newRun(t, home), newRun(t, home)
	defer lock(t, run).Unlock()
	defer lock(t, rival).Unlock()
	first, err := home.Lease(run, []string{"x"}, noon.now, "first fault")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := home.Lease(run, []string{"x"}, noon.now, "second fault"); err != nil {
		t.Fatal(err)
	}
	if err := first.Release(); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	if _, err := home.Lease(rival, []string{"x"}, noon.now, "rival"); !errors.As(err, &held) {
		t.Errorf("the second fault still has x: %v", err)
	}
}

func TestALeaseNeedsTheLock(t *testing.T) {
	home := testHome(t)
	if _, err := home.Lease(newRun(t, home), []string{"x"}, noon.now, "test"); err == nil {
		t.Error("a run that nobody carries got a lease")
	}
}

func TestALeaseIsFreeWhenItsRunIsDeadAndItsRecordClosed(t *testing.T) {
	home := testHome(t)
	mine := newRun(t, home)
	defer lock(t, mine).Unlock()
	dead := newRun(t, home)
	write(t, dead, begun(), aimed("1"))
	holder := startOther(t, home, "hold", dead.ID, "x")
	holder.says()
	holder.kill()

	var held *HeldError
	if _, err := home.Lease(mine, []string{"x"}, noon.now, "test"); !errors.As(err, &held) || !held.Left {
		t.Fatalf("the dead run left something open: %v, want a HeldError that says so", err)
	}
	if !strings.Contains(held.Error(), "faultline undo "+dead.ID) {
		t.Errorf("%v: does not say what to do", held)
	}
	if infos, err := home.Held(); err != nil || len(infos) != 1 || infos[0].Alive {
		t.Errorf("held: %+v, %v", infos, err)
	}
	// It is healed, but the healer dies before it takes the run off the list.
	l := lock(t, dead)
	writeLocked(t, l, of("undone", "1"))
	l.file.Close()
	if infos, err := home.Held(); err != nil || len(infos) != 0 {
		t.Errorf("held after healing: %+v, %v", infos, err)
	}
	if _, err := home.Lease(mine, []string{"x"}, noon.now, "test"); err != nil {
		t.Errorf("after healing: %v", err)
	}
}

func TestUnlockTakesAClosedRunOffTheList(t *testing.T) {
	home := testHome(t)
	run := newRun(t, home)
	l := lock(t, run)
	if _, err := home.Lease(run, []string{"x"}, noon.now, "test"); err != nil {
		t.Fatal(err)
	}
	writeLocked(t, l, begun(), aimed("1"))
	if err := l.Unlock(); err != nil {
		t.Fatal(err)
	}
	if got := entries(t, home); got != 1 {
		t.Errorf("%d entries: one with something open must stay", got)
	}
	write(t, run, of("undone", "1"))
	if got := entries(t, home); got != 0 {
		t.Errorf("%d entries after healing", got)
	}
}

func entries(t *testing.T, home Home) int {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(home.Shared, "*", "*"+runSuffix))
	if err != nil {
		t.Fatal(err)
	}
	return len(found)
}

// Two state directories of one user, as two users: the record of one cannot be
// read from the other, its lease can.
func TestTwoHomesSeeEachOthersLeases(t *testing.T) {
	dir := t.TempDir()
	a := homeIn(t, filepath.Join(dir, "a"), filepath.Join(dir, "shared"))
	b := homeIn(t, filepath.Join(dir, "b"), filepath.Join(dir, "shared"))
	run := newRun(t, a)
	write(t, run, begun(), aimed("1"))
	holder := startOther(t, a, "hold", run.ID, "x")
	holder.says()
	_, others, err := b.Runs()
	if err != nil || len(others) != 1 || !others[0].Alive || others[0].ID != run.ID || others[0].State != a.State {
		t.Fatalf("%+v, %v", others, err)
	}
	holder.kill()
	_, others, err = b.Runs()
	if err != nil || len(others) != 1 || others[0].Alive || !strings.Contains(others[0].Why, EnvHome+"="+a.State+" faultline undo "+run.ID) {
		t.Fatalf("%+v, %v", others, err)
	}
	if runs, others, err := a.Runs(); err != nil || len(runs) != 1 || len(others) != 0 {
		t.Errorf("its own home: %v, %v, %v", runs, others, err)
	}
}

func TestAnotherUsersRunIsHeldUntilItsUserHealsIt(t *testing.T) {
	testenv.Require(t, "root")
	home := testHome(t)
	run := newRun(t, home)
	l := lock(t, run)
	if _, err := home.Lease(run, nil, noon.now, "test"); err != nil {
		t.Fatal(err)
	}
	theirs := filepath.Join(home.Shared, "u12345-1")
	if err := os.Mkdir(theirs, 0o755); err != nil {
		t.Fatal(err)
	}
	text := `{"run":"20260101-000000-00000","user":"eve \u001b[2J(12345)","state":"/home/eve/state"}` + "\n" + `{"lease":1,"things":["x"],"what":"process.pause"}` + "\n" + `{"lea`
	if err := os.WriteFile(filepath.Join(theirs, "20260101-000000-00000"+runSuffix), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(theirs, 12345, -1); err != nil {
		t.Fatal(err)
	}
	var held *HeldError
	_, err := home.Lease(run, []string{"x"}, noon.now, "test")
	if !errors.As(err, &held) || !held.Left || strings.ContainsRune(err.Error(), 0x1b) {
		t.Errorf("%q: want a HeldError in plain text", err)
	}
	_, others, err := home.Runs()
	if err != nil || len(others) != 1 || !strings.Contains(others[0].Why, "eve") {
		t.Errorf("others: %+v, %v", others, err)
	}
	// What anybody can write says nothing of anybody.
	if err := os.Chmod(theirs, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := home.CheckLeases([]string{"x"}); err != nil {
		t.Errorf("a directory that all can write was believed: %v", err)
	}
	l.Unlock()
}

func TestAListThatCannotBeReadIsNotAnEmptyOne(t *testing.T) {
	home := testHome(t)
	run := newRun(t, home)
	l := lock(t, run)
	defer l.Unlock()
	lease, err := home.Lease(run, []string{"x"}, noon.now, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer lease.Release()
	path := lease.file.Name()
	if err := errors.Join(os.Remove(path), os.Mkdir(path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := home.CheckLeases([]string{"y"}); err == nil {
		t.Error("an entry that cannot be read was taken for none")
	}
	if _, _, err := home.Runs(); err == nil {
		t.Error("runs: an entry that cannot be read was taken for none")
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// One run takes 17 things one by one, and ends.
func BenchmarkLease17(b *testing.B) {
	home := testHome(b)
	for b.Loop() {
		run := newRun(b, home)
		l := lock(b, run)
		for n := range 17 {
			if _, err := home.Lease(run, []string{fmt.Sprintf("container/%d", n)}, noon.now, "bench"); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Unlock(); err != nil {
			b.Fatal(err)
		}
	}
}
