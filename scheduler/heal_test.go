package scheduler

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
)

// wrote puts events into the run's journal as its dead holder left them.
func wrote(t *testing.T, run journal.Run, secrets []string, events ...experiments.Event) {
	t.Helper()
	lock, err := run.TryLock()
	if err != nil {
		t.Fatal(err)
	}
	w, err := lock.Writer(world().Host)
	if err != nil {
		t.Fatal(err)
	}
	header := &experiments.Header{Schema: experiments.JournalSchema, Run: run.ID, Machine: "machine", Secrets: secrets}
	for _, e := range append([]experiments.Event{{Type: experiments.EventRun, Header: header}}, events...) {
		if _, err := w.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), lock.Unlock()); err != nil {
		t.Fatal(err)
	}
}

func aimedAt(id, name string) experiments.Event {
	target := shopTarget{Name: name}
	return experiments.Event{Type: experiments.EventAimed, Target: id, Injection: &experiments.Injection{
		ID: id, Kind: "shop.break", Target: []byte(`{"name":"` + name + `"}`), Description: target.Describe(),
	}}
}

func TestH31_UndoOfARunThatNeverGotTheLeaseLeavesItsHolderAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, holder := emptyHome(t)
		lock, err := holder.TryLock()
		if err != nil {
			t.Fatal(err)
		}
		defer lock.Unlock()
		if _, err := home.Lease(holder, []string{"thing/a"}, time.Now().Add(time.Hour), "shop.break"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // another ID
		loser, err := home.Create(journal.NewID(time.Now(), 1))
		if err != nil {
			t.Fatal(err)
		}
		wrote(t, loser, nil, aimedAt("1.1", "a"), aimedAt("1.2", "b")) // and then it was killed, before it heard of the lease

		s := newShop()
		s.broken["a"], s.broken["b"] = true, true // a by the holder of the lease, b by the loser
		healed, err := Healer{World: world(), Faults: find(s), Home: home, By: "undo"}.Undo(t.Context(), loser)
		if err != nil || len(healed.Left) > 0 || len(healed.Undone) != 1 {
			t.Errorf("%+v, %v", healed, err)
		}
		if !s.broken["a"] || s.broken["b"] {
			t.Errorf("still broken: %v; want a, which another run broke and will heal", s.broken)
		}
		record, err := loser.Read()
		if err != nil || !journal.Fold(record.Events).Done() {
			t.Errorf("the loser's record is open: %v", err)
		}
		if err := home.CheckLeases([]string{"thing/b"}); err != nil {
			t.Errorf("the undo kept its lease: %v", err)
		}
	})
}

func TestADamagedRecordIsHealedAsFarAsItCanBeReadAndNeverCalledClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, run := emptyHome(t)
		wrote(t, run, nil, aimedAt("1.1", "a"), aimedAt("1.2", "b"))
		file := run.Path(journal.JournalFile)
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.SplitAfter(string(text), "\n")
		lines[1] = "{" + lines[1] // the line of a
		if err := os.WriteFile(file, []byte(strings.Join(lines, "")), 0o600); err != nil {
			t.Fatal(err)
		}
		s := newShop()
		s.broken["a"], s.broken["b"] = true, true
		for range 2 {
			_, err := Healer{World: world(), Faults: find(s), Home: home, By: "undo"}.Undo(t.Context(), run)
			if !errors.Is(err, journal.ErrDamaged) {
				t.Errorf("%v: want ErrDamaged", err)
			}
		}
		if s.broken["b"] {
			t.Error("b could be read, and was not healed")
		}
	})
}

// sayingFault fails to undo, and says what it was given.
type sayingFault struct{ shopFault }

func (sayingFault) Undo(_ context.Context, _ injectors.World, t shopTarget) error {
	return errors.New("the command said: cannot use " + t.Name)
}

func TestASecretIsPutBackToHealAndStandsInNoRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		home, run := emptyHome(t)
		wrote(t, run, []string{"env:TOKEN"}, aimedAt("1.1", "${env:TOKEN}"))
		fault := injectors.Of(injectors.About{Kind: "shop.break", Undoable: true}, injectors.Injector[shopSpec, shopTarget](sayingFault{shopFault{newShop()}}))
		healer := Healer{
			World: world(), Home: home, By: "undo",
			Faults: func(string) (injectors.Fault, bool) { return fault, true },
			Lookup: func(string) (string, bool) { return "hunter2hunter2", true },
		}
		healed, err := healer.Undo(t.Context(), run)
		if err != nil || len(healed.Left) != 1 || !strings.Contains(healed.Left[0], "cannot use ${env:TOKEN}") {
			t.Errorf("%+v, %v: want an undo that failed with the secret's value put back, and told without it", healed, err)
		}
		text, err := os.ReadFile(run.Path(journal.JournalFile))
		if err != nil || strings.Contains(string(text), "hunter2") || !strings.Contains(string(text), "cannot use ${env:TOKEN}") {
			t.Errorf("the record, %v:\n%s", err, text)
		}
	})
}
