package experiments

import (
	"encoding"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// The bounds of one document. Aliases count each time they are used, so that a
// small file cannot blow up into a big document.
const (
	maxNodes = 100_000
	maxDepth = 64
)

// decoder fills values from YAML nodes, strictly, and notes every problem at its
// place. What a reference becomes is decided by the place where it stands: text
// where text is asked for, a number where a number is.
type decoder struct {
	file     string
	options  Options
	problems []Problem
	places   map[string]*yaml.Node // path → where it was written
	secrets  Secrets
	seen     Secrets         // also those that stand where no text is wanted: no message shows them
	failed   []reflect.Value // numbers that could not be read
	nodes    int
	depth    int
	tooMuch  bool

	special map[reflect.Type]func(path string, n *yaml.Node, v reflect.Value)
}

func (d *decoder) problem(n *yaml.Node, format string, args ...any) {
	if n == nil {
		n = &yaml.Node{Line: 1, Column: 1}
	}
	text := d.seen.Redact(fmt.Sprintf(format, args...))
	d.problems = append(d.problems, Problem{File: d.file, Line: max(1, n.Line), Column: max(1, n.Column), Problem: text})
}

// hides says whether a secret stands at a path: then others' words about its
// text, which may show parts of it, are not for a message.
func (d *decoder) hides(path string) bool {
	n := d.at(path)
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n.Kind == yaml.ScalarNode && (strings.Contains(n.Value, "${env:") || strings.Contains(n.Value, "${file:"))
}

// at says where a path was written, or what is next above it.
func (d *decoder) at(path string) *yaml.Node {
	for {
		if n, ok := d.places[path]; ok {
			return n
		}
		cut := strings.LastIndexAny(path, ".[")
		if cut < 0 {
			return d.places[""]
		}
		path = path[:cut]
	}
}

// given says whether the author wrote this path.
func (d *decoder) given(path string) bool {
	_, ok := d.places[path]
	return ok
}

func below(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// enter counts a node and follows an alias. Its place stays that of the alias.
func (d *decoder) enter(path string, n *yaml.Node) (*yaml.Node, bool) {
	d.places[path] = n
	d.nodes++
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if d.nodes <= maxNodes && d.depth <= maxDepth {
		return n, true
	}
	if !d.tooMuch {
		d.tooMuch = true
		d.problem(d.places[path], "the document is too big (over %d values or %d levels, aliases counted each time): split it", maxNodes, maxDepth)
	}
	return n, false
}

var (
	durationType    = reflect.TypeFor[Duration]()
	shareType       = reflect.TypeFor[Share]()
	pickType        = reflect.TypeFor[Pick]()
	rawType         = reflect.TypeFor[json.RawMessage]()
	jsonUnmarshaler = reflect.TypeFor[json.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

const noValue = "has no value: write one, or leave the key out"

// decode fills v, which is settable, from n.
func (d *decoder) decode(path string, n *yaml.Node, v reflect.Value) {
	if special, ok := d.special[v.Type()]; ok {
		special(path, n, v)
		return
	}
	place, before := n, len(d.problems)
	n, ok := d.enter(path, n)
	if !ok {
		return
	}
	d.depth++
	defer func() { d.depth-- }()
	if isNull(n) {
		d.fail(v)
		d.problem(place, "%s %s", path, noValue)
		return
	}
	switch {
	case v.Type() == durationType:
		d.duration(path, place, n, v)
	case v.Type() == shareType:
		d.share(path, place, n, v)
	case v.Type() == pickType:
		d.pick(path, place, n, v)
	case reflect.PointerTo(v.Type()).Implements(jsonUnmarshaler) && v.Kind() != reflect.Pointer:
		d.viaJSON(path, place, n, v)
	case reflect.PointerTo(v.Type()).Implements(textUnmarshaler) && v.Kind() != reflect.Pointer:
		d.viaText(path, place, n, v)
	default:
		d.plain(path, place, n, v)
	}
	if len(d.problems) > before {
		d.fail(v)
	}
}

// fail notes a number that is not known: what others' checks say of it, or of
// something beside it, may be wrong.
func (d *decoder) fail(v reflect.Value) {
	if v.CanInt() || v.CanUint() || v.CanFloat() {
		d.failed = append(d.failed, v)
	}
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

func (d *decoder) plain(path string, place, n *yaml.Node, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		d.nodes-- // the same node once more
		inner := reflect.New(v.Type().Elem())
		d.decode(path, aliasOr(place, n), inner.Elem())
		v.Set(inner)
	case reflect.Struct:
		d.structure(path, place, n, v)
	case reflect.Map:
		d.mapping(path, place, n, v)
	case reflect.Slice:
		d.list(path, place, n, v)
	case reflect.String:
		if text, ok := d.text(path, place, n); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		d.boolean(path, place, n, v)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		d.integer(path, place, n, v)
	case reflect.Float32, reflect.Float64:
		d.float(path, place, n, v)
	default:
		d.problem(place, "%s cannot be written in a document", path)
	}
}

// aliasOr keeps the place of an alias for what is decoded from it.
func aliasOr(place, n *yaml.Node) *yaml.Node {
	if place != nil && place.Kind == yaml.AliasNode {
		return place
	}
	return n
}

// what names a node's kind as its author would.
func what(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a map"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!int", "!!float":
		return "the number " + n.Value
	case "!!bool":
		return "the word " + n.Value + " (true or false)"
	case "!!null":
		return "nothing"
	}
	return fmt.Sprintf("the text %q", shorten(n.Value))
}

// scalar gives a scalar's text with its references replaced, and its tag; "!!ref"
// for what was nothing but one reference, which has the type that its place wants.
func (d *decoder) scalar(path string, place, n *yaml.Node, wanted string) (text, tag string, ok bool) {
	if n.Kind != yaml.ScalarNode {
		d.problem(place, "%s is %s: write %s", path, what(n), wanted)
		return "", "", false
	}
	tag = n.ShortTag()
	if !strings.HasPrefix(tag, "!!") || tag == "!!binary" || tag == "!!merge" && n.Value != "<<" {
		d.problem(place, "%s has the tag %s: tags mean nothing here, leave it out", path, tag)
		return "", "", false
	}
	if !strings.Contains(n.Value, "${") {
		return n.Value, tag, true
	}
	s, problems := d.options.substitute(d.file, n.Value)
	for _, p := range problems {
		d.problem(place, "%s: %s", path, p)
	}
	for _, secret := range s.secrets {
		d.seen = d.seen.with(secret)
		if wanted == wantText {
			d.secrets = d.secrets.with(secret)
		}
	}
	if s.whole {
		tag = "!!ref"
	}
	return s.text, tag, len(problems) == 0
}

const wantText = "text"

// text takes what YAML reads as text; a date is nothing but its text here.
func (d *decoder) text(path string, place, n *yaml.Node) (string, bool) {
	text, tag, ok := d.scalar(path, place, n, wantText)
	if !ok {
		return "", false
	}
	switch tag {
	case "!!str", "!!timestamp", "!!ref", "!!merge":
		return text, true
	}
	d.problem(place, "%s is %s: write text, in quotes: %q", path, what(n), n.Value)
	return "", false
}

func (d *decoder) duration(path string, place, n *yaml.Node, v reflect.Value) {
	text, tag, ok := d.scalar(path, place, n, "a length of time with its unit, as 10s")
	if !ok {
		return
	}
	length, err := ParseDuration(text)
	switch {
	case err == nil:
		v.SetInt(int64(length))
	case tag == "!!int" || tag == "!!float":
		d.problem(place, "%s is %s without a unit: write %ss for seconds, or use ms, m, h", path, text, text)
	default:
		d.problem(place, "%s is %q, which is no length of time: write it with its unit, as 250ms, 10s, 5m or 1h30m", path, shorten(n.Value))
	}
}

func (d *decoder) share(path string, place, n *yaml.Node, v reflect.Value) {
	text, _, ok := d.scalar(path, place, n, "a percentage, as 50%")
	if !ok {
		return
	}
	share, err := ParseShare(text)
	if err != nil {
		d.problem(place, "%s is %q: write a percentage from 0%% to 100%%, as 50%%", path, shorten(n.Value))
		return
	}
	v.SetFloat(float64(share))
}

func (d *decoder) pick(path string, place, n *yaml.Node, v reflect.Value) {
	text, _, ok := d.scalar(path, place, n, "a count from 1, a percentage as 50%, or all")
	if !ok {
		return
	}
	pick, err := ParsePick(text)
	if err != nil {
		d.problem(place, "%s is %q: write a count from 1, a percentage above 0%% as 50%%, or all", path, shorten(n.Value))
		return
	}
	v.Set(reflect.ValueOf(pick))
}

func (d *decoder) boolean(path string, place, n *yaml.Node, v reflect.Value) {
	text, tag, ok := d.scalar(path, place, n, "true or false")
	if !ok {
		return
	}
	value, err := strconv.ParseBool(text)
	if (tag != "!!bool" && tag != "!!ref") || err != nil {
		d.problem(place, "%s is %s: write true or false", path, what(n))
		return
	}
	v.SetBool(value)
}

func (d *decoder) integer(path string, place, n *yaml.Node, v reflect.Value) {
	text, tag, ok := d.scalar(path, place, n, "a whole number")
	if !ok {
		return
	}
	if tag != "!!int" && tag != "!!ref" {
		d.problem(place, "%s is %s: write a whole number", path, what(n))
		return
	}
	text = strings.ReplaceAll(text, "_", "")
	if v.CanInt() {
		value, err := strconv.ParseInt(text, 0, 64)
		if err != nil || v.OverflowInt(value) {
			d.problem(place, "%s is %s: write a whole number that fits", path, shorten(n.Value))
			return
		}
		v.SetInt(value)
		return
	}
	value, err := strconv.ParseUint(text, 0, 64)
	if err != nil || v.OverflowUint(value) {
		d.problem(place, "%s is %s: write a whole number from 0 that fits", path, shorten(n.Value))
		return
	}
	v.SetUint(value)
}

func (d *decoder) float(path string, place, n *yaml.Node, v reflect.Value) {
	text, tag, ok := d.scalar(path, place, n, "a number")
	if !ok {
		return
	}
	value, err := strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	if (tag != "!!int" && tag != "!!float" && tag != "!!ref") || err != nil || math.IsNaN(value) || math.IsInf(value, 0) {
		d.problem(place, "%s is %s: write a number", path, what(n))
		return
	}
	v.SetFloat(value)
}

// viaJSON leaves the reading to the type's own UnmarshalJSON.
func (d *decoder) viaJSON(path string, place, n *yaml.Node, v reflect.Value) {
	raw, ok := d.asJSON(path, place, n, v.Type())
	if !ok {
		return
	}
	if err := v.Addr().Interface().(json.Unmarshaler).UnmarshalJSON(raw); err != nil {
		d.problem(place, "%s: %v", path, err)
	}
}

func (d *decoder) viaText(path string, place, n *yaml.Node, v reflect.Value) {
	text, _, ok := d.scalar(path, place, n, wantText)
	if !ok {
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
		d.problem(place, "%s: %v", path, err)
	}
}

// asJSON turns a node into JSON, for types that read themselves.
func (d *decoder) asJSON(path string, place, n *yaml.Node, t reflect.Type) (json.RawMessage, bool) {
	switch n.Kind {
	case yaml.ScalarNode:
		wanted := "one value"
		if t == rawType || t.Kind() == reflect.String {
			wanted = wantText
		}
		return d.scalarJSON(path, place, n, wanted)
	case yaml.SequenceNode:
		members := []json.RawMessage{}
		d.list(path, place, n, reflect.ValueOf(&members).Elem())
		raw, err := json.Marshal(members)
		return raw, err == nil
	}
	fields := map[string]json.RawMessage{}
	d.mapping(path, place, n, reflect.ValueOf(&fields).Elem())
	raw, err := json.Marshal(fields)
	return raw, err == nil
}

func (d *decoder) scalarJSON(path string, place, n *yaml.Node, wanted string) (json.RawMessage, bool) {
	text, tag, ok := d.scalar(path, place, n, wanted)
	if !ok {
		return nil, false
	}
	if tag == "!!bool" || tag == "!!int" || tag == "!!float" {
		if json.Valid([]byte(text)) {
			return json.RawMessage(text), true
		}
	}
	raw, err := json.Marshal(text)
	return raw, err == nil
}

func (d *decoder) list(path string, place, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.problem(place, "%s is %s: write a list, as [a, b]", path, what(n))
		return
	}
	members := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, member := range n.Content {
		if d.tooMuch {
			return
		}
		d.decode(fmt.Sprintf("%s[%d]", path, i), member, members.Index(i))
	}
	v.Set(members)
}

// eachKey goes through a map's keys; a key that stands there twice is a problem.
func (d *decoder) eachKey(path string, place, n *yaml.Node, use func(key string, at, value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		d.problem(place, "%s is %s: write a map, as {key: value}", orDocument(path), what(n))
		return
	}
	seen := map[string]int{}
	for i := 0; i+1 < len(n.Content) && !d.tooMuch; i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		for key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		switch {
		case key.Kind != yaml.ScalarNode:
			d.problem(n.Content[i], "%s: a key is text, not %s", orDocument(path), what(key))
			continue
		case key.ShortTag() == "!!merge":
			d.problem(n.Content[i], "%s: merge keys (<<) are not read: write the keys out, or repeat a whole value with an alias", orDocument(path))
			continue
		case seen[key.Value] > 0:
			d.problem(n.Content[i], "%s is given twice (first in line %d): keep one", below(path, key.Value), seen[key.Value])
			continue
		}
		seen[key.Value] = max(1, n.Content[i].Line)
		use(key.Value, n.Content[i], value)
	}
}

func orDocument(path string) string {
	if path == "" {
		return "the document"
	}
	return path
}

func (d *decoder) mapping(path string, place, n *yaml.Node, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		d.problem(place, "%s cannot be written in a document", path)
		return
	}
	filled := reflect.MakeMap(v.Type())
	d.eachKey(path, place, n, func(key string, _, value *yaml.Node) {
		one := reflect.New(v.Type().Elem()).Elem()
		d.decode(below(path, key), value, one)
		filled.SetMapIndex(reflect.ValueOf(key).Convert(v.Type().Key()), one)
	})
	v.Set(filled)
}

func (d *decoder) structure(path string, place, n *yaml.Node, v reflect.Value) {
	fields := fieldsOf(v.Type())
	d.eachKey(path, place, n, func(key string, at, value *yaml.Node) {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if i < 0 {
			d.problem(at, "%s is no key here: %s", below(path, key), meant(key, names(fields)))
			if i = slices.Index(names(fields), Nearest(key, names(fields))); i >= 0 {
				d.fail(fields[i].in(v))
			}
			return
		}
		d.decode(below(path, key), value, fields[i].in(v))
	})
}

// field is one key of a struct, as encoding/json sees it.
type field struct {
	name  string
	index []int
	kind  reflect.Type
}

// in gives the field's place; embedded pointers on the way are made.
func (f field) in(v reflect.Value) reflect.Value {
	for _, i := range f.index {
		if v.Kind() == reflect.Pointer {
			if v.IsNil() {
				v.Set(reflect.New(v.Type().Elem()))
			}
			v = v.Elem()
		}
		v = v.Field(i)
	}
	return v
}

// fieldsOf lists a struct's keys; embedded structs without a name lend theirs.
func fieldsOf(t reflect.Type) []field {
	var fields []field
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		embedded := f.Type
		if embedded.Kind() == reflect.Pointer {
			embedded = embedded.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && embedded.Kind() == reflect.Struct:
			for _, inner := range fieldsOf(embedded) {
				fields = append(fields, field{inner.name, append([]int{i}, inner.index...), inner.kind})
			}
		case !f.IsExported() || f.Tag.Get("doc") == "-":
		case name == "":
			fields = append(fields, field{f.Name, f.Index, f.Type})
		default:
			fields = append(fields, field{name, f.Index, f.Type})
		}
	}
	return fields
}

func names(fields []field) []string {
	all := make([]string, 0, len(fields))
	for _, f := range fields {
		all = append(all, f.name)
	}
	return all
}
