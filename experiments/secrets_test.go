package experiments_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

func TestReferencesHaveTheTypeOfTheirPlace(t *testing.T) {
	e := parseOne(t, strings.NewReplacer(
		"name: a shop", "name: ${var:name}-${var:victims}", "targets: 3", `targets: "${env:COUNT}"`, "share: 50%", `share: "${var:share}"`,
		"for: 20s", "for: ${env:LENGTH}", "{select: {name: web}, ",
		`{select: {name: "${env:TOKEN}", pid: "${env:COUNT}"}, pick: "${var:victims}", port: "${env:PORT}", factor: "${env:HALF}", force: "${env:FORCE}", note: "${env:DIGITS}", `,
	).Replace(good))
	if e.Name != "web-2" || e.Limits.Targets != 3 || *e.Limits.Share != 0.5 || e.Faults[0].For.Seconds() != 20 {
		t.Errorf("read %+v", e)
	}
	s := settingsOf[shopSettings](t, e.Faults[0].Settings)
	if s.Select.Name != "hunter2-very-secret" || s.Select.PID != 3 || s.Pick.Count != 2 || s.Port != 8080 || s.Factor != 0.5 || !s.Force || s.Note != "0123" {
		t.Errorf("read the settings %s", e.Faults[0].Settings)
	}
	if want := []string{"env:DIGITS", "env:TOKEN"}; !reflect.DeepEqual(e.Secrets.Names(), want) {
		t.Errorf("secrets are %q, want %q: what stands in a number's or a length's place is none", e.Secrets.Names(), want)
	}
}

func TestAReferenceOfTheWrongTypeIsAProblemAtItsPlace(t *testing.T) {
	_, problems := parse(t, strings.Replace(good, "targets: 3", `targets: "${env:TOKEN}"`, 1))
	if len(problems) != 1 || problems[0].Line != 7 || problems[0].Column != 19 {
		t.Fatalf("said %v", problems)
	}
	if strings.Contains(problems[0].Problem, "hunter2") {
		t.Errorf("a message shows the secret: %s", problems[0].Problem)
	}
}

func TestNoMessageShowsASecret(t *testing.T) {
	for _, place := range []struct{ old, now string }{
		{"before: 10s", `before: "${env:TOKEN}"`}, {"share: 50%", `share: "${env:TOKEN}"`}, {"abort: 50", `abort: "${env:TOKEN}"`},
		{"delay: 100ms", `pick: "${env:TOKEN}", delay: 100ms`}, {"delay: 100ms", `level: "${env:TOKEN}", delay: 100ms`},
		{"delay: 100ms", `force: "${env:TOKEN}", delay: 100ms`}, {"delay: 100ms", `signal: "${env:TOKEN}", delay: 100ms`},
		{"delay: 100ms", `factor: "${env:TOKEN}", delay: 100ms`}, {"at: 5s", `on_restart: "${env:TOKEN}"`}, {"at: 5s", `allow: ["${env:TOKEN}"]`},
		{"status == 200", `${env:TOKEN}`}, {"Europe/Berlin", `"${env:TOKEN}"`}, {"0 10 * * 1-5", "${env:TOKEN}"}, {"missed: skip", `missed: "${env:TOKEN}"`},
		{"10:00-16:00", "${env:TOKEN}"}, {"2026-12-24", "${env:TOKEN}"},
	} {
		_, problems := parse(t, strings.Replace(good, place.old, place.now, 1))
		if len(problems) == 0 {
			t.Errorf("%s is taken for right", place.now)
		}
		for _, p := range problems {
			if strings.Contains(p.Problem, "hunter2") {
				t.Errorf("%s shows it: %s", place.now, p.Problem)
			}
		}
	}
}

func TestAFileIsASecretNamedByItsAbsolutePath(t *testing.T) {
	e := parseOne(t, strings.Replace(good, "{name: web}", `{name: "x-${file:token}"}`, 1))
	if s := settingsOf[shopSettings](t, e.Faults[0].Settings); s.Select.Name != "x-from-a-file" {
		t.Errorf("read %q", s.Select.Name)
	}
	if got := e.Secrets.Names(); !reflect.DeepEqual(got, []string{"file:/docs/token"}) {
		t.Errorf("secrets are %q", got)
	}
}

func TestAnEscapedReferenceIsItself(t *testing.T) {
	e := parseOne(t, strings.Replace(good, "It stays open.", "costs $${env:TOKEN}, $$${x} and $5", 1))
	if e.Hypothesis != "costs ${env:TOKEN}, $${x} and $5" || len(e.Secrets) != 0 {
		t.Errorf("read %q with secrets %s", e.Hypothesis, e.Secrets)
	}
}

// odd is what a value can hold and a format can trip over.
var odd = []string{"hunter2-very-secret", "pa\"ss\\wo\nrd <&>", "with space/and?query=1&b", "ünïcödé\u2028x", "tab\tand\x00nul", "ends with \\"}

func TestASecretNeverSurvivesRedaction(t *testing.T) {
	for _, value := range odd {
		secrets := experiments.Secrets{{Name: "env:A", Value: value}}
		asJSON, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{
			value, "x" + value + "y" + value, string(asJSON), strconv.Quote(value), "https://u:" + url.QueryEscape(value) + "@h/", "/p/" + url.PathEscape(value),
			fmt.Sprintf("open %q: no such file", value),
		} {
			got := secrets.Redact(text)
			if strings.Contains(got, value) || !strings.Contains(got, "${env:A}") || got == text {
				t.Errorf("of %q there is left %q", text, got)
			}
			raw, err := json.Marshal(map[string]any{"error": text, "more": []any{text, map[string]string{"deep": text}}, "n": 1.50, "null": nil})
			if err != nil {
				t.Fatal(err)
			}
			redacted := secrets.RedactJSON(raw)
			if !json.Valid(redacted) || strings.Contains(string(redacted), strings.Trim(string(asJSON), `"`)) {
				t.Errorf("of %s there is left %s", raw, redacted)
			}
		}
	}
}

func TestACutTextKeepsNoPartOfASecret(t *testing.T) {
	secrets := experiments.Secrets{{Name: "env:A", Value: "hunter2-very-secret"}}
	body := strings.Repeat("y", 50) + "hunter2-very-secret"
	r := experiments.Reading{"body": body, "error": ""}
	e, err := experiments.CompileExpect(`body == "x"`, r)
	if err != nil {
		t.Fatal(err)
	}
	_, why := experiments.Judge(r, e)
	if got := secrets.Redact(why); strings.Contains(got, "hunter") || !strings.Contains(got, "${env:A}…") {
		t.Errorf("%q became %q", why, got)
	}
}

func TestRedactionIsDoneOnceAndLongestFirst(t *testing.T) {
	secrets := experiments.Secrets{{Name: "env:SHORT", Value: "hunter"}, {Name: "env:LONG", Value: "hunter2-very"}, {Name: "env:NAME", Value: "LONG"}}
	if got := secrets.Redact("a hunter2-very b hunter c"); got != "a ${env:LONG} b ${env:SHORT} c" {
		t.Errorf("got %q", got)
	}
	if got := secrets.Redact(secrets.Redact("a hunter2-very")); got != "a ${env:LONG}" {
		t.Errorf("redacting again gave %q", got)
	}
}

func TestAShortValueIsRedactedOnlyAlone(t *testing.T) {
	secrets := experiments.Secrets{{Name: "env:S", Value: "on"}}
	if got := secrets.Redact("on"); got != "${env:S}" {
		t.Errorf("alone it is %q", got)
	}
	if got := secrets.Redact("one person"); got != "one person" {
		t.Errorf("in words it is %q", got)
	}
}

func TestRedactedJSONKeepsItsBytesAndOurOwnWords(t *testing.T) {
	secrets := experiments.Secrets{{Name: "env:K", Value: "process"}, {Name: "env:T", Value: "aimed"}, {Name: "env:D", Value: "1m0s"}, {Name: "env:N", Value: "2.1"}}
	raw := `{ "type" : "aimed", "target":"2.1", "at":"1m0s", "injection": {"kind":"process.kill","id":"2.1","target":{"kind":"process","name":"the process"}},` +
		"\n" + ` "why":"process aimed", "n":[1e3, 2.10 ,true,null,{}, []] }`
	want := `{ "type" : "aimed", "target":"2.1", "at":"1m0s", "injection": {"kind":"process.kill","id":"2.1","target":{"kind":"${env:K}","name":"the ${env:K}"}},` +
		"\n" + ` "why":"${env:K} ${env:T}", "n":[1e3, 2.10 ,true,null,{}, []] }`
	if got := string(secrets.RedactJSON([]byte(raw))); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var event experiments.Event
	if err := json.Unmarshal([]byte(`{"seq":1,"at":"2026-11-21T08:00:00Z","boot":5,"type":"aimed","injection":{"id":"2.1","kind":"process.kill","target":{},"description":{"kind":"process","id":"x","name":"n","mechanism":"m","keeper":"none","undo":"u","leases":[]},"wall":"2026-11-21T08:00:00Z"}}`), &event); err != nil {
		t.Fatal(err)
	}
}

func TestAnEventIsReadBackHoweverASecretIsCalled(t *testing.T) {
	e := parseOne(t, good)
	event := experiments.Event{Type: experiments.EventRun, Header: &experiments.Header{Run: "r", Plan: experiments.Plan{Experiment: e}}}
	raw, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"run", "20s", "10s", "5m0s", "stop", "99%", "50%", "shop.break", "before", "faultline/v1", "0001-01-01T00:00:00Z"} {
		var back experiments.Event
		if err := json.Unmarshal(experiments.Secrets{{Name: "env:X", Value: value}}.RedactJSON(raw), &back); err != nil {
			t.Errorf("a secret that is %q breaks the record: %v", value, err)
		} else if back.Type != experiments.EventRun || back.Header.Plan.Experiment.Faults[0].Kind != "shop.break" {
			t.Errorf("a secret that is %q changes the record: %s %s", value, back.Type, back.Header.Plan.Experiment.Faults[0].Kind)
		}
	}
}

func TestRestorePutsBackOnlyTheRecordedReferences(t *testing.T) {
	values := map[string]string{"env:A": `va"lue`, "env:B": "other"}
	lookup := func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
	raw := json.RawMessage(`{"x":"p-${env:A}","y":["${env:B}"],"${env:A}":1}`)
	got, missing := experiments.Restore(raw, []string{"env:A"}, lookup)
	if string(got) != `{"x":"p-va\"lue","y":["${env:B}"],"${env:A}":1}` || missing != nil {
		t.Errorf("got %s, missing %q", got, missing)
	}
	got, missing = experiments.Restore(raw, []string{"env:A", "env:B", "env:UNUSED"}, func(string) (string, bool) { return "", false })
	if string(got) != string(raw) || !reflect.DeepEqual(missing, []string{"env:A", "env:B"}) {
		t.Errorf("got %s, missing %q", got, missing)
	}
}

func TestRedactThenRestoreIsTheIdentity(t *testing.T) {
	for _, value := range odd {
		secrets := experiments.Secrets{{Name: "env:A", Value: value}}
		raw, err := json.Marshal(map[string]string{"settings": "a " + value + " b", "whole": value})
		if err != nil {
			t.Fatal(err)
		}
		back, missing := experiments.Restore(secrets.RedactJSON(raw), secrets.Names(), func(string) (string, bool) { return value, true })
		var was, is map[string]string
		if json.Unmarshal(raw, &was) != nil || json.Unmarshal(back, &is) != nil || !reflect.DeepEqual(was, is) || missing != nil {
			t.Errorf("%s became %s (missing %q)", raw, back, missing)
		}
	}
}

func TestNoVerbPrintsASecret(t *testing.T) {
	e := parseOne(t, strings.Replace(good, "{name: web}", `{name: "${env:TOKEN}"}`, 1))
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if text := fmt.Sprintf(verb, e.Secrets); strings.Contains(text, "hunter2") {
			t.Errorf("%s prints %s", verb, text)
		}
		if text := fmt.Sprintf(verb, e.Secrets[0]); strings.Contains(text, "hunter2") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func FuzzRedactJSON(f *testing.F) {
	f.Add(`{"a":"hunter2 \u0041"}`, "hunter2")
	f.Add(`["\"x\\"]`, `"x\`)
	f.Fuzz(func(t *testing.T, raw, value string) {
		secrets := experiments.Secrets{{Name: "env:A", Value: value}}
		redacted := secrets.RedactJSON([]byte(raw))
		if json.Valid([]byte(raw)) && !json.Valid(redacted) {
			t.Errorf("%s became %s", raw, redacted)
		}
	})
}
