package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/probes"
)

// catalog is what this build can break and ask, for the parser.
func catalog() experiments.Catalog {
	var c experiments.Catalog
	for _, f := range injectors.Table() {
		c.Faults = append(c.Faults, f.Kind)
	}
	for _, p := range probes.Table() {
		c.Probes = append(c.Probes, p.ProbeKind)
	}
	return c
}

// documents reads and parses every FILE; "-" is standard input, a directory is
// the documents in it. All problems are told at once, and then nothing is started.
func (a *app) documents(names, vars []string) ([]experiments.Experiment, error) {
	files, err := a.read(names)
	if err != nil {
		return nil, err
	}
	return a.parse(files, vars)
}

func (a *app) parse(files []experiments.File, vars []string) ([]experiments.Experiment, error) {
	variables, err := variables(vars)
	if err != nil {
		return nil, err
	}
	parsed, problems := experiments.Parse(files, catalog(), experiments.Options{Vars: variables, Getenv: os.LookupEnv, ReadFile: os.ReadFile})
	if len(problems) > 0 {
		return nil, a.tellProblems(problems)
	}
	a.secrets = append(a.secrets, parsed.Secrets...)
	return parsed.Experiments, nil
}

func (a *app) tellProblems(problems []experiments.Problem) error {
	if a.json {
		if err := a.printJSON(map[string]any{"problems": problems}); err != nil {
			return err
		}
		return exit(experiments.ExitUsage)
	}
	for _, p := range problems {
		if p.File == fromFlags {
			fmt.Fprintf(a.err, "%s: %s\n", p.File, p.Problem) // nobody wrote lines
			continue
		}
		fmt.Fprintln(a.err, p)
	}
	noun := "problems"
	if len(problems) == 1 {
		noun = "problem"
	}
	return fail(experiments.ExitUsage, "%d %s: nothing was started; `faultline init KIND` prints a document that is right", len(problems), noun)
}

func (a *app) read(names []string) ([]experiments.File, error) {
	var files []experiments.File
	var errs []error
	for _, name := range names {
		paths, err := documentsBelow(name)
		errs = append(errs, err)
		for _, path := range paths {
			text, err := a.readOne(path)
			errs = append(errs, err)
			files = append(files, experiments.File{Name: path, Text: text})
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fail(experiments.ExitUsage, "%w", err)
	}
	return files, nil
}

func (a *app) readOne(path string) ([]byte, error) {
	if path == "-" {
		text, err := io.ReadAll(a.in)
		if err != nil {
			return nil, fmt.Errorf("read standard input: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read experiment: %w", err)
	}
	return text, nil
}

func documentsBelow(name string) ([]string, error) {
	info, err := os.Stat(name)
	if name == "-" || errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return []string{name}, nil // a missing file is told when it is read
	}
	if err != nil {
		return nil, fmt.Errorf("read experiment: %w", err)
	}
	var paths []string
	for _, pattern := range []string{"*.yaml", "*.yml"} {
		found, err := filepath.Glob(filepath.Join(name, pattern))
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", name, err)
		}
		paths = append(paths, found...)
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read experiments in %s: there is no .yaml or .yml file in it", name)
	}
	slices.Sort(paths)
	return paths, nil
}

func variables(vars []string) (map[string]string, error) {
	out := map[string]string{}
	for _, v := range vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok || name == "" {
			return nil, fail(experiments.ExitUsage, "read --var %q: write it as name=value", v)
		}
		out[name] = value
	}
	return out, nil
}
