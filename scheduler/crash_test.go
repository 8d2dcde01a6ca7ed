package scheduler

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
)

// crashes is a journal on a real disk that remembers, at each line, what would be
// left if the power went at that moment: what the disk holds, and what is broken.
type crashes struct {
	writer *journal.Writer
	file   string
	shop   *shop
	points []crash
}

type crash struct {
	name   string
	record []byte
	broken map[string]bool
}

func (c *crashes) Append(e experiments.Event) (experiments.Event, error) {
	before := c.point("before "+string(e.Type), nil)
	e, err := c.writer.Append(e)
	after := c.point("after "+string(e.Type), before.broken)
	// The line itself, cut short.
	c.points = append(c.points, crash{"in the middle of " + string(e.Type), after.record[:(len(before.record)+len(after.record))/2], before.broken})
	return e, err
}

func (c *crashes) point(name string, broken map[string]bool) crash {
	record, err := os.ReadFile(c.file)
	if err != nil {
		record = []byte(err.Error()) // no record: nothing heals by it, and the test fails
	}
	if broken == nil {
		c.shop.mu.Lock()
		broken = maps.Clone(c.shop.broken)
		c.shop.mu.Unlock()
	}
	p := crash{name, record, broken}
	c.points = append(c.points, p)
	return p
}

func emptyHome(t *testing.T) (journal.Home, journal.Run) {
	t.Helper()
	dir := t.TempDir()
	home, err := journal.OpenHome(func(key string) string {
		return map[string]string{journal.EnvHome: filepath.Join(dir, "state"), journal.EnvShared: filepath.Join(dir, "shared")}[key]
	})
	if err != nil {
		t.Fatal(err)
	}
	run, err := home.Create(journal.NewID(time.Now(), 0))
	if err != nil {
		t.Fatal(err)
	}
	return home, run
}

// Before, in the middle of and after each line of the journal of a run with
// overlapping faults: whatever is broken then, the record on the disk heals.
func TestH3_ACrashAtAnyLineOfTheJournalIsHealedFromIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.hang["slow"] = 300 * time.Millisecond
		st := onStage(t, s,
			breakAll("f", 0, time.Second, shopSpec{Names: []string{"a", "b", "slow"}, Pick: experiments.Pick{All: true}}),
			breakAll("g", 500*time.Millisecond, 2*time.Second, shopSpec{Names: []string{"c", "d"}, Pick: experiments.Pick{All: true}}),
		)
		_, run := emptyHome(t)
		lock, err := run.TryLock()
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Unlock()
		writer, err := lock.Writer(bubble{time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		defer writer.Close()
		c := &crashes{writer: writer, file: run.Path(journal.JournalFile), shop: s}
		if err := st.engine.record.Close(); err != nil {
			t.Fatal(err)
		}
		st.engine.record = newRecorder(c, st.engine.World.Host, nil)
		header := &experiments.Header{Schema: experiments.JournalSchema, Run: run.ID, Machine: "machine", Plan: st.plan}
		if err := st.engine.record.Write(experiments.Event{Type: experiments.EventRun, Header: header}); err != nil {
			t.Fatal(err)
		}
		st.engine.During(t.Context())
		st.end(t)

		lines := bytes.Count(c.points[len(c.points)-2].record, []byte("\n"))
		const acts = 2 * 5 // five things are broken and healed
		if len(c.points) < lines+acts {
			t.Fatalf("%d points for %d lines and %d changes", len(c.points), lines, acts)
		}
		whileBroken := 0
		for n, p := range c.points {
			if len(p.broken) > 0 {
				whileBroken++
			}
			healFrom(t, fmt.Sprintf("point %d, %s", n, p.name), p)
		}
		if whileBroken < acts {
			t.Errorf("something was broken at %d points only: the others show nothing", whileBroken)
		}
		t.Logf("in process: %d crash points over %d lines, %d of them with something broken, residue 0", len(c.points), lines, whileBroken)
	})
}

// healFrom is the morning after: another process, the same disk, the same world.
func healFrom(t *testing.T, name string, p crash) {
	t.Helper()
	home, run := emptyHome(t)
	if err := os.WriteFile(run.Path(journal.JournalFile), p.record, 0o600); err != nil {
		t.Fatal(err)
	}
	s := newShop()
	s.broken = maps.Clone(p.broken)
	healer := Healer{World: world(), Faults: find(s), Home: home, By: "undo"}
	for range 2 { // again is fine
		healed, err := healer.Undo(t.Context(), run)
		if err != nil || len(healed.Left) > 0 {
			t.Errorf("%s: undo: %v, left %v", name, err, healed.Left)
		}
	}
	if len(s.broken) > 0 {
		t.Errorf("%s: still broken after undo: %v; the record was\n%s", name, slices.Sorted(maps.Keys(s.broken)), p.record)
	}
	record, err := run.Read()
	if err != nil || record.Actionable() != nil || record.Torn && len(record.Events) > 0 || !journal.Fold(record.Events).Done() {
		t.Errorf("%s: the record after undo: %v, %v, torn %v", name, err, record.Actionable(), record.Torn)
	}
}
