package experiments_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// shopSettings has one of every type that settings can have.
type shopSettings struct {
	Select shopSelect           `json:"select"`
	Pick   experiments.Pick     `json:"pick,omitzero"`
	Delay  experiments.Duration `json:"delay,omitempty"`
	Jitter experiments.Duration `json:"jitter,omitempty"`
	Loss   *experiments.Share   `json:"loss,omitempty"`
	To     []string             `json:"to,omitempty"`
	Signal shopSignal           `json:"signal,omitempty"`
	Level  shopLevel            `json:"level,omitempty"`
	Port   uint16               `json:"port,omitempty"`
	Factor float64              `json:"factor,omitempty"`
	Force  bool                 `json:"force,omitempty"`
	shopCommon
}

// shopCommon lends its keys.
type shopCommon struct {
	Note string `json:"note,omitempty"`
}

type shopSelect struct {
	Name   string            `json:"name,omitempty"`
	PID    int               `json:"pid,omitempty"`
	Labels map[string]string `json:"labels,omitempty"`
	Shop   *shopSelect       `json:"shop,omitempty"`
}

// shopSignal reads itself from JSON, a number or a text.
type shopSignal string

func (s *shopSignal) UnmarshalJSON(raw []byte) error {
	text := strings.TrimPrefix(strings.Trim(string(raw), `"`), "SIG")
	if text != "TERM" && text != "15" {
		return fmt.Errorf("%q is no signal", text)
	}
	*s = "SIGTERM"
	return nil
}

// shopLevel reads itself from text.
type shopLevel string

func (l *shopLevel) UnmarshalText(text []byte) error {
	if string(text) != "high" && string(text) != "low" {
		return fmt.Errorf("%q is no level: write high or low", text)
	}
	*l = shopLevel(text)
	return nil
}

func (s shopSettings) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	if s.Pick.IsZero() && s.Select.Name == "" {
		problems = append(problems, experiments.FieldProblem{Field: "pick", Problem: "is missing"})
	}
	switch longest := experiments.Duration(274 * time.Second); {
	case s.Delay < 0:
		problems = append(problems, experiments.FieldProblem{Field: "delay", Problem: "is negative"})
	case s.Delay > longest:
		problems = append(problems, experiments.FieldProblem{Field: "delay", Problem: "is longer than 274s"})
	}
	if s.Jitter > s.Delay {
		problems = append(problems, experiments.FieldProblem{Field: "jitter", Problem: "is longer than the delay"})
	}
	for i, to := range s.To {
		if to == "" {
			problems = append(problems, experiments.FieldProblem{Field: fmt.Sprintf("to[%d]", i), Problem: "names nobody"})
		}
	}
	return problems
}

type bellSettings struct {
	URL     string               `json:"url"`
	Headers map[string]string    `json:"headers,omitempty"`
	Timeout experiments.Duration `json:"timeout,omitempty"`
}

type wordsSettings struct {
	Command []string `json:"command"`
}

// shop is a catalog of kinds that only these tests know.
func shop() experiments.Catalog {
	return experiments.Catalog{
		Faults: []experiments.FaultKind{
			{Kind: "shop.break", Summary: "break a shop", Settings: func() any { return new(shopSettings) }, Undoable: true},
			{Kind: "shop.burn", Summary: "burn a shop", Settings: func() any { return new(shopSettings) }},
		},
		Probes: []experiments.ProbeKind{
			{
				Kind: "bell", Summary: "ring", Expect: "status == 200",
				Settings: func() any { return &bellSettings{Timeout: experiments.Duration(time.Second)} },
				Reading: experiments.Reading{
					"status": int64(200), "latency": 12 * time.Millisecond, "body": "ok", "up": true, "load": 0.5,
					"headers": map[string]string{"a": "b"}, "error": "",
				},
			},
			{
				Kind: "words", Summary: "ask", Expect: "code == 0", MaxRate: 200,
				Settings: func() any { return new(wordsSettings) },
				Reading:  experiments.Reading{"code": int64(0), "stdout": "ok", "error": ""},
			},
		},
	}
}

// options resolve what the tests refer to, and nothing of this machine.
func options() experiments.Options {
	environment := map[string]string{
		"TOKEN": "hunter2-very-secret", "URL": "http://shop.test/", "LENGTH": "20s", "COUNT": "3", "PORT": "8080",
		"ODD": "pa\"ss\\wo\nrd <&>", "KIND": "shop", "SHORT": "abc", "EMPTY": "", "FORCE": "true", "HALF": "0.5", "DIGITS": "0123",
	}
	return experiments.Options{
		Vars: map[string]string{"victims": "2", "name": "web", "share": "50%"},
		Getenv: func(name string) (string, bool) {
			value, ok := environment[name]
			return value, ok
		},
		ReadFile: func(path string) ([]byte, error) {
			if strings.HasSuffix(path, "/docs/token") {
				return []byte("from-a-file\n"), nil
			}
			return nil, fs.ErrNotExist
		},
	}
}

func parse(t testing.TB, text string) (experiments.Parsed, []experiments.Problem) {
	t.Helper()
	return experiments.Parse([]experiments.File{{Name: "/docs/shop.yaml", Text: []byte(text)}}, shop(), options())
}

// parseOne is for documents that must be right.
func parseOne(t testing.TB, text string) experiments.Experiment {
	t.Helper()
	parsed, problems := parse(t, text)
	for _, p := range problems {
		t.Error(p)
	}
	if len(problems) > 0 || len(parsed.Experiments) != 1 {
		t.Fatalf("parsed %d experiments with %d problems", len(parsed.Experiments), len(problems))
	}
	return parsed.Experiments[0]
}

func settingsOf[S any](t testing.TB, raw json.RawMessage) S {
	t.Helper()
	var s S
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
