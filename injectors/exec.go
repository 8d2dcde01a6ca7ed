package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// ExecSettings is what an author may ask of exec: commands of one's own, as
// argv lists that no shell sees.
type ExecSettings struct {
	Inject  []string             `json:"inject"`
	Confirm *ExecConfirm         `json:"confirm,omitempty"` // argv (exit 0: in effect, 1: not, else unknown), or none
	Undo    []string             `json:"undo,omitempty"`
	Timeout experiments.Duration `json:"timeout,omitempty"` // of each command; default 10s
	Dir     string               `json:"dir,omitempty"`     // absolute
	Env     map[string]string    `json:"env,omitempty"`     // added to faultline's own environment
}

// ExecConfirm is the command that reads the effect back, or the word none.
type ExecConfirm struct {
	None bool
	Argv []string
}

const confirmNone = "none"

// MarshalJSON writes it as its author would.
func (c ExecConfirm) MarshalJSON() ([]byte, error) {
	if c.None {
		return json.Marshal(confirmNone)
	}
	return json.Marshal(c.Argv)
}

// UnmarshalJSON reads an argv list, or the word none.
func (c *ExecConfirm) UnmarshalJSON(b []byte) error {
	var word string
	if json.Unmarshal(b, &word) == nil {
		if word != confirmNone {
			return fmt.Errorf("read confirm %q: write an argv list, or none", word)
		}
		*c = ExecConfirm{None: true}
		return nil
	}
	c.None = false
	if err := json.Unmarshal(b, &c.Argv); err != nil {
		return fmt.Errorf("read confirm %s: write an argv list, or none: %w", b, err)
	}
	return nil
}

const (
	execTimeout = 10 * time.Second
	execLongest = 10 * time.Minute
)

// Check gives every problem at once.
func (s ExecSettings) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	problem := func(field, text string) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: text})
	}
	if blank(s.Inject) {
		problem("inject", "is missing: write the command as a list of words, as [systemctl, stop, cache]")
	}
	if s.Undo != nil && blank(s.Undo) {
		problem("undo", "has no command: write it as a list of words, or leave it out and open the door with `allow: [irreversible]`")
	}
	switch {
	case s.Confirm == nil:
		problem("confirm", "is missing: write a command that exits 0 when the fault is in effect and 1 when it is not, or `confirm: none`")
	case !s.Confirm.None && blank(s.Confirm.Argv):
		problem("confirm", "has no command: write it as a list of words, or `confirm: none`")
	}
	if t := s.Timeout.Std(); t < 0 || t > execLongest {
		problem("timeout", fmt.Sprintf("%s is outside of 0s to %s", s.Timeout, execLongest))
	}
	if s.Dir != "" && !filepath.IsAbs(s.Dir) {
		problem("dir", fmt.Sprintf("%q is not absolute: the commands are run by another process, elsewhere", s.Dir))
	}
	for name := range s.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			problem("env", fmt.Sprintf("%q cannot be the name of a variable", name))
		}
	}
	return problems
}

func blank(argv []string) bool { return len(argv) == 0 || argv[0] == "" }

func (s ExecSettings) timeout() time.Duration {
	if s.Timeout == 0 {
		return execTimeout
	}
	return s.Timeout.Std()
}

// ExecTarget is the commands, each with its program found.
type ExecTarget struct {
	Inject  []string             `json:"inject"`
	Confirm []string             `json:"confirm,omitempty"` // none: not confirmed by us
	Undo    []string             `json:"undo,omitempty"`    // none: irreversible
	Timeout experiments.Duration `json:"timeout"`
	Dir     string               `json:"dir,omitempty"`
	Env     map[string]string    `json:"env,omitempty"`
}

// Describe says what is done.
func (t ExecTarget) Describe() experiments.Description {
	d := experiments.Description{
		Kind: "command", ID: commandID(t.Inject), Name: commandName(t.Inject), Mechanism: "own command", Keeper: experiments.KeeperJournal,
		Undo: "own command: " + commandText(t.Undo), Leases: []string{"command/" + commandID(t.Inject)},
		Asked: map[string]string{"inject": commandText(t.Inject)}, Lands: 2 * t.Timeout,
	}
	if len(t.Undo) == 0 {
		d.Keeper, d.Undo = experiments.KeeperNone, "none: its author says that it cannot be undone (`allow: [irreversible]`)"
	}
	if len(t.Confirm) == 0 {
		d.Notes = append(d.Notes, notConfirmed)
	}
	return d
}

const notConfirmed = "not confirmed by us (`confirm: none`)"

func commandID(argv []string) string { return digest(argv)[:16] }

func commandName(argv []string) string { return filepath.Base(argv[0]) }

func commandText(argv []string) string {
	text := strings.Join(hideSecrets(argv), " ")
	if len(text) > longestDetail {
		text = strings.ToValidUTF8(text[:longestDetail], "") + "…"
	}
	return text
}

type ownCommand struct{}

var execAbout = About{
	Kind: "exec", Summary: "run a command of your own to inject, one to confirm, one to undo", Undoable: true,
	Doors: []string{string(experiments.DoorIrreversible), string(experiments.DoorUnkept)},
	Example: `- name: take the cache out of the pool
  at: 0s
  for: 10s
  exec:
    inject: [touch, /tmp/cache-is-down]
    confirm: [test, -e, /tmp/cache-is-down] # exits 0 in effect, 1 not; or: none
    undo: [rm, -f, /tmp/cache-is-down]
    timeout: 10s   # of each
`,
}

func (ownCommand) Choose(_ context.Context, _ World, s ExecSettings) (experiments.Choice, error) {
	one := experiments.Candidate{Kind: "command", ID: commandID(s.Inject), Name: commandName(s.Inject), Detail: commandText(s.Inject)}
	return experiments.Choice{Matched: []experiments.Candidate{one}, Groups: []experiments.Group{}, Pick: experiments.Pick{Count: 1}}, nil
}

// Aim finds the programs: a missing one is known before anything is done, and
// the undo does not depend on the PATH of another day.
func (ownCommand) Aim(_ context.Context, w World, s ExecSettings, o experiments.Order) ([]ExecTarget, error) {
	if len(s.Undo) == 0 && !o.Allows(experiments.DoorIrreversible) {
		return nil, fmt.Errorf("exec %s has no undo: write one, or open the door with `allow: [irreversible]`: %w", commandName(s.Inject), ErrRefused)
	}
	t := ExecTarget{Timeout: experiments.Duration(s.timeout()), Dir: s.Dir, Env: s.Env}
	argvs := []struct {
		from []string
		to   *[]string
	}{{s.Inject, &t.Inject}, {s.Undo, &t.Undo}}
	if s.Confirm != nil && !s.Confirm.None {
		argvs = append(argvs, struct {
			from []string
			to   *[]string
		}{s.Confirm.Argv, &t.Confirm})
	}
	for _, argv := range argvs {
		if len(argv.from) == 0 {
			continue
		}
		path, err := findIn(w, s.Dir, argv.from[0])
		if err != nil {
			return nil, err
		}
		*argv.to = append([]string{path}, argv.from[1:]...)
	}
	return []ExecTarget{t}, nil
}

// findIn takes a program with a relative path from the folder that it will run in.
func findIn(w World, dir, name string) (string, error) {
	if dir != "" && strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = filepath.Join(dir, name)
	}
	return w.Commands.Find(name)
}

func (t ExecTarget) run(ctx context.Context, w World, argv []string) (platform.CommandResult, error) {
	return w.Commands.Run(ctx, platform.Command{Argv: argv, Dir: t.Dir, Env: t.Env, Timeout: t.Timeout.Std()})
}

// Inject runs the command. When ctx ends its process group is killed, so that nothing lands later.
func (ownCommand) Inject(ctx context.Context, w World, t ExecTarget) (Held, error) {
	result, err := t.run(ctx, w, t.Inject)
	if err != nil {
		return nil, err
	}
	return nil, failure(t.Inject, result, t.Timeout)
}

// failure is how a command failed; nil when it exited with 0.
func failure(argv []string, r platform.CommandResult, timeout experiments.Duration) error {
	switch {
	case r.TimedOut:
		return fmt.Errorf("%s had not ended after %s and was killed with its process group%s", commandName(argv), timeout, said(r))
	case r.Signal != "":
		return fmt.Errorf("%s was ended by %s%s", commandName(argv), r.Signal, said(r))
	case r.Code != 0:
		return fmt.Errorf("%s exited with %d%s", commandName(argv), r.Code, said(r))
	}
	return nil
}

// longestSaid is how much of a command's words goes into a sentence.
const longestSaid = 300

// said quotes the end of what the command said, errors first: the reason stands last as a rule.
func said(r platform.CommandResult) string {
	text := strings.TrimSpace(r.Stderr)
	if text == "" {
		text = strings.TrimSpace(r.Stdout)
	}
	if text == "" {
		return ""
	}
	if len(text) > longestSaid {
		text = "…" + strings.ToValidUTF8(text[len(text)-longestSaid:], "")
	}
	return fmt.Sprintf(": it said %q", text)
}

func (ownCommand) Confirm(ctx context.Context, w World, t ExecTarget) (experiments.Effect, error) {
	if len(t.Confirm) == 0 {
		return experiments.Effect{State: experiments.EffectUnknown, Why: notConfirmed}, nil
	}
	result, err := t.run(ctx, w, t.Confirm)
	if err != nil {
		return experiments.Effect{}, err
	}
	effect := experiments.Effect{State: experiments.EffectUnknown}
	switch {
	case result.TimedOut || result.Signal != "":
	case result.Code == 0:
		effect.State = experiments.EffectOn
	case result.Code == 1:
		effect.State = experiments.EffectOff
	}
	effect.Why = "its author's command says so"
	if err := failure(t.Confirm, result, t.Timeout); err != nil {
		effect.Why = err.Error()
	}
	return effect, nil
}

// Undo runs the author's undo, always: one that was half injected may not show
// in confirm. Then confirm decides, and only without it the undo's own exit code.
func (c ownCommand) Undo(ctx context.Context, w World, t ExecTarget) error {
	if len(t.Undo) == 0 {
		return nil // its author opened the door `irreversible`: there is nothing that we could do
	}
	result, err := t.run(ctx, w, t.Undo)
	if err != nil {
		return err
	}
	undoing := failure(t.Undo, result, t.Timeout)
	if len(t.Confirm) == 0 {
		return undoing
	}
	effect, err := c.Confirm(ctx, w, t)
	switch {
	case err != nil:
		return errors.Join(undoing, fmt.Errorf("confirm that %s was undone: %w", commandName(t.Inject), err))
	case effect.State == experiments.EffectOff:
		return nil // read back: how the undo ended no longer matters
	case effect.State == experiments.EffectOn:
		return errors.Join(undoing, fmt.Errorf("after the undo %s is still in effect: confirm (%s) exits with 0", commandName(t.Inject), commandName(t.Confirm)))
	}
	return errors.Join(undoing, fmt.Errorf("whether %s was undone is not known: confirm must exit with 1 after it: %s", commandName(t.Inject), effect.Why))
}
