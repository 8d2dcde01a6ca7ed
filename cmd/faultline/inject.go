package main

import (
	"encoding/json"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
)

// injectFlags are what a document has and a command line can say.
type injectFlags struct {
	runFlags
	name, hypothesis      string
	at, length, onRestart string
	allow                 []string
	before, during, after string
	targets               int
	http, tcp             []string
	expect, every         string
	tolerate              []string
	print                 bool
}

// fromFlags stands where a document's file does.
const fromFlags = "inject"

func newInject(a *app) *cobra.Command {
	f := &injectFlags{}
	cmd := &cobra.Command{
		Use:   "inject KIND [KEY=VALUE...]",
		Short: "Break one thing now: an experiment from flags, under the same safety",
		Long: `Inject makes an experiment of its flags and runs it as ` + "`faultline run`" + ` would.
KEY=VALUE are the settings of the fault; keys of its select need no "select.":
name=web is select.name=web. Lists take commas (to=:5432,:6379) or brackets.
--for is how long a fault is on; of a fault that is over at once, how long to watch.
Without a probe nothing is asked, no baseline is taken, and the verdict is at best
inconclusive. ` + "`faultline list faults`" + ` lists the kinds; --print shows the document.`,
		Example: `  faultline inject container.crash name=web --for 30s --http http://127.0.0.1:8080/
  faultline inject process.pause exe=redis-server pick=1 --for 5s --tcp 127.0.0.1:6379
  faultline inject network.latency container.name=web to=:5432 delay=100ms --for 20s --dry-run
  faultline inject container.stop labels.app=web pick=50% --for 1m --print > experiment.yaml`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			text, err := f.document(args[0], args[1:])
			if err != nil {
				return err
			}
			es, err := a.parse([]experiments.File{{Name: fromFlags, Text: text}}, nil)
			if err != nil {
				return err
			}
			if f.print {
				return a.printDocuments(es)
			}
			return a.runAll(cmd.Context(), &f.runFlags, es, seedOr(cmd, f.seed), nil)
		},
	}
	f.runFlags.add(cmd)
	f.addOwn(cmd)
	return cmd
}

func (f *injectFlags) addOwn(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.name, "name", "", "what the experiment is called (inject KIND)")
	flags.StringVar(&f.hypothesis, "hypothesis", "", "what you believe will happen")
	flags.StringVar(&f.at, "at", "", "when, from the start of During (0s)")
	flags.StringVar(&f.length, "for", "", "how long it is on, as 30s")
	flags.StringVar(&f.onRestart, "on-restart", "", "stop, reinject or ignore when a target comes back as another one (stop)")
	flags.StringSliceVar(&f.allow, "allow", nil, "safety limits that this fault may pass, by name")
	flags.StringVar(&f.before, "before", "", "how long the baseline is (10s; 0s skips it)")
	flags.StringVar(&f.during, "during", "", "how long to watch at least")
	flags.StringVar(&f.after, "after", "", "how long to watch the recovery (30s)")
	flags.IntVar(&f.targets, "targets", experiments.DefaultTargets, "how many may be hit at most")
	flags.StringArrayVar(&f.http, "http", nil, "ask this URL all the time; may be given again")
	flags.StringArrayVar(&f.tcp, "tcp", nil, "connect to this host:port all the time; may be given again")
	flags.StringVar(&f.expect, "expect", "", "what a good answer is, in CEL")
	flags.StringVar(&f.every, "every", "", "how often to ask (1s)")
	flags.StringSliceVar(&f.tolerate, "tolerate", nil, "what may be lost, as during=99%,outage=2s,recover=10s,abort=50")
	flags.BoolVar(&f.print, "print", false, "print the experiment as YAML and do nothing")
}

// document writes the flags as a document, which then is under the rules of any other.
func (f *injectFlags) document(kind string, words []string) ([]byte, error) {
	fault, ok := injectors.Find(kind)
	if !ok {
		return nil, unknownKind(kind, faultKinds())
	}
	settings, err := experiments.ComposeSettings(fault.Kind.Settings(), words)
	if err != nil {
		return nil, fail(experiments.ExitUsage, "%w", err)
	}
	during := f.during
	length := f.length
	if !fault.About.Undoable && length != "" && during == "" {
		during, length = length, ""
	}
	if !fault.About.Undoable && during == "" {
		during = "10s"
	}
	asks := len(f.http)+len(f.tcp) > 0
	before, after := f.before, f.after
	if !asks { // there is nobody to ask: waiting shows nothing
		before, after = orElse(before, "0s"), orElse(after, "0s")
	}
	probes, err := f.probes()
	if err != nil {
		return nil, err
	}
	document := map[string]any{
		"apiVersion": experiments.APIVersion, "kind": experiments.KindExperiment,
		"name":     orElse(f.name, "inject "+kind),
		"timeline": given(map[string]any{"before": before, "during": during, "after": after}),
		"limits":   map[string]any{"targets": f.targets},
		"faults": []any{given(map[string]any{
			kind: settings, "name": kind, "at": f.at, "for": length, "on_restart": f.onRestart, "allow": f.allow,
		})},
	}
	if f.hypothesis != "" {
		document["hypothesis"] = f.hypothesis
	}
	if len(probes) > 0 {
		document["probes"] = probes
	}
	text, err := json.MarshalIndent(document, "", " ") // JSON is YAML
	if err != nil {
		return nil, fail(experiments.ExitUsage, "write the experiment: %w", err)
	}
	return text, nil
}

func (f *injectFlags) probes() ([]any, error) {
	tolerate := map[string]any{}
	for _, word := range f.tolerate {
		key, value, ok := strings.Cut(word, "=")
		if !ok {
			return nil, fail(experiments.ExitUsage, "read --tolerate %q: write it as during=99%%,outage=2s,recover=10s,abort=50", word)
		}
		tolerate[key] = value
		if n, err := strconv.Atoi(value); err == nil {
			tolerate[key] = n
		}
	}
	var probes []any
	add := func(kind, what, key string) {
		probes = append(probes, given(map[string]any{
			"name": kind + " " + what, kind: map[string]any{key: what}, "expect": f.expect, "every": f.every, "tolerate": tolerate,
		}))
	}
	for _, url := range f.http {
		add("http", url, "url")
	}
	for _, address := range f.tcp {
		add("tcp", address, "address")
	}
	return probes, nil
}

// given leaves out what was not said.
func given(m map[string]any) map[string]any {
	for key, value := range m {
		switch v := value.(type) {
		case string:
			if v == "" {
				delete(m, key)
			}
		case []string:
			if len(v) == 0 {
				delete(m, key)
			}
		case map[string]any:
			if len(v) == 0 {
				delete(m, key)
			}
		}
	}
	return m
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func faultKinds() []string {
	var kinds []string
	for _, f := range injectors.Table() {
		kinds = append(kinds, f.About.Kind)
	}
	return kinds
}

// unknownKind is bad usage, with what there is.
func unknownKind(kind string, known []string) error {
	slices.Sort(known)
	if meant := experiments.Nearest(kind, known); meant != "" {
		return fail(experiments.ExitUsage, "there is no kind %q: did you mean %s?", kind, meant)
	}
	return fail(experiments.ExitUsage, "there is no kind %q: there are %s", kind, strings.Join(known, ", "))
}

// printDocuments prints experiments as YAML, with references in the place of secrets.
func (a *app) printDocuments(es []experiments.Experiment) error {
	for i, e := range es {
		text, err := experiments.MarshalDocument(e)
		if err != nil {
			return fail(experiments.ExitUsage, "print the experiment: %w", err)
		}
		separator := ""
		if i > 0 {
			separator = "---\n"
		}
		if _, err := io.WriteString(a.out, separator+string(text)); err != nil {
			return fail(experiments.ExitUsage, "print the experiment: %w", err)
		}
	}
	return nil
}
