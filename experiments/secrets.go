package experiments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Secret is the value of one reference of a document, and the reference itself:
// "env:TOKEN" or "file:/path".
type Secret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Reference is how the author wrote it.
func (s Secret) Reference() string { return "${" + s.Name + "}" }

// Secrets are all values that must not be shown or written down.
type Secrets []Secret

// shortest is the length from which a value is taken out of longer texts too. A
// shorter one ("1", "yes") would take half the text with it.
const shortest = 4

// Names are the references, for a record from which Restore can put the values back.
func (s Secrets) Names() []string {
	names := make([]string, 0, len(s))
	for _, one := range s {
		if !slices.Contains(names, one.Name) {
			names = append(names, one.Name)
		}
	}
	return names
}

// Redact puts the reference in the place of every value.
func (s Secrets) Redact(text string) string {
	for _, one := range s.longestFirst() {
		switch {
		case one.Value == "":
		case text == one.Value:
			return one.Reference()
		case len(one.Value) >= shortest:
			text = strings.ReplaceAll(text, one.Value, one.Reference())
		}
	}
	return text
}

// longestFirst: a value that contains another one is taken out whole.
func (s Secrets) longestFirst() Secrets {
	sorted := slices.Clone(s)
	slices.SortStableFunc(sorted, func(a, b Secret) int { return len(b.Value) - len(a.Value) })
	return sorted
}

// RedactJSON does the same to every string of a JSON document, keys too; numbers
// and the order of keys stay as they are. What is no JSON is redacted as text.
func (s Secrets) RedactJSON(raw []byte) []byte {
	if len(s) == 0 {
		return raw
	}
	out, err := mapStrings(raw, s.Redact)
	if err != nil {
		return []byte(s.Redact(string(raw)))
	}
	return out
}

// Restore puts values back in the place of the named references, and of no
// others; it gives the names that cannot be resolved any more.
func Restore(raw json.RawMessage, names []string, lookup func(string) (string, bool)) (json.RawMessage, []string) {
	values := map[string]string{}
	var missing []string
	used := string(raw)
	for _, name := range names {
		if !strings.Contains(used, "${"+name+"}") {
			continue
		}
		value, ok := lookup(name)
		if !ok {
			missing = append(missing, name)
		}
		values[name] = value
	}
	if len(missing) > 0 || len(values) == 0 {
		return raw, missing
	}
	out, err := mapStrings(raw, func(text string) string {
		for name, value := range values {
			text = strings.ReplaceAll(text, "${"+name+"}", value)
		}
		return text
	})
	if err != nil {
		return raw, names // no JSON: nothing was put back
	}
	return out, nil
}

// mapStrings rewrites the strings of a JSON document and copies everything else
// byte by byte.
func mapStrings(raw []byte, change func(string) string) ([]byte, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("read JSON: %.40q is none", raw)
	}
	var out bytes.Buffer
	for i := 0; i < len(raw); {
		if raw[i] != '"' {
			out.WriteByte(raw[i])
			i++
			continue
		}
		end := stringEnd(raw, i)
		var text string
		if err := json.Unmarshal(raw[i:end], &text); err != nil {
			return nil, err
		}
		if changed := change(text); changed != text {
			quoted, err := json.Marshal(changed)
			if err != nil {
				return nil, err
			}
			out.Write(quoted)
		} else {
			out.Write(raw[i:end])
		}
		i = end
	}
	return out.Bytes(), nil
}

// stringEnd is where the string that begins at i ends; the document is valid.
func stringEnd(raw []byte, i int) int {
	for i++; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}
