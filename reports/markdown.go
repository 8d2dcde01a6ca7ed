package reports

import (
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// How much of a run a pull request is shown; report.json has all of it.
const (
	mostRows  = 60
	mostLines = 80
)

// Markdown writes the summary as GitHub's Markdown, for a pull request.
func Markdown(w io.Writer, s Summary) error {
	m := &markdown{}
	m.first(s)
	m.axes(s)
	m.story(s)
	m.figures(s)
	m.targets(s)
	m.log(s)
	m.environment(s)
	if _, err := io.WriteString(w, m.text.String()); err != nil {
		return fmt.Errorf("write the report as Markdown: %w", err)
	}
	return nil
}

type markdown struct{ text strings.Builder }

func (m *markdown) line(format string, args ...any) { fmt.Fprintf(&m.text, format+"\n", args...) }

// listItem is what would begin a numbered list.
var listItem = regexp.MustCompile(`^[0-9]+[.)]`)

// md makes text that cannot become anything but text: no link, image, markup,
// mention or table cell. Whatever Markdown could act on is written as its number.
func md(text string, most int) string {
	var b strings.Builder
	text = together(short(text, most))
	for i, r := range text {
		switch {
		case strings.ContainsRune("\\`*_{}[]<>|~&$", r):
			fmt.Fprintf(&b, "&#%d;", r)
		case r == ':' && strings.HasPrefix(text[i:], ":/"), r == '.' && i >= 3 && strings.EqualFold(text[i-3:i], "www"):
			fmt.Fprintf(&b, "&#%d;", r)
		case i == 0 && strings.ContainsRune("-+= ", r), i == 0 && listItem.MatchString(text):
			fmt.Fprintf(&b, "&#%d;", r)
		case r == '@' || r == '#':
			fmt.Fprintf(&b, "&#%d;\u2060", r) // a joiner of no width: no mention, no mail address, no issue
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// row writes one line of a table; its cells are made by md.
func (m *markdown) row(cells ...string) { m.line("| %s |", strings.Join(cells, " | ")) }

func (m *markdown) header(cells ...string) {
	m.row(cells...)
	m.line("|%s", strings.Repeat(" --- |", len(cells)))
}

var badges = map[experiments.Verdict]string{
	experiments.Passed:       "✅\u00a0passed",
	experiments.Inconclusive: "⚠️\u00a0inconclusive",
	experiments.Failed:       "❌\u00a0failed",
}

func (m *markdown) first(s Summary) {
	e := s.Header.Plan.Experiment
	m.line("## %s: %s\n", badges[s.Verdict], md(e.Name, longestName))
	if e.Hypothesis != "" {
		m.line("> **Hypothesis.** %s\n", md(e.Hypothesis, longestLine))
	}
	m.line("**%s** %s\n", outcome(&s), md(s.Because, 2*longestLine))
	m.line("%s %s\n", undoneBadge(s), md(undoneSaid(s), longestLine))
}

func undoneBadge(s Summary) string {
	if s.Undone == UndoneYes {
		return "🩹"
	}
	return "🚨"
}

func (m *markdown) axes(s Summary) {
	m.header("Question", "Answer", "Why")
	for _, a := range s.Axes {
		var whys []string
		for n, why := range a.Why {
			if n == 6 {
				whys = append(whys, fmt.Sprintf("… and %s more", count(len(a.Why)-n)))
				break
			}
			whys = append(whys, md(why, 2*longestLine))
		}
		m.row(questions[a.Name], badges[a.Verdict], strings.Join(whys, "<br>"))
	}
	m.line("")
}

func (m *markdown) story(s Summary) {
	if len(s.Story) == 0 {
		return
	}
	m.line("### What happened\n")
	for _, line := range s.Story {
		m.line("- %s", md(line, 2*longestLine))
	}
	m.line("")
}

func (m *markdown) figures(s Summary) {
	if len(s.Probes) == 0 {
		return
	}
	m.line("### What was seen\n")
	m.header("Probe", "Phase", "Available", "Answers", "p50 / p95 / p99", "Longest outage", "Good for good after")
	for n, p := range s.worstFirst() {
		if n == mostRows/3 {
			break
		}
		for _, f := range p.byPhase() {
			name, outage, back := "", "", ""
			if f.Phase == experiments.PhaseBefore {
				name = strings.Fields(badges[max(p.Hypothesis, p.Recovery)])[0] + " " + md(p.Name, longestName)
			}
			if f.Phase == experiments.PhaseDuring {
				outage, back = outageSaid(p), recoverSaid(p)
			}
			m.row(name, string(f.Phase), together(availability(f.Figures, shareOr(p.Tolerate.During, 1))), answersSaid(f.Figures), timesSaid(f.Figures), together(outage), together(back))
		}
	}
	if left := len(s.Probes) - mostRows/3; left > 0 {
		m.line("\n%s more did no worse; report.json has them all.", counted(left, "probe"))
	}
	m.line("\nTimes are of all answers, good and bad, within 0.2 %%. An outage is counted over the faults and after them.\n")
}

// answersSaid is "400, 162 bad, 3 unknown".
func answersSaid(f Figures) string {
	text := count(f.Samples)
	if f.Bad > 0 {
		text += ", **" + count(f.Bad) + " bad**"
	}
	if f.Unknown > 0 {
		text += ", **" + count(f.Unknown) + " unknown**"
	}
	return text
}

// timesSaid is "9 ms / 13 ms / 15 ms".
func timesSaid(f Figures) string {
	if f.P50 == nil {
		return "none"
	}
	return together(latency(f.P50) + " / " + latency(f.P95) + " / " + latency(f.P99))
}

// worstFirst gives the probes with the worst verdict first, else in the author's order.
func (s Summary) worstFirst() []Probe {
	probes := slices.Clone(s.Probes)
	slices.SortStableFunc(probes, func(a, b Probe) int {
		if d := int(max(b.Hypothesis, b.Recovery)) - int(max(a.Hypothesis, a.Recovery)); d != 0 {
			return d
		}
		return int(min(max(b.Outage.Length-a.Outage.Length, -1), 1))
	})
	return probes
}

func (m *markdown) targets(s Summary) {
	if len(s.Faults) == 0 {
		return
	}
	m.line("### What was broken\n")
	m.header("Fault", "Target", "State read back", "Asked", "Measured", "Hit at", "Undone")
	rows := 0
	for _, f := range s.Faults {
		for _, t := range f.Targets {
			if rows++; rows > mostRows {
				continue
			}
			m.row(md(f.Name, longestName)+"<br>"+md(f.Kind, 60), targetMD(t), md(t.State, 60)+stateWhy(t), md(askedSaid(f, t), 300),
				md(figuresSaid(t.Measured), 300), together(offsetSaid(s, t.Injected)), md(undoneOffset(s, f, t), 300))
		}
	}
	if rows > mostRows {
		m.line("\n%s more; report.json has them all.", counted(rows-mostRows, "target"))
	}
	m.line("")
	for _, f := range s.Faults[:min(len(s.Faults), mostRows)] {
		m.faultNotes(f)
	}
	m.line("")
}

func targetMD(t Target) string {
	text := md(t.Name, longestName)
	if id := firstOf(t.Description.ID, t.Victim.ID); id != "" && id != t.Name {
		text += "<br>" + md(id, 80)
	}
	for n, note := range targetNotes(t) {
		if n < 5 {
			text += "<br>" + md(note, 300)
		}
	}
	if t.Return != nil {
		text += "<br>" + md(strings.TrimPrefix(comebackSaid(*t.Return), "; "), 300)
	}
	return text
}

// askedSaid is what was asked for a target, with how long.
func askedSaid(f Fault, t Target) string {
	var parts []string
	if len(t.Description.Asked) > 0 {
		parts = append(parts, figuresSaid(t.Description.Asked))
	}
	if f.For > 0 {
		parts = append(parts, "for "+length(f.For))
	}
	if len(parts) == 0 {
		return "once"
	}
	return strings.Join(parts, ", ")
}

func stateWhy(t Target) string {
	if t.Why == "" || t.State == string(experiments.EffectOn) {
		return ""
	}
	return ": " + md(t.Why, 300)
}

// offsetSaid is a moment as people count: from the start of the faults.
func offsetSaid(s Summary, m *Moment) string {
	if m == nil {
		return "not injected"
	}
	return signed(m.Off - s.Zero)
}

func signed(d time.Duration) string {
	if d < 0 {
		return "−" + length(-d)
	}
	return "+" + length(d)
}

func undoneOffset(s Summary, f Fault, t Target) string {
	if t.Undone != nil && !f.Irreversible && t.Injected != nil {
		return signed(t.Undone.Off - s.Zero)
	}
	return undoneCell(f, t)
}

func (m *markdown) faultNotes(f Fault) {
	m.line("- <b>%s</b>: %s", md(f.Name, longestName), md(faultFacts(f), longestLine))
}

// faultFacts is one line about how a fault was carried out.
func faultFacts(f Fault) string {
	parts := []string{fmt.Sprintf("%s of %s hit", count(f.Hit), counted(len(f.Targets), "target"))}
	if f.Matched > 0 {
		parts[0] += fmt.Sprintf(" (%s matched)", count(f.Matched))
	}
	if f.Hit > 1 {
		parts = append(parts, "all started within "+length(f.Spread))
	}
	if f.Mechanism != "" {
		parts = append(parts, "by "+f.Mechanism)
	}
	if f.Keeper != "" {
		parts = append(parts, "kept by "+string(f.Keeper))
	}
	if n := len(f.Skipped); n > 0 {
		var why []string
		for _, x := range f.Skipped {
			why = append(why, short(x.Name, 60)+" ("+short(x.Why, 120)+")")
		}
		parts = append(parts, fmt.Sprintf("%s skipped: %s", count(n), list(why, 3)))
	}
	if f.Refused != "" {
		parts = append(parts, "refused: "+f.Refused)
	}
	return strings.Join(parts, ", ")
}

func (m *markdown) log(s Summary) {
	m.line("<details><summary>Everything that was done, in the order of time</summary>\n")
	m.header("When", "What")
	for n, l := range s.Log {
		if n == mostLines {
			m.row("", fmt.Sprintf("… and %s more; the journal has them all", counted(len(s.Log)-n, "line")))
			break
		}
		m.row(together(signed(l.Off-s.Zero)), md(l.Text, longestLine))
	}
	m.line("\n</details>\n")
}

func (m *markdown) environment(s Summary) {
	m.line("<details><summary>Where, with what, and how to do it again</summary>\n")
	m.header("", "")
	for _, row := range environment(s) {
		m.row(md(row[0], 80), md(row[1], longestLine))
	}
	m.line("")
	for n, note := range notesOf(s) {
		if n < 20 {
			m.line("- %s", md(note, longestLine))
		}
	}
	m.line("\nThe command:\n")
	m.line("    %s", shortText(strings.ReplaceAll(shellLine(s.Header.Command), "\n", " "), 4*longestLine))
	m.line("\n</details>")
}

// stampSaid is a moment by the wall clock, for people.
func stampSaid(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// targetNotes is what else has to be known of a target: whom it hits besides, what restarts it.
func targetNotes(t Target) []string {
	var notes []string
	if t.Description.Restart != "" {
		notes = append(notes, "restart policy: "+t.Description.Restart)
	}
	if len(t.Description.Hits) > 0 {
		notes = append(notes, "hits as well: "+list(t.Description.Hits, 5))
	}
	return append(notes, t.Description.Notes...)
}

// notesOf is what else has to be known of a run: notes of its plan, and what was kept open.
func notesOf(s Summary) []string {
	notes := append([]string{}, s.Header.Plan.Notes...)
	if exempt := s.Header.Plan.Exempt; len(exempt) > 0 {
		notes = append(notes, "The control path was never hit: "+list(exempt, 10)+".")
	}
	if secrets := s.Header.Secrets; len(secrets) > 0 {
		notes = append(notes, "Values that were used and are not shown: "+list(secrets, 10)+".")
	}
	return notes
}

// environment is where the run was, for people.
func environment(s Summary) [][2]string {
	h := s.Header
	rows := [][2]string{
		{"Run", h.Run}, {"Exit code", fmt.Sprint(int(s.Exit))}, {"Started", stampSaid(h.Started)}, {"Ended", stampSaid(s.Ended)}, {"Seed", fmt.Sprint(h.Plan.Seed)},
		{"Host", h.Host}, {"System", h.OS}, {"User", h.User}, {"faultline", h.Version},
	}
	if h.Engine != "" {
		rows = append(rows, [2]string{"Engine", h.Engine})
	}
	for _, key := range slices.Sorted(maps.Keys(h.Plan.Experiment.Labels)) {
		rows = append(rows, [2]string{"Label " + short(key, 60), h.Plan.Experiment.Labels[key]})
	}
	return rows
}
