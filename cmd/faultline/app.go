package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/scheduler"
)

// app is one invocation: its streams, its environment, its common flags.
type app struct {
	in       io.Reader
	out, err io.Writer
	getenv   func(string) string

	verbose, quiet, json, noInput bool

	secrets experiments.Secrets // of the documents at hand; kept out of everything that is shown
}

// exitError ends with a code of its own; a nil err has been told already.
type exitError struct {
	code experiments.Exit
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// exit is the error that ends the command with a code, silently.
func exit(code experiments.Exit) error {
	if code == experiments.ExitPassed {
		return nil
	}
	return &exitError{code: code}
}

// fail is the error that ends the command with a code and a text.
func fail(code experiments.Exit, format string, args ...any) error {
	return &exitError{code, fmt.Errorf(format, args...)}
}

// execute runs one command line and gives its exit code.
func (a *app) execute(ctx context.Context, args []string) experiments.Exit {
	root := a.root()
	root.SetArgs(args)
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)
	err := root.ExecuteContext(ctx)
	code, text := outcome(err)
	if text != "" {
		fmt.Fprintf(a.err, "faultline: %s\n", text)
	}
	return code
}

// outcome: a refusal has its own code, a coded error its own; the rest was wrong usage.
func outcome(err error) (experiments.Exit, string) {
	var coded *exitError
	var refusal *scheduler.Refusal
	switch {
	case err == nil:
		return experiments.ExitPassed, ""
	case errors.As(err, &coded):
		if coded.err == nil {
			return coded.code, ""
		}
		return coded.code, coded.Error()
	case errors.As(err, &refusal):
		return refusal.Code, err.Error()
	}
	return experiments.ExitUsage, err.Error()
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:           "faultline",
		Short:         "Break running systems on purpose, watch what they do, put them back, tell the truth about it",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       a.version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return a.flagsFromEnvironment(cmd)
		},
	}
	root.SetVersionTemplate("faultline {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true // ours has examples
	flags := root.PersistentFlags()
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more on standard error")
	flags.BoolVarP(&a.quiet, "quiet", "q", false, "say nothing on standard error but errors")
	flags.BoolVar(&a.json, "json", false, "print the result as JSON")
	flags.BoolVar(&a.noInput, "no-input", false, "never ask, never read the keyboard")
	for _, add := range commands() {
		root.AddCommand(add(a))
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fail(experiments.ExitUsage, "%w: see `%s --help`", err, cmd.CommandPath())
	})
	return root
}

// flagsFromEnvironment gives every flag that was not set its FAULTLINE_… value.
func (a *app) flagsFromEnvironment(cmd *cobra.Command) error {
	var errs []error
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		name := "FAULTLINE_" + strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))
		if value := a.getenv(name); value != "" && !f.Changed && f.Name != "help" && f.Name != "version" {
			if err := cmd.Flags().Set(f.Name, value); err != nil {
				errs = append(errs, fmt.Errorf("read %s from the environment: %w", name, err))
			}
		}
	})
	if err := errors.Join(errs...); err != nil {
		return fail(experiments.ExitUsage, "%w", err)
	}
	return nil
}

// say writes news for people on standard error.
func (a *app) say(format string, args ...any) {
	if !a.quiet {
		fmt.Fprintf(a.err, format+"\n", args...)
	}
}

// world opens this machine and the state directory. Without them nothing can be started.
func (a *app) world() (*platform.World, journal.Home, error) {
	home, err := journal.OpenHome(a.getenv)
	if err != nil {
		return nil, home, fail(experiments.ExitRefused, "%w", err)
	}
	w, err := platform.Open()
	if err != nil {
		return nil, home, fail(experiments.ExitRefused, "%w", err)
	}
	return w, home, nil
}

// healer takes back what dead runs left, in this user's name.
func (a *app) healer(w *platform.World, home journal.Home, doing string) scheduler.Healer {
	return scheduler.Healer{
		World: w, Faults: injectors.Find, Home: home, Lookup: a.lookup,
		By: fmt.Sprintf("%s by %s (pid %d)", doing, userName(), os.Getpid()),
	}
}

// lookup reads a secret again by its reference: "env:NAME" or "file:PATH".
func (a *app) lookup(reference string) (string, bool) {
	if name, ok := strings.CutPrefix(reference, "env:"); ok {
		value := a.getenv(name)
		return value, value != ""
	}
	if path, ok := strings.CutPrefix(reference, "file:"); ok {
		raw, err := os.ReadFile(path)
		return strings.TrimRight(string(raw), "\n"), err == nil
	}
	return "", false
}

// tellLeft names on standard error what earlier runs left; it touches nothing.
func (a *app) tellLeft(w *platform.World, home journal.Home) {
	if err := scheduler.LeftBehind(home, w.Host); err != nil {
		fmt.Fprintf(a.err, "faultline: still broken, or not known not to be:\n%v\n", err)
	}
}

func userName() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprintf("uid %d", os.Geteuid())
	}
	return u.Username
}
