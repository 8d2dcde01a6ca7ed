package journal

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func TestPruneRemovesOldClosedRunsOnly(t *testing.T) {
	home := testHome(t)
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	made := map[string]Run{}
	for name, age := range map[string]time.Duration{
		"closed": 10, "open": 9, "locked": 8, "newer schema": 7, "empty": 6, "kept as one of the newest": 3, "young": 1,
	} {
		run, err := home.Create(NewID(now.Add(-age*24*time.Hour), 0))
		if err != nil {
			t.Fatal(err)
		}
		made[name] = run
	}
	write(t, made["closed"], begun(), aimed("1"), of("undone", "1"))
	write(t, made["open"], begun(), aimed("1"))
	newer := begun()
	newer.Header.Schema = "faultline/journal/v2"
	write(t, made["newer schema"], newer)
	l := lock(t, made["locked"])
	defer l.Unlock()
	if err := os.Mkdir(filepath.Join(home.runs(), removing+"x"), 0o700); err != nil { // a prune that was killed
		t.Fatal(err)
	}

	removed, open, err := home.Prune(now, 5*24*time.Hour, 1)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := removed, []Run{made["empty"], made["closed"]}; !slices.Equal(got, want) {
		t.Errorf("removed %v, want %v", got, want)
	}
	if got, want := open, []Run{made["newer schema"], made["locked"], made["open"]}; !slices.Equal(got, want) {
		t.Errorf("kept as open %v, want %v", got, want)
	}
	left, err := os.ReadDir(home.runs())
	if err != nil || len(left) != 5 {
		t.Errorf("left %v, %v", left, err)
	}
	if removed, _, err := home.Prune(now, 0, 4); err != nil || len(removed) != 0 {
		t.Errorf("the newest 4 of 5 and an open one: removed %v, %v", removed, err)
	}
}
