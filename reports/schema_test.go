package reports_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

// published is a schema as `faultline schema` prints it.
func published(t *testing.T, title string, of any) *jsonschema.Schema {
	t.Helper()
	text, err := experiments.SchemaOf(title, of)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("schema.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func accepts(t *testing.T, schema *jsonschema.Schema, what string, text []byte) {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("%s is not what its schema says: %v", what, err)
	}
}

func TestWhatIsWrittenIsWhatTheSchemasSay(t *testing.T) {
	report, event, plan := published(t, "report", reports.Document{}), published(t, "event", experiments.Event{}), published(t, "plan", experiments.Plan{})
	for _, r := range canned.Runs() {
		accepts(t, report, "report.json of "+r.Name, rendered(t, fold(t, r), "json"))
		for _, e := range r.Events {
			text, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			accepts(t, event, "an event of "+r.Name, text)
		}
		text, err := json.Marshal(r.Events[0].Header.Plan)
		if err != nil {
			t.Fatal(err)
		}
		accepts(t, plan, "the plan of "+r.Name, text)
	}
}

func TestTheReportSchemaRefusesWhatIsNone(t *testing.T) {
	schema := published(t, "report", reports.Document{})
	r, _ := canned.Find("passed")
	good := rendered(t, fold(t, r), "json")
	for name, change := range map[string][2]string{
		"a verdict that does not exist": {`"verdict": "passed"`, `"verdict": "splendid"`},
		"undone as a number":            {`"undone": true`, `"undone": 1`},
		"undone as a list":              {`"undone": true`, `"undone": []`},
		"a key that is not there":       {`"run":`, `"runn":`},
	} {
		bad := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(bad))
		if err != nil || bytes.Equal(bad, good) {
			t.Fatalf("%s: the test does not change the report (%v)", name, err)
		}
		if schema.Validate(document) == nil {
			t.Errorf("the schema accepts %s", name)
		}
	}
}
