package experiments

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/ext"
)

// costLimit bounds one evaluation, in CEL's own units: a regular expression
// over a whole body fits, a nest of loops over it does not.
const costLimit = 10_000_000

// Expectation is a compiled `expect`. It is safe for concurrent use.
type Expectation struct {
	source    string
	program   cel.Program
	mentions  []string
	dependent bool // whether it errs depends on what is in the reading
}

// CompileExpect compiles a CEL expression over the names and types of a sample
// reading. Its error says what is wrong with the expression.
func CompileExpect(source string, sample Reading) (*Expectation, error) {
	env, err := expectEnv(sample)
	if err != nil {
		return nil, err
	}
	return compileExpect(env, source)
}

// expectEnv costs more than a compilation; the parser shares one a kind.
func expectEnv(sample Reading) (*cel.Env, error) {
	options := []cel.EnvOption{
		ext.Strings(),
		cel.ASTValidators(cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals(), cel.ValidateRegexLiterals(), cel.ValidateHomogeneousAggregateLiterals()),
	}
	for name, value := range sample {
		kind, err := celType(value)
		if err != nil {
			return nil, fmt.Errorf("declare %s for expect: %w", name, err)
		}
		options = append(options, cel.Variable(name, kind))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, fmt.Errorf("make the environment of expect: %w", err)
	}
	return env, nil
}

func celType(value any) (*cel.Type, error) {
	switch value.(type) {
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
	return nil, fmt.Errorf("a reading cannot hold a %T", value)
}

func compileExpect(env *cel.Env, source string) (*Expectation, error) {
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		return nil, errors.New(celText(issues))
	}
	if checked.OutputType() != cel.BoolType {
		return nil, fmt.Errorf("it gives a value of type %s, not true or false: compare it with something", checked.OutputType())
	}
	program, err := env.Program(checked, cel.CostLimit(costLimit))
	if err != nil {
		return nil, fmt.Errorf("prepare it: %w", err)
	}
	e := &Expectation{source: source, program: program}
	e.learn(checked.NativeRep())
	return e, nil
}

// celText says what CEL found, on one line, with the place inside the expression.
func celText(issues *cel.Issues) string {
	var texts []string
	for _, one := range issues.Errors() {
		text, _, _ := strings.Cut(one.Message, "\n")
		texts = append(texts, fmt.Sprintf("%s (at character %d)", text, one.Location.Column()+1))
	}
	return strings.Join(texts, "; ")
}

// converters can fail on what a reading happens to hold.
var converters = map[string]bool{"int": true, "uint": true, "double": true, "bool": true, "duration": true, "timestamp": true}

// learn notes the names that the expression uses, and whether it can err on one reading and not on another.
func (e *Expectation) learn(checked *ast.AST) {
	ast.PreOrderVisit(checked.Expr(), ast.NewExprVisitor(func(x ast.Expr) {
		switch x.Kind() {
		case ast.IdentKind:
			e.mentions = append(e.mentions, x.AsIdent())
		case ast.SelectKind:
			e.dependent = e.dependent || !x.AsSelect().IsTestOnly()
		case ast.CallKind:
			call := x.AsCall()
			literal := len(call.Args()) > 0 && call.Args()[0].Kind() == ast.LiteralKind
			e.dependent = e.dependent || call.FunctionName() == operators.Index || converters[call.FunctionName()] && !literal
		}
	}))
}

// Mentions says whether the expression uses this name of the reading.
func (e *Expectation) Mentions(name string) bool { return slices.Contains(e.mentions, name) }

// Holds says whether a reading is as expected. An error means that this could
// not be found out: it is neither good nor bad.
func (e *Expectation) Holds(r Reading) (bool, error) {
	value, _, err := e.program.Eval(map[string]any(r))
	if err != nil {
		return false, fmt.Errorf("evaluate %s: %w", e.source, err)
	}
	held, ok := value.Value().(bool)
	if !ok {
		return false, fmt.Errorf("evaluate %s: it gave a %T", e.source, value.Value())
	}
	return held, nil
}

// try evaluates on a sample reading. What may only be a matter of the sample's
// own content (a header that it lacks, text that is no number) is no problem.
func (e *Expectation) try(sample Reading) error {
	if _, err := e.Holds(sample); err != nil && !e.dependent {
		return err
	}
	return nil
}

// Judge says whether a reading is good. A reading with an error is bad, however
// the rest reads, unless the expectation asks for the error itself (or, of a
// tcp probe, whether it connected): somebody may expect to be refused.
func Judge(r Reading, e *Expectation) (outcome Outcome, why string) {
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
	return OutcomeBad, "expected " + e.source + e.seen(r)
}

// seen tells what the reading had for the names that the expectation uses.
func (e *Expectation) seen(r Reading) string {
	var parts []string
	for _, name := range slices.Compact(slices.Sorted(slices.Values(e.mentions))) {
		switch v := r[name].(type) {
		case nil, map[string]string:
		case string:
			parts = append(parts, fmt.Sprintf("%s %q", name, shorten(v)))
		case time.Duration:
			parts = append(parts, fmt.Sprintf("%s %s", name, v.Round(time.Millisecond)))
		default:
			parts = append(parts, fmt.Sprintf("%s %v", name, v))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "; got " + strings.Join(parts, ", ")
}

// shown is how much of somebody's text stands in a message.
const shown = 60

func shorten(text string) string {
	if runes := []rune(text); len(runes) > shown {
		return string(runes[:shown]) + cut
	}
	return text
}
