package experiments

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// Options is what a document may refer to. The parser itself reads nothing:
// what is nil here makes its references problems.
type Options struct {
	// Vars are the values of ${var:name}. They are shown; they are no secrets.
	Vars map[string]string
	// Getenv gives the value of ${env:NAME}, a secret.
	Getenv func(name string) (string, bool)
	// ReadFile gives the content of ${file:PATH}, a secret. A relative path begins
	// at the document's own folder.
	ReadFile func(path string) ([]byte, error)
}

// substituted is a text with its references replaced.
type substituted struct {
	text    string
	whole   bool     // the text was nothing but one reference
	secrets []Secret // that stand in it
}

// schemes are what a reference can begin with.
var schemes = []string{"env", "file", "var"}

// substitute replaces ${env:NAME}, ${file:PATH} and ${var:name}; $${ is a
// literal ${. What does not resolve is in problems, by its name.
func (o Options) substitute(document, text string) (s substituted, problems []string) {
	var out strings.Builder
	rest := text
	for {
		at := strings.Index(rest, "${")
		if at < 0 {
			out.WriteString(rest)
			break
		}
		if at > 0 && rest[at-1] == '$' {
			out.WriteString(rest[:at-1] + "${")
			rest = rest[at+2:]
			continue
		}
		out.WriteString(rest[:at])
		name, after, closed := strings.Cut(rest[at+2:], "}")
		if !closed {
			problems = append(problems, "a reference begins with ${ and never ends: close it with }, or write $${ for a literal ${")
			break
		}
		value, secret, problem := o.resolve(document, name)
		if problem != "" {
			problems = append(problems, problem)
		}
		if secret.Value != "" {
			s.secrets = append(s.secrets, secret)
		}
		s.whole = at == 0 && rest == text && after == ""
		out.WriteString(value)
		rest = after
	}
	s.text = out.String()
	return s, problems
}

func (o Options) resolve(document, name string) (value string, secret Secret, problem string) {
	scheme, key, ok := strings.Cut(name, ":")
	if !ok || !slices.Contains(schemes, scheme) || key == "" {
		return "", secret, fmt.Sprintf("${%s} is no reference: write ${env:NAME}, ${file:PATH} or ${var:name}, or $${%s} for that text itself", name, name)
	}
	switch scheme {
	case "var":
		value, ok := o.Vars[key]
		if !ok {
			return "", secret, fmt.Sprintf("${var:%s} has no value: give it with --var %s=VALUE%s", key, key, also(key, o.Vars))
		}
		return value, secret, ""
	case "env":
		if o.Getenv != nil {
			if value, ok := o.Getenv(key); ok {
				return value, Secret{Name: name, Value: value}, ""
			}
		}
		return "", secret, fmt.Sprintf("${env:%s} has no value: set the environment variable %s", key, key)
	}
	return o.resolveFile(document, key)
}

// resolveFile names the secret by an absolute path: undo reads the file again,
// perhaps from another folder.
func (o Options) resolveFile(document, path string) (value string, secret Secret, problem string) {
	if o.ReadFile == nil {
		return "", secret, fmt.Sprintf("${file:%s} has no value: files are not read here", path)
	}
	whole := path
	if !filepath.IsAbs(path) && document != "-" {
		whole = filepath.Join(filepath.Dir(document), path)
	}
	whole, err := filepath.Abs(whole)
	var content []byte
	if err == nil {
		content, err = o.ReadFile(whole)
	}
	if err != nil {
		return "", secret, fmt.Sprintf("${file:%s} has no value: %v", path, err)
	}
	value = strings.TrimRight(string(content), "\r\n")
	return value, Secret{Name: "file:" + whole, Value: value}, ""
}

func also(key string, vars map[string]string) string {
	if n := Nearest(key, slices.Collect(maps.Keys(vars))); n != "" {
		return fmt.Sprintf(" (you gave %q: was that meant?)", n)
	}
	return ""
}
