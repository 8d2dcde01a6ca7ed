package experiments

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Secret is the value that a reference had when the document was read. Name is
// the reference without its braces: "env:TOKEN", "file:/run/token".
type Secret struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Reference is how the author wrote it.
func (s Secret) Reference() string { return reference(s.Name) }

func reference(name string) string { return "${" + name + "}" }

// Secrets are the values that may stand in no journal, report or log. They go
// to the holder through its pipe and nowhere else.
type Secrets []Secret

// shortest is the length from which a value is taken out of longer texts too: a
// shorter one ("1", "yes") would take half the text with it.
const shortest = 4

// String gives the name only, so that no format verb prints a value.
func (s Secret) String() string { return s.Name }

// GoString is String, for %#v.
func (s Secret) GoString() string { return s.Name }

// String gives the names only.
func (s Secrets) String() string { return fmt.Sprint(s.Names()) }

// GoString is String, for %#v.
func (s Secrets) GoString() string { return s.String() }

// Names are the references, sorted, for a record from which Restore can put the values back.
func (s Secrets) Names() []string {
	names := []string{}
	for _, one := range s {
		if !slices.Contains(names, one.Name) {
			names = append(names, one.Name)
		}
	}
	slices.Sort(names)
	return names
}

// with adds one secret; the same one twice is one, and nothing hides nothing.
func (s Secrets) with(one Secret) Secrets {
	if one.Value == "" || slices.Contains(s, one) {
		return s
	}
	return append(s, one)
}

// Redact puts each secret's reference in the place of its value, also where the
// value was escaped for JSON, Go or a URL. References that stand there already stay.
func (s Secrets) Redact(text string) string {
	if len(s) == 0 || text == "" {
		return text
	}
	return s.Redactor()(text)
}

// Redactor is Redact, prepared for many texts and safe for concurrent use.
func (s Secrets) Redactor() func(string) string {
	if len(s) == 0 {
		return func(text string) string { return text }
	}
	replacer := s.replacer()
	return func(text string) string {
		for _, one := range s {
			if text == one.Value {
				return one.Reference()
			}
		}
		text = replacer.Replace(text)
		if strings.Contains(text, cut) {
			text = s.redactCut(text)
		}
		return text
	}
}

// cut is how a message ends a text that is too long for it.
const cut = "…"

// redactCut finds the beginning of a secret where a text was cut within it.
func (s Secrets) redactCut(text string) string {
	for _, one := range s {
		for _, form := range forms(one.Value) {
			for n := len(form) - 1; n >= shortest; n-- {
				text = strings.ReplaceAll(text, form[:n]+cut, one.Reference()+cut)
			}
		}
	}
	return text
}

// replacer tries the longest value first: one secret may be a part of another.
func (s Secrets) replacer() *strings.Replacer {
	type pair struct{ from, to string }
	var pairs []pair
	for _, one := range s {
		pairs = append(pairs, pair{one.Reference(), one.Reference()})
		if len(one.Value) < shortest {
			continue
		}
		for _, form := range forms(one.Value) {
			pairs = append(pairs, pair{form, one.Reference()})
		}
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return len(b.from) - len(a.from) })
	var flat []string
	for _, p := range pairs {
		flat = append(flat, p.from, p.to)
	}
	return strings.NewReplacer(flat...)
}

// forms is a value as it is and as it is written inside others' strings.
func forms(value string) []string {
	unquoted := func(quoted string) string { return quoted[1 : len(quoted)-1] }
	all := []string{value, url.QueryEscape(value), url.PathEscape(value), unquoted(strconv.Quote(value))}
	if asJSON, err := json.Marshal(value); err == nil {
		all = append(all, unquoted(string(asJSON)))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ours are the keys of our own records whose values are our own words: an
// event's type or an injection's kind stays what it is even when somebody's
// secret is "process", or the record could not be read back to heal by it.
var ours = map[string]bool{
	"type": true, "kind": true, "id": true, "phase": true, "abort": true, "state": true, "schema": true, "apiVersion": true,
	"keeper": true, "fault": true, "target": true, "on_restart": true, "allow": true, "leases": true, "verdict": true,
	"run": true, "machine": true, "boot_id": true, "holder": true, "parent": true, "secrets": true, "version": true,
	"at": true, "wall": true, "started": true, "for": true, "every": true, "before": true, "during": true, "after": true,
	"outage": true, "recover": true, "blind": true, "jitter": true, "duration": true, "share": true, "length": true, "lands": true,
	"pick": true, "members": true, "healthy": true,
}

// authors are the keys below which every text is the author's (or is put back
// by Restore before anybody reads it), whatever the keys are called.
var authors = map[string]bool{"settings": true, "target": true}

// RedactJSON redacts every text value of a JSON document but those under keys
// that hold our own words; all else stays byte by byte. What is no JSON is redacted as text.
func (s Secrets) RedactJSON(raw []byte) []byte {
	if len(s) == 0 {
		return raw
	}
	redact := s.Redactor()
	clean, err := rewriteStrings(raw, func(path []string, text string) string {
		if ourWord(path) {
			return text
		}
		return redact(text)
	})
	if err != nil {
		return []byte(redact(string(raw)))
	}
	return clean
}

func ourWord(path []string) bool {
	if len(path) == 0 || slices.ContainsFunc(path[:len(path)-1], func(key string) bool { return authors[key] }) {
		return false
	}
	return ours[path[len(path)-1]]
}

// Restore puts values back for the recorded references, and for no others. A
// reference that is used and cannot be looked up is missing, by its name; then
// nothing was put back.
func Restore(raw json.RawMessage, names []string, lookup func(reference string) (string, bool)) (restored json.RawMessage, missing []string) {
	var pairs []string
	for _, name := range names {
		if !bytes.Contains(raw, []byte(reference(name))) {
			continue
		}
		value, ok := lookup(name)
		if !ok {
			missing = append(missing, name)
		}
		pairs = append(pairs, reference(name), value)
	}
	if len(pairs) == 0 || len(missing) > 0 {
		return raw, missing
	}
	replacer := strings.NewReplacer(pairs...)
	whole, err := rewriteStrings(raw, func(_ []string, text string) string { return replacer.Replace(text) })
	if err != nil {
		return raw, names // no JSON: nothing was put back
	}
	return whole, nil
}

// rewriteStrings copies a JSON document and rewrites its text values; path is
// the keys above each, a list's members have the list's own.
func rewriteStrings(raw []byte, rewrite func(path []string, text string) string) ([]byte, error) {
	if !json.Valid(raw) {
		return nil, fmt.Errorf("read JSON: %d bytes that are none", len(raw))
	}
	w := jsonRewriter{rest: raw, rewrite: rewrite}
	if err := w.value(nil); err != nil {
		return nil, err
	}
	w.out.Write(w.rest)
	return w.out.Bytes(), nil
}

// jsonRewriter walks over a document that is known to be valid.
type jsonRewriter struct {
	rest    []byte
	out     bytes.Buffer
	rewrite func(path []string, text string) string
}

func (w *jsonRewriter) copy(n int) {
	w.out.Write(w.rest[:n])
	w.rest = w.rest[n:]
}

// next copies blanks, and gives what comes then.
func (w *jsonRewriter) next() byte {
	w.copy(len(w.rest) - len(bytes.TrimLeft(w.rest, " \t\r\n")))
	return w.rest[0]
}

func (w *jsonRewriter) value(path []string) error {
	switch w.next() {
	case '{':
		return w.members('}', func() error {
			key, err := w.key()
			if err != nil {
				return err
			}
			return w.value(append(slices.Clip(path), key))
		})
	case '[':
		return w.members(']', func() error { return w.value(path) })
	case '"':
		return w.text(path)
	}
	end := bytes.IndexAny(w.rest, ",]} \t\r\n")
	if end < 0 {
		end = len(w.rest)
	}
	w.copy(end)
	return nil
}

func (w *jsonRewriter) members(last byte, member func() error) error {
	w.copy(1)
	for w.next() != last {
		if w.rest[0] == ',' {
			w.copy(1)
			continue
		}
		if err := member(); err != nil {
			return err
		}
	}
	w.copy(1)
	return nil
}

func (w *jsonRewriter) key() (string, error) {
	var key string
	end := stringEnd(w.rest)
	if err := json.Unmarshal(w.rest[:end], &key); err != nil {
		return "", fmt.Errorf("read a key: %w", err)
	}
	w.copy(end)
	w.next()
	w.copy(1) // the colon
	return key, nil
}

func (w *jsonRewriter) text(path []string) error {
	var text string
	end := stringEnd(w.rest)
	if err := json.Unmarshal(w.rest[:end], &text); err != nil {
		return fmt.Errorf("read a text: %w", err)
	}
	changed := w.rewrite(path, text)
	if changed == text {
		w.copy(end)
		return nil
	}
	quoted, err := json.Marshal(changed)
	if err != nil {
		return fmt.Errorf("write a text: %w", err)
	}
	w.out.Write(quoted)
	w.rest = w.rest[end:]
	return nil
}

// stringEnd is where the string at the beginning of raw ends.
func stringEnd(raw []byte) int {
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(raw)
}
