// Package injectors holds the faults: one file per fault, one explicit table.
//
// A fault reads the world to aim, hurts one target, reads the real state back
// and heals. It refuses to keep state, to sleep, to retry, to log and to decide
// when: the engine (package scheduler) does that. It never acts on a bare
// number or name, and never undoes what it cannot prove to be its own.
package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// World is what a fault may touch.
type World = *platform.World

// Spec is what an author may ask for: the settings under the fault's key.
type Spec interface{ experiments.Checker }

// Target is one aimed target: plain data that survives JSON, with everything
// needed to hurt it, check it and heal it in any process. It holds no secret.
type Target interface {
	Describe() experiments.Description
}

// Injector is one fault. S is what an author may ask for, T one target.
type Injector[S Spec, T Target] interface {
	// Choose only reads, at plan time: the logical targets that the selector matches.
	Choose(ctx context.Context, w World, s S) (experiments.Choice, error)
	// Aim only reads, just before Inject: the victim's identity now. It gives
	// ErrGone when the victim is no more and ErrChanged when it is another one.
	Aim(ctx context.Context, w World, s S, o experiments.Order) ([]T, error)
	// Inject hurts one target. Held is what dies with this process (a socket, a
	// proxy); nil for most. When ctx ends it returns at once, and what it
	// started may still land: Undo reckons with that.
	Inject(ctx context.Context, w World, t T) (Held, error)
	// Confirm reads the real state back. An error is "could not look".
	Confirm(ctx context.Context, w World, t T) (experiments.Effect, error)
	// Undo heals what is left, in any process, and verifies it by reading back.
	// It is fine when nothing is left: never injected, half injected, undone, gone.
	Undo(ctx context.Context, w World, t T) error
}

// Held is what a fault keeps in the holder's own process. It is closed before Undo.
type Held interface {
	Close() error
}

// Measurer is a Held that has seen what the fault did to its victim.
type Measurer interface {
	// Measure gives the effect as seen so far; it joins what Confirm read.
	Measure() experiments.Effect
}

// Returner is an injector whose target may come back by itself (a restart policy, a supervisor).
type Returner[T Target] interface {
	// Return looks once; the engine asks again until the target is healthy or the run ends.
	Return(ctx context.Context, w World, t T) (experiments.Return, error)
}

// Preflighter is an injector that can say beforehand what this machine lacks.
type Preflighter[S Spec] interface {
	// Preflight only reads (or tries in a scratch namespace); an error is a refusal with what to do next.
	Preflight(ctx context.Context, w World, s S, o experiments.Order) error
}

// What Aim, Inject and Undo can say besides success; compare with errors.Is.
var (
	ErrGone    = errors.New("the target is gone")
	ErrChanged = errors.New("the target is another one now")
	ErrForeign = errors.New("it belongs to somebody else")
	ErrRefused = errors.New("refused")
)

// About is what a fault's table line says of it.
type About struct {
	Kind         string
	Summary      string
	Undoable     bool     // false: it cannot be undone and needs no undoing (a kill); `for` is then not required
	Irreversible bool     // needs the door `irreversible`: data can be lost
	Doors        []string // doors that can apply, for `list faults`
	Example      string   // a document's `faults:` item for `init`, YAML, commented
	Platforms    []string // GOOS values; empty: all
}

// Fault is an injector with its types erased: settings and targets are JSON.
type Fault struct {
	About     About
	Kind      experiments.FaultKind
	Choose    func(context.Context, World, json.RawMessage) (experiments.Choice, error)
	Preflight func(context.Context, World, json.RawMessage, experiments.Order) error
	Aim       func(context.Context, World, json.RawMessage, experiments.Order) ([]Aimed, error)
	Inject    func(context.Context, World, json.RawMessage) (Held, error)
	Confirm   func(context.Context, World, json.RawMessage) (experiments.Effect, error)
	Return    func(context.Context, World, json.RawMessage) (experiments.Return, error) // nil when it has none
	Undo      func(context.Context, World, json.RawMessage) error
}

// Aimed is one target as JSON, with what it says of itself.
type Aimed struct {
	Target      json.RawMessage
	Description experiments.Description
}

// Of erases an injector's types for the table.
func Of[S Spec, T Target](about About, i Injector[S, T]) Fault {
	f := Fault{
		About: about,
		Kind: experiments.FaultKind{
			Kind: about.Kind, Summary: about.Summary, Undoable: about.Undoable,
			Settings: func() any { return new(S) },
		},
		Choose: func(ctx context.Context, w World, raw json.RawMessage) (experiments.Choice, error) {
			s, err := decode[S](about.Kind, "settings", raw)
			if err != nil {
				return experiments.Choice{}, err
			}
			return i.Choose(ctx, w, s)
		},
		Preflight: func(context.Context, World, json.RawMessage, experiments.Order) error { return nil },
		Aim: func(ctx context.Context, w World, raw json.RawMessage, o experiments.Order) ([]Aimed, error) {
			s, err := decode[S](about.Kind, "settings", raw)
			if err != nil {
				return nil, err
			}
			return aimAll(i.Aim(ctx, w, s, o))
		},
		Inject: func(ctx context.Context, w World, raw json.RawMessage) (Held, error) {
			t, err := decode[T](about.Kind, "target", raw)
			if err != nil {
				return nil, err
			}
			return i.Inject(ctx, w, t)
		},
		Confirm: func(ctx context.Context, w World, raw json.RawMessage) (experiments.Effect, error) {
			t, err := decode[T](about.Kind, "target", raw)
			if err != nil {
				return experiments.Effect{}, err
			}
			return i.Confirm(ctx, w, t)
		},
		Undo: func(ctx context.Context, w World, raw json.RawMessage) error {
			t, err := decode[T](about.Kind, "target", raw)
			if err != nil {
				return err
			}
			return i.Undo(ctx, w, t)
		},
	}
	if p, ok := any(i).(Preflighter[S]); ok {
		f.Preflight = func(ctx context.Context, w World, raw json.RawMessage, o experiments.Order) error {
			s, err := decode[S](about.Kind, "settings", raw)
			if err != nil {
				return err
			}
			return p.Preflight(ctx, w, s, o)
		}
	}
	if r, ok := any(i).(Returner[T]); ok {
		f.Return = func(ctx context.Context, w World, raw json.RawMessage) (experiments.Return, error) {
			t, err := decode[T](about.Kind, "target", raw)
			if err != nil {
				return experiments.Return{}, err
			}
			return r.Return(ctx, w, t)
		}
	}
	return f
}

func decode[V any](kind, what string, raw json.RawMessage) (V, error) {
	var v V
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, fmt.Errorf("read the %s of %s: %w", what, kind, err)
	}
	return v, nil
}

func aimAll[T Target](ts []T, err error) ([]Aimed, error) {
	if err != nil {
		return nil, err
	}
	aimed := make([]Aimed, 0, len(ts))
	for _, t := range ts {
		raw, err := json.Marshal(t)
		if err != nil {
			return nil, fmt.Errorf("write down target %s: %w", t.Describe().Name, err)
		}
		aimed = append(aimed, Aimed{Target: raw, Description: t.Describe()})
	}
	return aimed, nil
}
