package experiments

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// ComposeSettings turns the settings of a kind, given as key=value words (of a
// command line), into JSON, which is YAML too. The type of each value is that of
// its place: name=123 is text, pid=123 a number. A key is a path
// (compose.service=web); where it begins with no setting but with a key of
// `select`, that is meant. What fits nowhere stays as it is, for the parser to refuse.
func ComposeSettings(settings any, words []string) (json.RawMessage, error) {
	root := map[string]any{}
	t := reflect.TypeOf(settings).Elem()
	for _, word := range words {
		key, value, ok := strings.Cut(word, "=")
		if !ok || key == "" {
			return nil, fmt.Errorf("read %q: write it as key=value", word)
		}
		path := strings.Split(key, ".")
		kind, path := resolve(t, path)
		if kind == nil {
			if selected, longer := resolve(t, append([]string{"select"}, path...)); selected != nil {
				kind, path = selected, longer
			}
		}
		v, err := typed(kind, value)
		if err == nil {
			err = put(root, path, v)
		}
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", word, err)
		}
	}
	raw, err := json.Marshal(root)
	if err != nil {
		return nil, fmt.Errorf("write the settings: %w", err)
	}
	return raw, nil
}

// resolve gives the type of the place at a path, nil when there is none, and the
// path itself: the keys of a map may hold dots.
func resolve(t reflect.Type, path []string) (reflect.Type, []string) {
	for i, key := range path {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if t.Kind() == reflect.Map {
			return t.Elem(), append(slices.Clone(path[:i]), strings.Join(path[i:], "."))
		}
		if t.Kind() != reflect.Struct || readsItself(t) {
			return nil, path
		}
		fields := fieldsOf(t)
		at := slices.IndexFunc(fields, func(f field) bool { return f.name == key })
		if at < 0 {
			return nil, path
		}
		t = fields[at].kind
	}
	return t, path
}

func readsItself(t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(jsonUnmarshaler) || reflect.PointerTo(t).Implements(textUnmarshaler)
}

// typed reads a word as its place wants it.
func typed(t reflect.Type, word string) (any, error) {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	isText := t == nil || t.Kind() == reflect.String && !readsItself(t)
	if isText {
		return word, nil
	}
	if strings.HasPrefix(word, "[") || strings.HasPrefix(word, "{") {
		var v any
		if err := yaml.Unmarshal([]byte(word), &v); err != nil {
			return nil, fmt.Errorf("read a list or map: %w", err)
		}
		return v, nil
	}
	if t.Kind() == reflect.Slice && !readsItself(t) {
		var list []any
		for _, member := range strings.Split(word, ",") {
			one, err := typed(t.Elem(), member)
			if err != nil {
				return nil, err
			}
			list = append(list, one)
		}
		return list, nil
	}
	if word == "true" || word == "false" || word != "" && strings.Trim(word, "0123456789.-") == "" && json.Valid([]byte(word)) {
		return json.RawMessage(word), nil
	}
	return word, nil
}

// put sets the value at a path. A list that is given again grows.
func put(to map[string]any, path []string, value any) error {
	old, given := to[path[0]]
	if len(path) > 1 {
		if !given {
			old = map[string]any{}
			to[path[0]] = old
		}
		inner, ok := old.(map[string]any)
		if !ok {
			return fmt.Errorf("%s has a value already", path[0])
		}
		return put(inner, path[1:], value)
	}
	more, isList := value.([]any)
	list, wasList := old.([]any)
	switch {
	case !given:
		to[path[0]] = value
	case isList && wasList:
		to[path[0]] = append(list, more...)
	default:
		return fmt.Errorf("%s is given twice", path[0])
	}
	return nil
}
