package experiments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// MarshalDocument writes an experiment as the YAML document that parses to it
// again. Secrets stand in it as their references, never as values.
func MarshalDocument(e Experiment) ([]byte, error) {
	w := documentWriter{secrets: e.Secrets}
	root := &yaml.Node{Kind: yaml.MappingNode}
	top := reflect.ValueOf(e)
	for _, f := range fieldsOf(top.Type()) {
		if f.name == "probes" || f.name == "faults" {
			continue
		}
		if err := w.add(root, f.name, f.in(top).Interface()); err != nil {
			return nil, err
		}
	}
	if err := w.items(root, e); err != nil {
		return nil, err
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("write experiment %q as YAML: %w", e.Name, err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("write experiment %q as YAML: %w", e.Name, err)
	}
	return out.Bytes(), nil
}

type documentWriter struct{ secrets Secrets }

func (w documentWriter) items(root *yaml.Node, e Experiment) error {
	probes, faults := &yaml.Node{Kind: yaml.SequenceNode}, &yaml.Node{Kind: yaml.SequenceNode}
	for _, p := range e.Probes {
		item := &yaml.Node{Kind: yaml.MappingNode}
		probes.Content = append(probes.Content, item)
		if err := w.fields(item, besideProbe{p.Name, p.Every, p.Expect, p.Tolerate}, p.Kind, p.Settings); err != nil {
			return err
		}
	}
	for _, f := range e.Faults {
		item := &yaml.Node{Kind: yaml.MappingNode}
		faults.Content = append(faults.Content, item)
		if err := w.fields(item, besideFault{f.Name, f.At, f.For, f.OnRestart, f.Allow}, f.Kind, f.Settings); err != nil {
			return err
		}
	}
	for _, list := range []struct {
		key  string
		node *yaml.Node
	}{{"probes", probes}, {"faults", faults}} {
		if len(list.node.Content) > 0 {
			root.Content = append(root.Content, text(list.key), list.node)
		}
	}
	return nil
}

// fields writes the keys beside a kind, and the kind itself as the second one.
func (w documentWriter) fields(item *yaml.Node, beside any, kind string, settings json.RawMessage) error {
	v := reflect.ValueOf(beside)
	for i, f := range fieldsOf(v.Type()) {
		if i == 1 {
			if err := w.add(item, kind, settings); err != nil {
				return err
			}
		}
		value := f.in(v)
		if f.name != "at" && value.IsZero() {
			continue // `at` reads better when it is said
		}
		if err := w.add(item, f.name, value.Interface()); err != nil {
			return err
		}
	}
	return nil
}

// add writes one key; what is empty is left out.
func (w documentWriter) add(to *yaml.Node, key string, value any) error {
	raw, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	if s := string(raw); s == "null" || s == `""` {
		return nil
	}
	node, err := w.node(raw)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, err)
	}
	to.Content = append(to.Content, text(key), node)
	return nil
}

func text(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(s)
	return n
}

// node turns JSON into YAML, in the order in which the JSON has it.
func (w documentWriter) node(raw json.RawMessage) (*yaml.Node, error) {
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	return w.next(decoder)
}

func (w documentWriter) next(decoder *json.Decoder) (*yaml.Node, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, err
	}
	switch t := token.(type) {
	case json.Delim:
		return w.collection(decoder, t)
	case string:
		return w.text(t), nil
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: t.String()}, nil
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: fmt.Sprint(t)}, nil
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}, nil
}

// collection reads to the closing bracket. A member that is null says nothing, and is left out.
func (w documentWriter) collection(decoder *json.Decoder, open json.Delim) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	if open == '{' {
		n = &yaml.Node{Kind: yaml.MappingNode}
	}
	for decoder.More() {
		var key string
		if open == '{' {
			token, err := decoder.Token()
			if err != nil {
				return nil, err
			}
			key, _ = token.(string)
		}
		member, err := w.next(decoder)
		if err != nil {
			return nil, err
		}
		switch {
		case open != '{':
			n.Content = append(n.Content, member)
		case member.Tag != "!!null":
			n.Content = append(n.Content, text(key), member)
		}
	}
	_, err := decoder.Token()
	return n, err
}

// text writes a string so that it is read back as itself: a literal ${ is
// escaped, a secret's value becomes its reference.
func (w documentWriter) text(s string) *yaml.Node {
	clean := w.secrets.Redact(s)
	references := w.secrets.Names()
	var out strings.Builder
	for clean != "" {
		at := strings.Index(clean, "${")
		if at < 0 {
			out.WriteString(clean)
			break
		}
		name, rest, closed := strings.Cut(clean[at+2:], "}")
		if closed && slices.Contains(references, name) {
			out.WriteString(clean[:at] + reference(name))
			clean = rest
			continue
		}
		out.WriteString(clean[:at] + "$${")
		clean = clean[at+2:]
	}
	return text(out.String())
}
