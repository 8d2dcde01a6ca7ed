package experiments

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"cel.dev/cel-go/cel"
	"go.yaml.in/yaml/v3"
)

// File is one file's bytes; Name is for messages ("-" for standard input).
type File struct {
	Name string
	Text []byte
}

// Parsed is what files say.
type Parsed struct {
	Experiments []Experiment
	Secrets     Secrets // of all of them
}

// maxFile bounds one file: an experiment is written by hand.
const maxFile = 4 << 20

// What stands where the author said nothing.
const (
	DefaultBefore   = Duration(10 * time.Second)
	DefaultAfter    = Duration(30 * time.Second)
	DefaultEvery    = Duration(time.Second)
	DefaultBlind    = Duration(10 * time.Second)
	DefaultTargets  = 10
	DefaultDuration = Duration(time.Hour)
)

// Parse reads experiments, any number of documents a file, strictly, and gives
// every problem at once, in the order of the files and lines. Experiments are
// to be used only when there are no problems. It reads nothing itself: see Options.
func Parse(files []File, catalog Catalog, options Options) (Parsed, []Problem) {
	p := parser{catalog: catalog, options: options, envs: map[string]*cel.Env{}}
	for _, f := range files {
		p.file(f)
	}
	if len(files) == 0 {
		p.problems = append(p.problems, Problem{File: "-", Line: 1, Column: 1, Problem: "no file was given"})
	}
	return Parsed{p.experiments, p.secrets}, p.problems
}

type parser struct {
	catalog     Catalog
	options     Options
	experiments []Experiment
	secrets     Secrets
	problems    []Problem
	envs        map[string]*cel.Env // by probe kind
}

func (p *parser) file(f File) {
	if found := unreadable(f); found != nil {
		p.problems = append(p.problems, *found)
		return
	}
	var mine []Problem
	documents := 0
	reader := yaml.NewDecoder(bytes.NewReader(f.Text))
	for {
		var node yaml.Node
		err := reader.Decode(&node)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			documents++
			mine = append(mine, malformed(f, err))
			break
		}
		if len(node.Content) == 0 || isNull(node.Content[0]) {
			continue // nothing between two ---
		}
		documents++
		experiment, problems := p.document(f, node.Content[0])
		mine = append(mine, problems...)
		p.experiments = append(p.experiments, experiment)
		for _, secret := range experiment.Secrets {
			p.secrets = p.secrets.with(secret)
		}
	}
	if documents == 0 {
		mine = append(mine, Problem{File: f.Name, Line: 1, Column: 1, Problem: "there is no experiment in it: `faultline init KIND` prints one to begin with"})
	}
	slices.SortStableFunc(mine, func(a, b Problem) int { return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column)) })
	p.problems = append(p.problems, mine...)
}

// unreadable finds what no YAML may hold, at its place.
func unreadable(f File) *Problem {
	if len(f.Text) > maxFile {
		return &Problem{File: f.Name, Line: 1, Column: 1, Problem: fmt.Sprintf("the file has %d bytes; at most %d are read: is it an experiment?", len(f.Text), maxFile)}
	}
	line, column := 1, 1
	for rest := f.Text; len(rest) > 0; {
		r, size := utf8.DecodeRune(rest)
		switch {
		case r == utf8.RuneError && size == 1:
			return &Problem{File: f.Name, Line: line, Column: column, Problem: "this is no UTF-8 text: save the file as UTF-8"}
		case r == '\n':
			line, column = line+1, 0
		case r < ' ' && r != '\t' && r != '\r', r == 0x7f:
			return &Problem{File: f.Name, Line: line, Column: column, Problem: fmt.Sprintf("there is a control character (%U): write it in a quoted text, as \"\\x%02x\"", r, r)}
		}
		column++
		rest = rest[size:]
	}
	return nil
}

// yamlLine takes the line out of the library's text: it gives no other way.
var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

func malformed(f File, err error) Problem {
	text := err.Error()
	found := yamlLine.FindStringSubmatch(text)
	line := 1
	if found != nil {
		text = text[len(found[0]):]
		if n, err := strconv.Atoi(found[1]); err == nil {
			line = n
		}
	}
	lines := bytes.Split(f.Text, []byte("\n"))
	line = min(max(1, line), len(lines))
	indent := lines[line-1][:len(lines[line-1])-len(bytes.TrimLeft(lines[line-1], " \t"))]
	column := 1 + len(indent)
	hint := yamlHint(text)
	if tab := bytes.IndexByte(indent, '\t'); tab >= 0 {
		column, hint = 1+tab, ": indent with spaces, not with tabs"
	}
	return Problem{File: f.Name, Line: line, Column: column, Problem: "this is not YAML: " + text + hint}
}

// yamlHint reads the library's text only to help people; nothing depends on it.
func yamlHint(text string) string {
	if strings.Contains(text, "mapping values are not allowed") {
		return ": a text with a colon and a space in it stands in quotes; keys of one map stand in one column"
	}
	return ": check quotes, brackets and indentation here and in the line above"
}

// document reads one experiment.
func (p *parser) document(f File, root *yaml.Node) (Experiment, []Problem) {
	d := &decoder{file: f.Name, options: p.options, places: map[string]*yaml.Node{}}
	d.special = map[reflect.Type]func(string, *yaml.Node, reflect.Value){
		reflect.TypeFor[Fault](): func(path string, n *yaml.Node, v reflect.Value) {
			v.Set(reflect.ValueOf(p.fault(d, path, n)))
		},
		reflect.TypeFor[Probe](): func(path string, n *yaml.Node, v reflect.Value) {
			v.Set(reflect.ValueOf(p.probe(d, path, n)))
		},
	}
	e := Experiment{
		Timeline: Timeline{Before: DefaultBefore, After: DefaultAfter},
		Limits:   Limits{Targets: DefaultTargets, Duration: DefaultDuration},
		Source:   fmt.Sprintf("%s:%d", f.Name, root.Line),
	}
	if !d.readable(root) {
		return e, d.problems
	}
	d.decode("", root, reflect.ValueOf(&e).Elem())
	e.Secrets = d.secrets
	c := checker{decoder: d, parser: p, e: &e}
	c.check()
	nameUnnamed(&e)
	return e, d.problems
}

// nameUnnamed calls what its author did not name by its kind; where that name
// is taken it gets a number, so that a report can tell them apart.
func nameUnnamed(e *Experiment) {
	var faults, probes []named
	for i := range e.Faults {
		faults = append(faults, named{&e.Faults[i].Name, e.Faults[i].Kind})
	}
	for i := range e.Probes {
		probes = append(probes, named{&e.Probes[i].Name, e.Probes[i].Kind})
	}
	nameEach(faults)
	nameEach(probes)
}

type named struct {
	name *string
	kind string
}

func nameEach(things []named) {
	taken := map[string]bool{"": true}
	for _, thing := range things {
		taken[*thing.name] = true
	}
	for _, thing := range things {
		if *thing.name != "" || thing.kind == "" {
			continue
		}
		for n := 1; taken[*thing.name]; n++ {
			*thing.name = thing.kind
			if n > 1 {
				*thing.name = fmt.Sprintf("%s %d", thing.kind, n)
			}
		}
		taken[*thing.name] = true
	}
}

// readable refuses what another version or another kind wrote: the rest of such
// a document is not looked at, for its keys may mean something else.
func (d *decoder) readable(root *yaml.Node) bool {
	before := len(d.problems)
	n, ok := d.enter("", root)
	if !ok || n.Kind != yaml.MappingNode {
		d.problem(root, "the document is %s: write an experiment, beginning with apiVersion: %s", what(n), APIVersion)
		return false
	}
	expected := map[string]string{"apiVersion": APIVersion, "kind": KindExperiment}
	found := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i].Value, n.Content[i+1]
		want, ours := expected[key]
		if !ours {
			continue
		}
		found[key] = true
		if value.Kind != yaml.ScalarNode || value.Value != want {
			d.problem(value, "%s is %s: this faultline reads %s and guesses at no other", key, what(value), want)
		}
	}
	for _, key := range []string{"apiVersion", "kind"} {
		if !found[key] {
			d.problem(root, "%s is missing: write %s: %s", key, key, expected[key])
		}
	}
	return len(d.problems) == before
}

// besideFault and besideProbe are the keys beside the one that is the kind.
type besideFault struct {
	Name      string    `json:"name"`
	At        Duration  `json:"at"`
	For       Duration  `json:"for"`
	OnRestart OnRestart `json:"on_restart"`
	Allow     []Door    `json:"allow"`
}

type besideProbe struct {
	Name     string    `json:"name"`
	Every    Duration  `json:"every"`
	Expect   string    `json:"expect"`
	Tolerate Tolerance `json:"tolerate"`
}

func (p *parser) fault(d *decoder, path string, n *yaml.Node) Fault {
	beside := besideFault{OnRestart: OnRestartStop}
	kinds := map[string]func() any{}
	for _, k := range p.catalog.Faults {
		kinds[k.Kind] = k.Settings
	}
	kind, settings := d.item(path, n, reflect.ValueOf(&beside).Elem(), "fault", kinds)
	return Fault{
		Name: beside.Name, Kind: kind, At: beside.At, For: beside.For, OnRestart: beside.OnRestart,
		Allow: beside.Allow, Settings: settings, Source: d.source(n),
	}
}

func (p *parser) probe(d *decoder, path string, n *yaml.Node) Probe {
	beside := besideProbe{Every: DefaultEvery, Tolerate: Tolerance{Blind: DefaultBlind}}
	kinds := map[string]func() any{}
	for _, k := range p.catalog.Probes {
		kinds[k.Kind] = k.Settings
	}
	kind, settings := d.item(path, n, reflect.ValueOf(&beside).Elem(), "probe", kinds)
	return Probe{
		Name: beside.Name, Kind: kind, Every: beside.Every, Expect: beside.Expect,
		Tolerate: beside.Tolerate, Settings: settings, Source: d.source(n),
	}
}

func (d *decoder) source(n *yaml.Node) string { return fmt.Sprintf("%s:%d", d.file, n.Line) }

// item reads one fault or probe: the keys beside, and the one key that is its kind.
func (d *decoder) item(path string, n *yaml.Node, beside reflect.Value, thing string, kinds map[string]func() any) (kind string, settings json.RawMessage) {
	place := n
	n, ok := d.enter(path, n)
	if !ok {
		return "", nil
	}
	d.depth++
	defer func() { d.depth-- }()
	fields := fieldsOf(beside.Type())
	unknown, two := false, false
	d.eachKey(path, place, n, func(key string, at, value *yaml.Node) {
		if i := slices.IndexFunc(fields, func(f field) bool { return f.name == key }); i >= 0 {
			d.decode(below(path, key), value, fields[i].in(beside))
			return
		}
		make, known := kinds[key]
		switch {
		case !known:
			unknown = true
			d.problem(at, "%s is neither a kind of %s nor a key beside it: %s", below(path, key), thing, meant(key, keysOf(fields, kinds)))
		case kind != "":
			two = true
			d.problem(at, "%s has two kinds, %s and %s: make two %ss of it", path, kind, key, thing)
		default:
			kind = key
			settings = d.settings(below(path, key), at, value, make())
		}
	})
	if kind == "" && !unknown && n.Kind == yaml.MappingNode {
		d.problem(place, "%s says no kind of %s: add the key of one, with its settings: %s", path, thing, strings.Join(keysOf(nil, kinds), ", "))
	}
	if two {
		return "", nil // which of them was meant is not known: no rule of either is applied
	}
	return kind, settings
}

func keysOf(fields []field, kinds map[string]func() any) []string {
	all := names(fields)
	for kind := range kinds {
		all = append(all, kind)
	}
	slices.Sort(all)
	return all
}

// settings reads what stands under a kind into the kind's own struct, lets that
// check itself, and gives its canonical JSON.
func (d *decoder) settings(path string, key, n *yaml.Node, into any) json.RawMessage {
	before := len(d.problems)
	d.failed = nil
	d.decode(path, n, reflect.ValueOf(into).Elem())
	d.places[path] = key // a problem of the whole is best shown at its kind
	for _, found := range d.checked(into, path, d.problems[before:]) {
		where := strings.TrimSuffix(path+"."+found.Field, ".")
		d.problem(d.at(where), "%s: %s", where, found.Problem)
	}
	if len(d.problems) > before {
		return nil
	}
	raw, err := json.Marshal(into)
	if err != nil {
		d.problem(key, "%s cannot be written down: %v", path, err)
	}
	return raw
}

// guesses stand for a number that could not be read, to find out whether what a
// check says depends on it.
var guesses = []int64{1, 1 << 40}

// checked is what settings find wrong with themselves. Where some of them could
// not be read, only what holds whatever they are: one mistake, one message.
func (d *decoder) checked(into any, path string, unread []Problem) []FieldProblem {
	c, ok := into.(Checker)
	if !ok {
		return nil
	}
	found := c.Check()
	if len(unread) == 0 {
		return found
	}
	found = slices.DeleteFunc(found, func(p FieldProblem) bool {
		where := path + "." + p.Field
		return p.Field == "" || !d.given(where) || slices.ContainsFunc(unread, func(u Problem) bool { return strings.HasPrefix(u.Problem, where) })
	})
	for _, guess := range guesses {
		for _, v := range d.failed {
			setNumber(v, guess)
		}
		again := c.Check()
		found = slices.DeleteFunc(found, func(p FieldProblem) bool {
			return !slices.ContainsFunc(again, func(q FieldProblem) bool { return q.Field == p.Field })
		})
	}
	return found
}

// setNumber may overflow: any other number will do.
func setNumber(v reflect.Value, n int64) {
	switch {
	case v.CanInt():
		v.SetInt(n)
	case v.CanUint():
		v.SetUint(uint64(n))
	case v.CanFloat():
		v.SetFloat(float64(n))
	}
}
