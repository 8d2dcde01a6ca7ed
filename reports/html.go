package reports

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

//go:embed html.tmpl
var htmlTemplate string

//go:embed html.css
var htmlStyle string

// together is the only thing the template does with a text but escaping it.
var page = template.Must(template.New("report").Funcs(template.FuncMap{"u": together}).Parse(htmlTemplate))

// What one page shows, so that it stays under 2 MiB whatever the run was;
// report.json has all of it, and the page says how much was left out.
const (
	htmlCharts  = 12
	htmlRows    = 1000
	htmlTargets = 200
	htmlLanes   = 40
	htmlLines   = 300
)

// HTML writes one self-contained page: it asks no other host for anything.
func HTML(w io.Writer, s Summary) error {
	if err := page.Execute(w, viewOf(s)); err != nil {
		return fmt.Errorf("write the report as HTML: %w", err)
	}
	return nil
}

// view is what the page shows. Every text in it is cleaned and bounded; the
// template escapes it for its place.
type view struct {
	Style      template.CSS
	Name       string
	Hypothesis string
	Verdict    badge
	Outcome    string // the headline's first sentence
	Headline   string // and what follows it
	Undone     string
	UndoneOK   bool
	Labels     [][2]string
	Facts      [][2]string
	Axes       []axisView
	Story      []string
	Timeline   timelineView
	Figures    []figuresView
	Rest       []restView
	RestMore   int
	Targets    []targetView
	TargetMore int
	Faults     []faultView
	Log        [][2]string
	LogMore    int
	Document   string
	Command    string
	Notes      []string
}

// badge is a verdict for the eye; Mark tells it without colour.
type badge struct{ Class, Mark, Word string }

var marks = map[experiments.Verdict]string{experiments.Passed: "✓", experiments.Inconclusive: "?", experiments.Failed: "✗"}

func badgeOf(v experiments.Verdict) badge { return badge{v.String(), marks[v], v.String()} }

type axisView struct {
	Question string
	Verdict  badge
	Why      []string
	More     []string // behind a fold
}

type figuresView struct {
	Name, Kind, Expect, Every, Asked string
	Verdict                          badge
	Outage, Recover                  string
	Story                            string
	Phases                           []phaseRow
	Bad, Unknown                     []string // reasons
}

type phaseRow struct {
	Phase string
	Cells []string
	Worse bool // less than all were good
}

type restView struct {
	Name, Available, P99, Outage, Recover string
	Verdict                               badge
	Strip                                 stripView
}

type faultView struct {
	Name, Kind, Facts, Undo string
}

type targetView struct {
	Fault, Name, ID, State, Why, Asked, Measured, Injected, Undone, Back string
	Notes                                                                []string
	Confirmed, Left                                                      bool
}

func viewOf(s Summary) view {
	e := s.Header.Plan.Experiment
	v := view{
		Style: template.CSS(htmlStyle), // our own file
		Name:  short(e.Name, longestName), Hypothesis: short(e.Hypothesis, longestLine), Verdict: badgeOf(s.Verdict),
		Outcome: outcome(&s), Headline: short(s.Because, 2*longestLine), Undone: undoneSaid(s), UndoneOK: s.Undone == UndoneYes,
		Document: shortText(s.Header.Document, longestText), Command: short(shellLine(s.Header.Command), 4*longestLine),
		Timeline: timelineOf(s),
	}
	for _, row := range environment(s) {
		v.Facts = append(v.Facts, [2]string{short(row[0], 80), short(row[1], longestLine)})
	}
	for _, a := range s.Axes {
		v.Axes = append(v.Axes, axisViewOf(a))
	}
	for _, line := range s.Story {
		v.Story = append(v.Story, short(line, 2*longestLine))
	}
	v.addProbes(s)
	v.addFaults(s)
	for n, l := range s.Log {
		if n == htmlLines {
			v.LogMore = len(s.Log) - n
			break
		}
		v.Log = append(v.Log, [2]string{signed(l.Off - s.Zero), short(l.Text, longestLine)})
	}
	for _, note := range notesOf(s) {
		if len(v.Notes) < 20 {
			v.Notes = append(v.Notes, short(note, longestLine))
		}
	}
	return v
}

// shownWhys is how many sentences of an axis stand open.
const shownWhys = 3

func axisViewOf(a Axis) axisView {
	v := axisView{Question: questions[a.Name], Verdict: badgeOf(a.Verdict)}
	for n, why := range a.Why {
		if n < shownWhys {
			v.Why = append(v.Why, short(why, 2*longestLine))
		} else {
			v.More = append(v.More, short(why, 2*longestLine))
		}
	}
	return v
}

// charted are the probes that get a picture of their own, and those that get one line.
func (s Summary) charted() (charts, rest []Probe) {
	if len(s.Probes) <= htmlCharts {
		return s.Probes, nil
	}
	all := s.worstFirst()
	return all[:htmlCharts], all[htmlCharts:]
}

func (v *view) addProbes(s Summary) {
	charts, rest := s.charted()
	for _, p := range charts {
		v.Figures = append(v.Figures, figuresViewOf(p))
	}
	if len(rest) > htmlRows {
		v.RestMore, rest = len(rest)-htmlRows, rest[:htmlRows]
	}
	for _, p := range rest {
		v.Rest = append(v.Rest, restView{
			Name: short(p.Name, 60), Verdict: badgeOf(max(p.Hypothesis, p.Recovery)), P99: latency(p.During.P99),
			Available: availability(p.During, shareOr(p.Tolerate.During, 1)), Outage: outageSaid(p), Recover: recoverSaid(p),
			Strip: stripOf(s, p.Pixels.AtMost(max(24, 12_000/len(rest)))),
		})
	}
}

func figuresViewOf(p Probe) figuresView {
	limit := shareOr(p.Tolerate.During, 1)
	v := figuresView{
		Name: short(p.Name, longestName), Kind: short(p.Kind, 40), Expect: short(p.Expect, 300), Every: p.Every.String(), Asked: toleranceSaid(p.Tolerate),
		Verdict: badgeOf(max(p.Hypothesis, p.Recovery)), Outage: outageSaid(p), Recover: recoverSaid(p), Story: short(p.Story, 2*longestLine),
		Bad: reasonLines(p.BadReasons), Unknown: reasonLines(p.UnknownReasons),
	}
	for _, f := range p.byPhase() {
		c := figureCells(f.Figures, limit)
		v.Phases = append(v.Phases, phaseRow{string(f.Phase), []string{c[4], c[0], c[2], c[3], c[5], c[6], c[7]}, f.Bad > 0})
	}
	return v
}

// toleranceSaid is what the author asked of the probe.
func toleranceSaid(t experiments.Tolerance) string {
	text := "at least " + percent(shareOr(t.During, 1)) + " good during the faults"
	if t.During == nil {
		text = "all answers good during the faults"
	}
	if t.Outage != nil {
		text += ", no outage longer than " + length(t.Outage.Std())
	}
	if t.Recover != nil {
		text += ", good again within " + length(t.Recover.Std())
	}
	return text
}

func reasonLines(each []Reason) []string {
	var lines []string
	for n, r := range each {
		if n == 5 {
			return append(lines, fmt.Sprintf("and %s", counted(len(each)-n, "other reason")))
		}
		lines = append(lines, count(r.Count)+" × "+short(r.Why, 200))
	}
	return lines
}

func (v *view) addFaults(s Summary) {
	for _, f := range s.Faults {
		if len(v.Faults) < htmlLanes {
			fv := faultView{Name: short(f.Name, longestName), Kind: short(f.Kind, 60), Facts: short(faultFacts(f), longestLine)}
			for _, t := range f.Targets {
				fv.Undo = firstOf(fv.Undo, short(t.Description.Undo, 300))
			}
			v.Faults = append(v.Faults, fv)
		}
		for _, t := range f.Targets {
			if len(v.Targets) == htmlTargets {
				v.TargetMore++
				continue
			}
			v.Targets = append(v.Targets, targetViewOf(s, f, t))
		}
	}
}

func targetViewOf(s Summary, f Fault, t Target) targetView {
	v := targetView{
		Fault: short(f.Name, longestName), Name: short(t.Name, longestName), ID: short(firstOf(t.Description.ID, t.Victim.ID), 80),
		State: t.State, Why: short(t.Why, 300), Asked: short(askedSaid(f, t), 300), Measured: short(figuresSaid(t.Measured), 300),
		Injected: offsetSaid(s, t.Injected), Undone: short(undoneOffset(s, f, t), 300),
		Confirmed: t.State == string(experiments.EffectOn) || t.State == string(experiments.EffectGone) && f.Irreversible, Left: t.UndoError != "" || t.Open,
	}
	if t.Return != nil {
		v.Back = short(trimStart(comebackSaid(*t.Return)), 300)
	}
	for _, note := range targetNotes(t) {
		if len(v.Notes) < 5 {
			v.Notes = append(v.Notes, short(note, 300))
		}
	}
	if t.EndedEarly != nil {
		v.Why = short("ended early: "+t.EndedEarly.Text, 300)
	}
	return v
}

func trimStart(text string) string {
	for len(text) > 0 && (text[0] == ';' || text[0] == ' ') {
		text = text[1:]
	}
	return text
}

// span is how much of the picture lies between two moments, in percent.
func (s Summary) span(from, to time.Duration) float64 {
	return 100 * float64(to-from) / float64(s.To-s.From)
}
