package selector

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// Container names containers. All keys that are given must hold.
type Container struct {
	Name    string            `json:"name,omitempty"`    // exact
	ID      string            `json:"id,omitempty"`      // in full, or an unambiguous beginning of at least 6 digits
	Labels  map[string]string `json:"labels,omitempty"`  // each exact
	Image   string            `json:"image,omitempty"`   // as the container was created from it, or without its tag
	Compose *Compose          `json:"compose,omitempty"` //
	Regexp  string            `json:"regexp,omitempty"`  // on the name
}

// Compose names containers by what compose made them for.
type Compose struct {
	Project string `json:"project,omitempty"`
	Service string `json:"service,omitempty"`
}

// leastID is the shortest beginning of an ID that is taken for one.
const leastID = 6

// IsZero says that no key is given.
func (s Container) IsZero() bool {
	return s.Name == "" && s.ID == "" && len(s.Labels) == 0 && s.Image == "" && s.Compose == nil && s.Regexp == ""
}

// Check says what cannot be selected by. Field names begin below the selector itself.
func (s Container) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	problem := func(field, format string, args ...any) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: fmt.Sprintf(format, args...)})
	}
	if s.IsZero() {
		problem("", "selects nothing: give at least one of name, id, labels, image, compose, regexp")
	}
	if strings.HasPrefix(s.Name, "/") {
		problem("name", "%q begins with a slash: write the name as `docker ps` shows it", s.Name)
	}
	if s.ID != "" && (len(s.ID) < leastID || strings.Trim(s.ID, "0123456789abcdef") != "") {
		problem("id", "%q is no container ID: write all of it or at least its first %d hexadecimal digits", s.ID, leastID)
	}
	if s.Compose != nil && *s.Compose == (Compose{}) {
		problem("compose", "selects nothing: give project, service or both")
	}
	if _, err := regexp.Compile(s.Regexp); err != nil {
		problem("regexp", "%v", err)
	}
	return problems
}

// Matcher makes the selector ready to be asked.
func (s Container) Matcher() (func(platform.Container) bool, error) {
	named, err := regexp.Compile(s.Regexp)
	if err != nil {
		return nil, fmt.Errorf("select containers by regexp: %w", err)
	}
	return func(c platform.Container) bool {
		return (s.Name == "" || c.Name == s.Name) &&
			strings.HasPrefix(c.ID, s.ID) &&
			hasLabels(c, s.Labels) &&
			(s.Image == "" || c.Image == s.Image || untagged(c.Image) == s.Image) &&
			(s.Compose == nil || s.Compose.matches(c)) &&
			named.MatchString(c.Name)
	}, nil
}

func (s Compose) matches(c platform.Container) bool {
	return c.Project != "" && (s.Project == "" || c.Project == s.Project) && (s.Service == "" || c.Service == s.Service)
}

func hasLabels(c platform.Container, want map[string]string) bool {
	for key, value := range want {
		if got, ok := c.Labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// untagged is an image's name without digest and tag. A colon before the last slash is a registry's port.
func untagged(image string) string {
	name, _, _ := strings.Cut(image, "@")
	if tag := strings.LastIndexByte(name, ':'); tag > strings.LastIndexByte(name, '/') {
		name = name[:tag]
	}
	return name
}
