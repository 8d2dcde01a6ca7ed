package experiments

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
	"time"

	"github.com/invopop/jsonschema"
)

// schemaVersion is the draft that the schemas are written in.
const schemaVersion = "https://json-schema.org/draft/2020-12/schema"

const (
	referencePattern = `\$\{(env|file|var):[^}]+\}`
	lengthPattern    = `^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))*$`
	sharePattern     = `^[0-9]+(\.[0-9]+)?%$`
)

// ExperimentSchema is the JSON Schema (draft 2020-12) of an experiment document,
// made of the same structs that the parser fills, so that editors complete what
// `validate` accepts. It knows keys, types and kinds; the parser knows more.
func ExperimentSchema(c Catalog) ([]byte, error) {
	r := &jsonschema.Reflector{
		RequiredFromJSONSchemaTags: true, ExpandedStruct: true, Anonymous: true, Namer: reflect.Type.String,
		Mapper: documentType,
	}
	root := r.Reflect(Experiment{})
	root.Version, root.Title = schemaVersion, "faultline experiment"
	root.Required = []string{"apiVersion", "kind", "name"}
	root.AnyOf = []*jsonschema.Schema{{Required: []string{"faults"}}, {Required: []string{"probes"}}}
	root.Properties.Delete("source")
	set(root, "apiVersion", &jsonschema.Schema{Const: APIVersion})
	set(root, "kind", &jsonschema.Schema{Const: KindExperiment})

	faults, probes := itemOf(r, besideFault{}), itemOf(r, besideProbe{})
	set(faults, "on_restart", &jsonschema.Schema{Enum: []any{OnRestartStop, OnRestartReinject, OnRestartIgnore}})
	set(faults, "allow", &jsonschema.Schema{Type: "array", Items: &jsonschema.Schema{Enum: anyDoors()}})
	faults.DependentRequired = map[string][]string{}
	for _, k := range c.Faults {
		addKind(root, r, faults, k.Kind, k.Summary, k.Settings())
		if k.Undoable {
			faults.DependentRequired[k.Kind] = []string{"for"}
		}
	}
	for _, k := range c.Probes {
		addKind(root, r, probes, k.Kind, k.Summary, k.Settings())
	}
	set(root, "faults", &jsonschema.Schema{Type: "array", Items: faults})
	set(root, "probes", &jsonschema.Schema{Type: "array", Items: probes})
	describe(root, faults, probes)
	return printed(root)
}

func printed(s *jsonschema.Schema) ([]byte, error) {
	raw, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write a JSON Schema: %w", err)
	}
	return append(raw, '\n'), nil
}

func set(s *jsonschema.Schema, key string, value *jsonschema.Schema) { s.Properties.Set(key, value) }

func anyDoors() []any {
	var all []any
	for _, door := range Doors() {
		all = append(all, door)
	}
	return all
}

// itemOf is the schema of one fault or probe, as yet without any kind.
func itemOf(r *jsonschema.Reflector, beside any) *jsonschema.Schema {
	item := r.Reflect(beside)
	item.Version = ""
	return item
}

// addKind lets a fault or probe have one more kind: exactly one is required.
func addKind(root *jsonschema.Schema, r *jsonschema.Reflector, item *jsonschema.Schema, kind, summary string, settings any) {
	s := r.Reflect(settings)
	if root.Definitions == nil {
		root.Definitions = jsonschema.Definitions{}
	}
	for name, definition := range s.Definitions {
		root.Definitions[name] = definition
	}
	s.Version, s.Definitions, s.Description = "", nil, summary
	set(item, kind, s)
	item.OneOf = append(item.OneOf, &jsonschema.Schema{Required: []string{kind}})
	for name, definition := range item.Definitions {
		root.Definitions[name] = definition
	}
	item.Definitions = nil
}

// documentType is how a document writes what JSON writes otherwise. A reference
// may stand where any one value may.
func documentType(t reflect.Type) *jsonschema.Schema {
	either := func(s *jsonschema.Schema) *jsonschema.Schema {
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{s, {Type: "string", Pattern: referencePattern}}}
	}
	pointer := reflect.PointerTo(t)
	switch {
	case t == durationType:
		return either(&jsonschema.Schema{Type: "string", Pattern: lengthPattern, Description: "a length of time with its unit: 250ms, 10s, 5m, 1h30m"})
	case t == shareType:
		return either(&jsonschema.Schema{Type: "string", Pattern: sharePattern, Description: "a percentage from 0% to 100%"})
	case t == pickType:
		return either(&jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "integer", Minimum: "1"}, {Type: "string", Pattern: `^(all|[1-9][0-9]*|[0-9]+(\.[0-9]+)?%)$`},
		}, Description: "how many of the matched: a count, a percentage (rounded up), or all"})
	case t.Kind() == reflect.Pointer:
		return nil
	case pointer.Implements(jsonUnmarshaler) || pointer.Implements(textUnmarshaler):
		return selfRead(t)
	}
	switch t.Kind() {
	case reflect.Bool:
		return either(&jsonschema.Schema{Type: "boolean"})
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return either(&jsonschema.Schema{Type: "integer"})
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return either(&jsonschema.Schema{Type: "integer", Minimum: "0"})
	case reflect.Float32, reflect.Float64:
		return either(&jsonschema.Schema{Type: "number"})
	}
	return nil
}

// selfRead is a type that reads itself: only its underlying kind says what it may take.
func selfRead(t reflect.Type) *jsonschema.Schema {
	switch t.Kind() {
	case reflect.Slice:
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "array"}, {Type: "string"}}}
	case reflect.Struct, reflect.Map:
		return &jsonschema.Schema{}
	}
	return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}}}
}

// describe says in an editor what the keys are for.
func describe(root, faults, probes *jsonschema.Schema) {
	for _, one := range []struct {
		of        *jsonschema.Schema
		key, text string
	}{
		{root, "name", "what the experiment is called in its report"},
		{root, "hypothesis", "what you believe will happen, in a sentence"},
		{root, "timeline", "how long to watch before, during (at least) and after the faults"},
		{root, "limits", "the blast radius: more than a limit is refused, never cut down"},
		{root, "probes", "questions that are asked again and again: the steady state"},
		{root, "faults", "what is broken, when and for how long"},
		{root, "schedule", "when `faultline serve` runs it; `run` does not wait for it"},
		{faults, "at", "when, from the start of During (0s)"},
		{faults, "for", "how long it is on; required of everything that is undone"},
		{faults, "on_restart", "what to do when a target comes back as another one during its fault (stop)"},
		{faults, "allow", "safety limits that this fault may pass, by name"},
		{probes, "every", "how often to ask (1s)"},
		{probes, "expect", "what a good answer is: CEL over the reading"},
		{probes, "tolerate", "how much of the steady state may be lost, and for how long"},
	} {
		if s, ok := one.of.Properties.Get(one.key); ok {
			s.Description = one.text
		}
	}
}

// SchemaOf is the JSON Schema of something that this tool writes as JSON. A
// reader takes unknown keys: a newer version may add some.
func SchemaOf(title string, sample any) ([]byte, error) {
	r := &jsonschema.Reflector{
		AllowAdditionalProperties: true, ExpandedStruct: true, Anonymous: true, Namer: reflect.Type.String,
		Mapper: writtenType,
	}
	s := r.Reflect(sample)
	s.Version, s.Title = schemaVersion, title
	return printed(s)
}

var (
	jsonMarshaler = reflect.TypeFor[json.Marshaler]()
	textMarshaler = reflect.TypeFor[encoding.TextMarshaler]()
)

// writtenType is what types that write themselves look like in JSON.
func writtenType(t reflect.Type) *jsonschema.Schema {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return &jsonschema.Schema{Type: "string", Format: "date-time"}
	case t == durationType, t == shareType:
		return &jsonschema.Schema{Type: "string"}
	case t == pickType:
		return &jsonschema.Schema{AnyOf: []*jsonschema.Schema{{Type: "string"}, {Type: "integer"}}}
	case t == rawType, t.Kind() == reflect.Interface:
		return &jsonschema.Schema{}
	case t.Implements(textMarshaler) && t.Kind() != reflect.Pointer:
		return &jsonschema.Schema{Type: "string"}
	case t.Implements(jsonMarshaler) && t.Kind() != reflect.Pointer:
		return &jsonschema.Schema{}
	}
	return nil
}
