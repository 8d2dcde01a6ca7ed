package testenv

import (
	"errors"
	"testing"
)

// reporter is a testing.TB that remembers how the code under test ended the test.
type reporter struct {
	testing.TB
	ended string
}

func (r *reporter) Helper()               {}
func (r *reporter) Skipf(string, ...any)  { r.ended = "skipped"; panic(r) }
func (r *reporter) Fatalf(string, ...any) { r.ended = "failed"; panic(r) }

// requires calls require, which leaves by a panic where a real test would be ended.
func (r *reporter) requires(known []capability, name string) {
	defer func() {
		if p := recover(); p != nil && p != any(r) {
			panic(p)
		}
	}()
	require(r, known, name)
}

func TestRequire(t *testing.T) {
	known := []capability{
		{"walk", func() error { return nil }},
		{"fly", func() error { return errors.New("it has no wings") }},
	}
	went := "went on"
	if testing.Short() {
		went = "skipped"
	}
	for _, row := range []struct{ name, list, capability, want string }{
		{"an unknown name is a mistake in the test", "", "teleport", "failed"},
		{"what is there goes on", "", "walk", went},
		{"what is missing and not insisted on is skipped", "", "fly", "skipped"},
		{"insisting on something else changes nothing", "docker,walk", "fly", "skipped"},
		{"what is missing and insisted on fails", "docker, fly", "fly", "failed"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if testing.Short() && row.list == "docker, fly" {
				t.Skip("-short skips whatever is insisted on")
			}
			t.Setenv(RequireVariable, row.list)
			r := &reporter{TB: t, ended: "went on"}
			r.requires(known, row.capability)
			if r.ended != row.want {
				t.Errorf("Require(%q) with %s=%q %s, want %s", row.capability, RequireVariable, row.list, r.ended, row.want)
			}
		})
	}
}
