package reports

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/renderer"
	"github.com/olekukonko/tablewriter/tw"

	"github.com/faultline-sh/faultline/experiments"
)

// Table writes rows under a header for a terminal. Cells may hold anything:
// what could harm a terminal is made visible.
func Table(w io.Writer, header []string, rows [][]string) error {
	t := tablewriter.NewTable(w,
		tablewriter.WithRenderer(renderer.NewBlueprint(tw.Rendition{
			Borders:  tw.BorderNone,
			Settings: tw.Settings{Separators: tw.SeparatorsNone, Lines: tw.Lines{ShowHeaderLine: tw.Off}},
		})),
		tablewriter.WithHeaderAutoFormat(tw.Off), tablewriter.WithHeaderAlignment(tw.AlignLeft), tablewriter.WithRowAlignment(tw.AlignLeft),
		tablewriter.WithRowAutoWrap(tw.WrapNone), tablewriter.WithHeaderAutoWrap(tw.WrapNone),
		tablewriter.WithPadding(tw.Padding{Right: "  ", Overwrite: true}),
	)
	t.Header(cells(header))
	for _, row := range rows {
		if err := t.Append(cells(row)); err != nil {
			return fmt.Errorf("write a table: %w", err)
		}
	}
	if err := t.Render(); err != nil {
		return fmt.Errorf("write a table: %w", err)
	}
	return nil
}

// cells makes every cell one harmless line.
func cells(row []string) []string {
	out := make([]string, len(row))
	for n, cell := range row {
		out[n] = short(cell, longestName)
	}
	return out
}

// Terminal writes the summary as tables.
func Terminal(w io.Writer, s Summary) error {
	t := &terminal{w: w}
	t.first(s)
	t.axes(s)
	t.story(s)
	t.probes(s)
	t.faults(s)
	t.rest(s)
	if t.err != nil {
		return fmt.Errorf("write the report as tables: %w", t.err)
	}
	return nil
}

// terminal writes on until the first error, and keeps it.
type terminal struct {
	w   io.Writer
	err error
}

func (t *terminal) line(format string, args ...any) {
	if t.err == nil {
		_, t.err = fmt.Fprintf(t.w, format+"\n", args...)
	}
}

func (t *terminal) table(header []string, rows [][]string) {
	if t.err == nil {
		t.err = Table(t.w, header, rows)
	}
	t.line("")
}

func (t *terminal) first(s Summary) {
	e := s.Header.Plan.Experiment
	t.line("%s: %s", short(e.Name, longestName), strings.ToUpper(s.Verdict.String()))
	if e.Hypothesis != "" {
		t.line("Hypothesis: %s", short(e.Hypothesis, longestLine))
	}
	t.line("%s", short(s.Headline, 2*longestLine))
	t.line("%s", undoneSaid(s))
	t.line("")
}

func (t *terminal) axes(s Summary) {
	t.line("VERDICT")
	for _, a := range s.Axes {
		t.line("  %-12s %s", a.Verdict, questions[a.Name])
		for _, why := range a.Why {
			t.line("               - %s", short(why, 2*longestLine))
		}
	}
	t.line("")
}

// questions are the three axes as people would ask them.
var questions = map[AxisName]string{
	AxisValid:      "Can the run be trusted?",
	AxisHypothesis: "Did the system hold during the faults?",
	AxisRecovery:   "Did it recover, and is everything undone?",
}

func (t *terminal) story(s Summary) {
	if len(s.Story) == 0 {
		return
	}
	t.line("WHAT HAPPENED")
	for _, line := range s.Story {
		t.line("  - %s", short(line, 2*longestLine))
	}
	t.line("")
}

func (t *terminal) probes(s Summary) {
	if len(s.Probes) == 0 {
		return
	}
	t.line("PROBES")
	var rows [][]string
	for _, p := range s.Probes {
		for _, f := range p.byPhase() {
			row := append([]string{short(p.Name, 48), string(f.Phase)}, figureCells(f.Figures, shareOr(p.Tolerate.During, 1))...)
			if f.Phase == experiments.PhaseDuring {
				row = append(row, outageSaid(p), recoverSaid(p))
			}
			rows = append(rows, row)
		}
	}
	t.table([]string{"probe", "phase", "answers", "good", "bad", "unknown", "available", "p50", "p95", "p99", "outage", "recovered"}, rows)
}

// PhaseFigures are a probe's figures with their phase.
type PhaseFigures struct {
	Phase experiments.Phase
	Figures
}

// byPhase gives the figures in the order of time.
func (p Probe) byPhase() []PhaseFigures {
	return []PhaseFigures{{experiments.PhaseBefore, p.Before}, {experiments.PhaseDuring, p.During}, {experiments.PhaseAfter, p.After}}
}

func figureCells(f Figures, limit experiments.Share) []string {
	return []string{count(f.Samples), count(f.Good), count(f.Bad), count(f.Unknown), availability(f, limit), latency(f.P50), latency(f.P95), latency(f.P99)}
}

// availability is the share of good answers; what could not be looked at makes it a range.
func availability(f Figures, limit experiments.Share) string {
	if f.Samples == 0 {
		return "unknown"
	}
	least := percentOf(f.Good, f.Samples, limit)
	if f.Unknown > 0 {
		return least + " to " + percentOf(f.Good+f.Unknown, f.Samples, limit)
	}
	return least
}

// outageSaid is the longest outage; what could not be looked at makes it a range.
func outageSaid(p Probe) string {
	if p.OutageMost != p.Outage {
		return p.Outage.String() + " to " + p.OutageMost.String()
	}
	return p.Outage.String()
}

// recoverSaid is how long it took to be good for good, likewise.
func recoverSaid(p Probe) string {
	switch {
	case p.Recover == nil || p.RecoverMost == nil:
		return "unknown"
	case *p.Recover != *p.RecoverMost:
		return p.Recover.String() + " to " + p.RecoverMost.String()
	}
	return p.Recover.String()
}

func (t *terminal) faults(s Summary) {
	var rows [][]string
	for _, f := range s.Faults {
		for _, x := range f.Targets {
			rows = append(rows, []string{x.ID, short(f.Name, 48), f.Kind, short(x.Name, 48), x.State, askedSaid(f, x), figuresSaid(x.Measured), momentSaid(x.Injected), undoneCell(f, x)})
		}
	}
	if len(rows) == 0 {
		return
	}
	t.line("FAULTS")
	t.table([]string{"id", "fault", "kind", "target", "state", "asked", "measured", "injected at", "undone at"}, rows)
}

// figuresSaid writes "delay 100ms, jitter 10ms", in a stable order.
func figuresSaid(figures map[string]string) string {
	var parts []string
	for _, key := range slices.Sorted(maps.Keys(figures)) {
		parts = append(parts, key+" "+figures[key])
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func momentSaid(m *Moment) string {
	if m == nil {
		return "not injected"
	}
	return m.At.UTC().Format("15:04:05.000Z")
}

// undoneCell never leaves open whether something is still on.
func undoneCell(f Fault, t Target) string {
	switch {
	case t.UndoError != "":
		return "NOT UNDONE: " + t.UndoError
	case t.Open:
		return "UNKNOWN: no record of it"
	case t.Injected == nil && t.Undone == nil:
		return "nothing to undo"
	case f.Irreversible:
		return "needs no undoing"
	case t.Undone != nil:
		return momentSaid(t.Undone)
	}
	return "nothing to undo"
}

// undoneSaid answers the question that everybody asks first.
func undoneSaid(s Summary) string {
	run := short(s.Header.Run, longestName)
	switch s.Undone {
	case UndoneYes:
		if !s.anyHit() {
			return "Is everything undone? Yes: nothing was injected."
		}
		return "Is everything undone? Yes, and this was verified."
	case UndoneNo:
		return "Is everything undone? NO. Run: faultline undo " + run
	}
	return "Is everything undone? UNKNOWN: the record does not say. Run: faultline undo " + run
}

func (s Summary) anyHit() bool {
	for _, f := range s.Faults {
		for _, t := range f.Targets {
			if t.Injected != nil || t.Open || t.Undone != nil {
				return true
			}
		}
	}
	return false
}

func (t *terminal) rest(s Summary) {
	h := s.Header
	t.line("run %s, exit code %d, seed %d, started %s", short(h.Run, longestName), s.Exit, h.Plan.Seed, stampSaid(h.Started))
	t.line("on %s, %s, faultline %s", short(h.Host, longestName), short(h.OS, longestName), short(h.Version, longestName))
	t.line("again: %s", short(shellLine(h.Command), longestLine))
}

// shellLine writes a command so that a shell reads it back as the same words.
func shellLine(words []string) string {
	var out []string
	for _, w := range words {
		if w == "" || strings.ContainsFunc(w, func(r rune) bool { return !strings.ContainsRune(shellPlain, r) }) {
			w = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out = append(out, w)
	}
	return strings.Join(out, " ")
}

const shellPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_=./:,%@+"
