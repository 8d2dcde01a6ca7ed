package probes

import (
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

func TestEveryKindCanBeWrittenReadAndJudged(t *testing.T) {
	seen := map[string]bool{}
	for _, k := range Table() {
		t.Run(k.Kind, func(t *testing.T) {
			if seen[k.Kind] || k.Summary == "" {
				t.Errorf("the kind is in the table twice, or says nothing of itself")
			}
			seen[k.Kind] = true
			e, err := experiments.CompileExpect(k.Expect, k.Reading)
			if err != nil {
				t.Fatal(err)
			}
			if outcome, why := experiments.Judge(k.Reading, e); outcome != experiments.OutcomeGood {
				t.Errorf("the sample reading is %s by the kind's own expectation: %s", outcome, why)
			}
			if problems := parse(k.Example); len(problems) > 0 {
				t.Errorf("the example is refused: %v", problems)
			}
			if found, ok := Find(k.Kind); !ok || found.Kind != k.Kind {
				t.Errorf("Find does not know it")
			}
		})
	}
}

func parse(probe string) []experiments.Problem {
	document := "apiVersion: faultline/v1\nkind: Experiment\nname: example\ntimeline: {during: 10s}\nprobes:\n" + probe
	catalog := experiments.Catalog{Probes: Kinds()}
	_, problems := experiments.Parse([]experiments.File{{Name: "example.yaml", Text: []byte(document)}}, catalog, experiments.Options{})
	return problems
}

func TestSettingsProblemsStandAtTheirPlace(t *testing.T) {
	for _, row := range []struct{ name, probe, want string }{
		{"a URL of another kind", `- http: {url: "ftp://x/"}`, "neither http:// nor https://"},
		{"a key of an embedded selector", `- process: {exe: "a b"}`, "looks like a command line"},
		{"a key under select", `- container: {select: {id: xyz}}`, "no container ID"},
		{"an unknown key", `- tcp: {adress: "127.0.0.1:1"}`, "address"},
		{"an expectation that cannot be true of the reading", "- tcp: {address: \"127.0.0.1:1\"}\n  expect: status == 200", "status"},
	} {
		t.Run(row.name, func(t *testing.T) {
			problems := parse(row.probe + "\n")
			if len(problems) == 0 || problems[0].Line < 6 || !strings.Contains(problems[0].Problem, row.want) {
				t.Errorf("found %+v, want one with %q", problems, row.want)
			}
		})
	}
}
