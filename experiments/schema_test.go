package experiments_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"go.yaml.in/yaml/v3"

	"github.com/faultline-sh/faultline/experiments"
)

func compiled(t *testing.T, raw []byte) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatalf("%v in\n%s", err, raw)
	}
	return s
}

// plain is a YAML document as an editor's schema check sees it.
func plain(t *testing.T, text string) any {
	t.Helper()
	var v any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	v, err = jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// seenBySchema are the rules that a schema can state.
var seenBySchema = []string{
	"an unknown key has a nearest name", "an unknown key with no near name lists the known", "an unknown setting has a nearest name",
	"an unknown kind of fault has a nearest name", "an unknown kind of probe has a nearest name", "a fault has one kind only", "a fault says its kind",
	"text in the place of a number is refused", "a quoted number is text", "a number in the place of text is refused", "a list in the place of a map is refused",
	"one value in the place of a list is refused", "nothing in the place of a value is refused", "a missing unit is named", "a zero needs its unit too",
	"an unknown unit is no length", "a percentage needs its sign", "a pick of none is refused", "a missing name is refused", "what is undone needs a length",
	"an unknown policy has a nearest name", "an unknown door has a nearest name", "another version is refused, never guessed", "another kind is refused, never guessed",
	"a document without a version is refused",
}

func TestTheSchemaAcceptsWhatTheParserAccepts(t *testing.T) {
	raw, err := experiments.ExperimentSchema(shop())
	if err != nil {
		t.Fatal(err)
	}
	schema := compiled(t, raw)
	for name, text := range map[string]string{
		"everything": good,
		"references": strings.NewReplacer("targets: 3", `targets: "${env:COUNT}"`, "share: 50%", `share: "${var:share}"`, "for: 20s", "for: ${env:LENGTH}").Replace(good),
		"every type": strings.Replace(good, `{select: {name: web}, delay: 100ms, jitter: 10ms, to: ["10.0.3.7:5432"]}`,
			`{select: {shop: {labels: {a: b}}}, pick: 50%, loss: 1.5%, signal: 15, level: high, port: 80, factor: 1.5, force: true, note: x}`, 1),
		"probes alone": `{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {before: 0s, during: 3s, after: 0s}, probes: [{name: p, bell: {url: u}}]}`,
	} {
		parseOne(t, text)
		if err := schema.Validate(plain(t, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !strings.Contains(string(raw), "shop.burn") || !strings.Contains(string(raw), "$defs") {
		t.Error("the schema lacks kinds or types")
	}
}

func TestTheSchemaRefusesWhatItCanSee(t *testing.T) {
	raw, err := experiments.ExperimentSchema(shop())
	if err != nil {
		t.Fatal(err)
	}
	schema := compiled(t, raw)
	for _, name := range seenBySchema {
		rule, ok := rules[name]
		if !ok {
			t.Errorf("there is no rule %q", name)
			continue
		}
		if err := schema.Validate(plain(t, strings.Replace(good, rule.old, rule.now, 1))); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheSchemasOfWhatIsWrittenFitIt(t *testing.T) {
	e := parseOne(t, good)
	for name, sample := range map[string]any{
		"plan": experiments.Plan{
			Schema: experiments.PlanSchema, Experiment: e, Faults: []experiments.PlannedFault{{Fault: 1, Victims: []experiments.Candidate{{ID: "x"}}, Descriptions: []experiments.Description{{Leases: []string{}}}}},
		},
		"event": experiments.Event{Type: experiments.EventAimed, Injection: &experiments.Injection{Target: json.RawMessage(`{}`), Description: experiments.Description{Leases: []string{"x"}}}},
	} {
		raw, err := experiments.SchemaOf(name, sample)
		if err != nil {
			t.Fatal(err)
		}
		written, err := json.Marshal(sample)
		if err != nil {
			t.Fatal(err)
		}
		schema := compiled(t, raw)
		if err := schema.Validate(plain(t, string(written))); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := schema.Validate(map[string]any{}); err == nil {
			t.Errorf("%s: nothing at all is accepted", name)
		}
	}
}
