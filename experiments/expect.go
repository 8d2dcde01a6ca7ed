package experiments

import (
	"fmt"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
)

// Expectation is a compiled `expect`: a CEL expression over a probe's reading.
type Expectation struct {
	source   string
	program  cel.Program
	mentions map[string]bool
}

// expectCost bounds the evaluation of one expression; a probe asks often.
const expectCost = 1_000_000

// CompileExpect compiles an expression over readings that have the names and
// types of the sample reading. It must give true or false.
func CompileExpect(source string, reading Reading) (*Expectation, error) {
	var options []cel.EnvOption
	for name, value := range reading {
		t, err := celType(value)
		if err != nil {
			return nil, fmt.Errorf("the reading's %s: %w", name, err)
		}
		options = append(options, cel.Variable(name, t))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("prepare for expressions: %w", err)
	}
	checked, issues := env.Compile(source)
	if err := issues.Err(); err != nil {
		return nil, fmt.Errorf("read the expression %q: %w", source, err)
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("the expression %q gives %s: write one that is true or false", source, checked.OutputType())
	}
	program, err := env.Program(checked, cel.CostLimit(expectCost))
	if err != nil {
		return nil, fmt.Errorf("compile the expression %q: %w", source, err)
	}
	return &Expectation{source: source, program: program, mentions: identifiers(checked)}, nil
}

func celType(v any) (*cel.Type, error) {
	switch v.(type) {
	case bool:
		return cel.BoolType, nil
	case int, int64:
		return cel.IntType, nil
	case float64:
		return cel.DoubleType, nil
	case string:
		return cel.StringType, nil
	case time.Duration:
		return cel.DurationType, nil
	case map[string]string:
		return cel.MapType(cel.StringType, cel.StringType), nil
	}
	return nil, fmt.Errorf("no expression can use a %T", v)
}

func identifiers(checked *cel.Ast) map[string]bool {
	found := map[string]bool{}
	ast.PostOrderVisit(checked.NativeRep().Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			found[e.AsIdent()] = true
		}
	}))
	return found
}

func (e *Expectation) String() string { return e.source }

// Mentions says whether the expression looks at this part of the reading.
func (e *Expectation) Mentions(name string) bool { return e.mentions[name] }

// Holds evaluates the expression. An error is "could not look": neither true nor false.
func (e *Expectation) Holds(r Reading) (bool, error) {
	value, _, err := e.program.Eval(map[string]any(r))
	if err != nil {
		return false, fmt.Errorf("evaluate %q: %w", e.source, err)
	}
	held, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("evaluate %q: it gave %v, not true or false", e.source, value.Value())
	}
	return held, nil
}

// Judge says whether a reading is good. What the service's user would have
// suffered (an `error` in the reading) is bad, unless the author asked for it by
// name: a service that must refuse is good when it does.
func Judge(r Reading, e *Expectation) (Outcome, string) {
	suffered, _ := r["error"].(string)
	if suffered != "" && !e.Mentions("error") && !e.Mentions("connected") {
		return OutcomeBad, suffered
	}
	held, err := e.Holds(r)
	switch {
	case err != nil:
		return OutcomeUnknown, err.Error()
	case held:
		return OutcomeGood, ""
	case suffered != "":
		return OutcomeBad, suffered
	}
	return OutcomeBad, "not so: " + e.source + seen(r)
}

// seen names the short parts of a reading, in the order in which people ask for them.
func seen(r Reading) string {
	text := ""
	for _, name := range []string{"status", "code", "alive", "count", "state", "health", "restarts", "connected", "latency"} {
		if v, ok := r[name]; ok {
			text += fmt.Sprintf(", %s %v", name, v)
		}
	}
	return text
}
