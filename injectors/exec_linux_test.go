package injectors

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

func aimExec(t *testing.T, w World, s ExecSettings, allow ...experiments.Door) (ExecTarget, error) {
	t.Helper()
	targets, err := ownCommand{}.Aim(t.Context(), w, s, experiments.Order{Run: "test", Allow: allow})
	if err != nil {
		return ExecTarget{}, err
	}
	return targets[0], nil
}

func TestExecNeedsAnUndoOrTheDoor(t *testing.T) {
	w := hostWorld(t)
	s := ExecSettings{Inject: []string{"true"}, Confirm: &ExecConfirm{None: true}}
	if _, err := aimExec(t, w, s); !errors.Is(err, ErrRefused) {
		t.Errorf("without undo: %v, want it refused", err)
	}
	target, err := aimExec(t, w, s, experiments.DoorIrreversible)
	if err != nil {
		t.Fatal(err)
	}
	if err := (ownCommand{}).Undo(t.Context(), w, target); err != nil {
		t.Errorf("undo of what has none: %v", err)
	}
	effect, err := ownCommand{}.Confirm(t.Context(), w, target)
	if err != nil || effect.State != experiments.EffectUnknown || !strings.Contains(effect.Why, "not confirmed by us") {
		t.Errorf("confirm: none reads back as %v (%v)", effect, err)
	}
}

func TestExecConfirmDecides(t *testing.T) {
	w := hostWorld(t)
	rows := []struct {
		sentence      string
		confirm, undo []string
		want          experiments.EffectState
		undone        bool
	}{
		{"0 is in effect, and still after the undo", []string{"true"}, []string{"true"}, experiments.EffectOn, false},
		{"1 is not in effect, though the undo failed", []string{"false"}, []string{"false"}, experiments.EffectOff, true},
		{"anything else is unknown, and no undo verified", []string{"sh", "-c", "exit 7"}, []string{"true"}, experiments.EffectUnknown, false},
		{"a signal is unknown", []string{"sh", "-c", "kill -9 $$"}, []string{"true"}, experiments.EffectUnknown, false},
		{"too late is unknown", []string{"sleep", "600"}, []string{"true"}, experiments.EffectUnknown, false},
	}
	for _, row := range rows {
		t.Run(row.sentence, func(t *testing.T) {
			target, err := aimExec(t, w, ExecSettings{
				Inject: []string{"true"}, Confirm: &ExecConfirm{Argv: row.confirm}, Undo: row.undo, Timeout: experiments.Duration(200 * time.Millisecond),
			})
			if err != nil {
				t.Fatal(err)
			}
			effect, err := ownCommand{}.Confirm(t.Context(), w, target)
			if err != nil || effect.State != row.want {
				t.Errorf("reads back as %q (%v), want %q", effect.State, err, row.want)
			}
			if err := (ownCommand{}).Undo(t.Context(), w, target); (err == nil) != row.undone {
				t.Errorf("undo gives %v, want verified %v", err, row.undone)
			}
		})
	}
}

func TestExecMissingProgramIsKnownBeforehand(t *testing.T) {
	w := hostWorld(t)
	_, err := aimExec(t, w, ExecSettings{Inject: []string{"true"}, Confirm: &ExecConfirm{None: true}, Undo: []string{"no-such-program-here"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-program-here") {
		t.Errorf("aiming gives %v, want the missing program's name", err)
	}
}

func TestExecRunsWhereAndWithWhatItIsTold(t *testing.T) {
	w := hostWorld(t)
	dir := t.TempDir()
	target, err := aimExec(t, w, ExecSettings{
		Inject: []string{"sh", "-c", `printf %s "$WHAT" > made`}, Confirm: &ExecConfirm{None: true}, Undo: []string{"rm", "made"},
		Dir: dir, Env: map[string]string{"WHAT": "two words"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (ownCommand{}).Inject(t.Context(), w, target); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "made"))
	if err != nil || string(content) != "two words" {
		t.Errorf("it made %q (%v)", content, err)
	}
	if err := (ownCommand{}).Undo(t.Context(), w, target); err != nil {
		t.Error(err)
	}
	if err := (ownCommand{}).Undo(t.Context(), w, target); err == nil {
		t.Error("a second undo, whose own exit code is all there is, fails and is called verified")
	}
}
