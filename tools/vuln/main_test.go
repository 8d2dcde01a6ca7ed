package main

import (
	"bytes"
	"maps"
	"slices"
	"strings"
	"testing"
)

const stream = `
{"config":{"scanner_name":"govulncheck"}}
{"osv":{"id":"GO-1","affected":[{"package":{"name":"a"},"ecosystem_specific":{"imports":[{"path":"a/b","symbols":["F"]}]}}]}}
{"finding":{"osv":"GO-1","trace":[{"module":"a","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-1","trace":[{"module":"a","package":"a/b"}]}}
{"osv":{"id":"GO-2","affected":[{"package":{"name":"a"},"ecosystem_specific":{"imports":[{"path":"a/b","symbols":["G"]}]}}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"a","package":"a/b","function":"G"},{"module":"ours","function":"main"}]}}
{"osv":{"id":"GO-3","affected":[{"package":{"name":"whole"}}]}}
{"finding":{"osv":"GO-3","trace":[{"module":"whole","version":"v1.0.0"}]}}`

func TestCalledMeansAFunctionOrAWholeModule(t *testing.T) {
	called, err := calledIn(strings.NewReader(stream))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"GO-2", "GO-3"}; !slices.Equal(called, want) {
		t.Errorf("called are %v, want %v", called, want)
	}
}

func TestATornAnswerIsNoAnswer(t *testing.T) {
	if _, err := calledIn(strings.NewReader(stream[:len(stream)-5])); err == nil {
		t.Error("half an answer was taken for a whole one")
	}
}

func TestJudge(t *testing.T) {
	for _, row := range []struct {
		name   string
		called []string
		known  map[string]string
		want   int
	}{
		{"nothing called, nothing listed", nil, nil, 0},
		{"called and listed", []string{"GO-2"}, map[string]string{"GO-2": "no fix"}, 0},
		{"called and not listed", []string{"GO-2", "GO-3"}, map[string]string{"GO-2": "no fix"}, 1},
		{"listed and not called", nil, map[string]string{"GO-2": "no fix"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var out bytes.Buffer
			if got := judge(&out, row.called, row.known); got != row.want {
				t.Errorf("exit code %d, want %d:\n%s", got, row.want, &out)
			}
		})
	}
}

func TestKnownListParses(t *testing.T) {
	known, err := parseKnown(knownList)
	if err != nil || len(known) == 0 {
		t.Fatalf("known.txt: %v, %v", slices.Collect(maps.Keys(known)), err)
	}
	if _, err := parseKnown("GO-2026-0001\n"); err == nil {
		t.Error("a line without a reason was taken")
	}
}
