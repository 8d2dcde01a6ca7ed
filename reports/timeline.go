package reports

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// timelineView is the picture of a run: faults over probes on one axis of time.
// Shapes are SVG that stretches with the page; words are HTML, so that they stay
// readable on a phone.
type timelineView struct {
	Phases   []bandView
	Ticks    []tickView
	Lanes    []laneView
	LaneMore int
	Charts   []chartView
}

type bandView struct {
	Name        string
	Left, Width float64 // percent
}

type tickView struct {
	Text  string
	Left  float64
	Minor bool // left out where there is little room
}

// laneView is one fault: when it was on which target.
type laneView struct {
	Name, Kind, Said string
	Bars             []barView
}

// barView is in units of the lane's picture: 1000 wide.
type barView struct {
	X, Width float64
	Y, High  float64
	Class    string
	Said     string
}

// chartView is one probe.
type chartView struct {
	ID                 int
	Name, Said         string
	Verdict            badge
	Shades             []barView // when any fault was on
	Good, Bad, Unknown string    // SVG paths
	Column, BadColumn  float64   // widths
	Grid               []gridView
	Strip              stripView
}

type gridView struct {
	Y    float64 // of 100
	Text string
}

// stripView is good, bad and unknown along time, at no height.
type stripView struct{ Good, Bad, Unknown string }

// wide and high are the units of a picture.
const (
	wide = 1000.0
	high = 100.0
)

func timelineOf(s Summary) timelineView {
	v := timelineView{Ticks: ticksOf(s)}
	for _, p := range s.Phases {
		from, to := clampTo(s, p.From), clampTo(s, p.To)
		if to > from {
			v.Phases = append(v.Phases, bandView{short(string(p.Phase), 20), s.span(s.From, from), s.span(from, to)})
		}
	}
	for n, f := range s.Faults {
		if n == htmlLanes {
			v.LaneMore = len(s.Faults) - n
			break
		}
		v.Lanes = append(v.Lanes, laneOf(s, f))
	}
	shades := shadesOf(s)
	charts, _ := s.charted()
	for n, p := range charts {
		v.Charts = append(v.Charts, chartOf(s, n, p, shades))
	}
	return v
}

func clampTo(s Summary, d time.Duration) time.Duration { return min(max(d, s.From), s.To) }

// x is a moment's place in a picture.
func (s Summary) x(d time.Duration) float64 {
	return wide * float64(clampTo(s, d)-s.From) / float64(s.To-s.From)
}

var tickSteps = []time.Duration{
	100 * time.Millisecond, 200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 15 * time.Second,
	30 * time.Second, time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 15 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour, 6 * time.Hour, 24 * time.Hour,
}

// ticksOf marks round moments, counted from the first fault.
func ticksOf(s Summary) []tickView {
	step := tickSteps[len(tickSteps)-1]
	for _, t := range tickSteps {
		if (s.To-s.From)/t <= 10 {
			step = t
			break
		}
	}
	step = max(step, (s.To-s.From)/10) // longer than ten days
	var ticks []tickView
	for n := (s.From - s.Zero) / step; ; n++ {
		at := s.Zero + n*step
		if at > s.To {
			return ticks
		}
		if at >= s.From && s.span(s.From, at) < 97 {
			ticks = append(ticks, tickView{signed(n * step), s.span(s.From, at), n%2 != 0})
		}
	}
}

func laneOf(s Summary, f Fault) laneView {
	v := laneView{Name: short(f.Name, 80), Kind: short(f.Kind, 40)}
	shown := f.Targets[:min(len(f.Targets), 60)]
	said := []string{}
	for n, t := range shown {
		y, each := high*float64(n)/float64(len(shown)), high/float64(len(shown))
		bars := barsOf(s, f, t)
		for _, b := range bars {
			b.Y, b.High = y+each*0.08, each*0.84
			v.Bars = append(v.Bars, b)
		}
		if n < 3 && len(bars) > 0 {
			said = append(said, bars[0].Said)
		}
	}
	if len(said) == 0 {
		said = []string{"not injected"}
	}
	v.Said = list(said, 3)
	if len(f.Targets) > 3 {
		v.Said += " and " + count(len(f.Targets)-3) + " more"
	}
	return v
}

// barsOf is one target's time: on, and after a kill the time until it came back.
func barsOf(s Summary, f Fault, t Target) []barView {
	if t.Injected == nil {
		return nil
	}
	from := t.Injected.Off
	to, class, said := s.To, "left", fmt.Sprintf("%s from %s, and no record of its end", short(t.Name, 80), signed(from-s.Zero))
	switch {
	case f.Irreversible:
		return kickBars(s, t)
	case t.EndedEarly != nil:
		to, class, said = t.EndedEarly.Off, "partly", fmt.Sprintf("%s from %s, ended early at %s", short(t.Name, 80), signed(from-s.Zero), signed(t.EndedEarly.Off-s.Zero))
	case t.Undone != nil && !t.Open:
		to, class, said = t.Undone.Off, "on", fmt.Sprintf("%s from %s to %s", short(t.Name, 80), signed(from-s.Zero), signed(t.Undone.Off-s.Zero))
	case t.UndoError != "":
		said = fmt.Sprintf("%s from %s, and it could not be put back", short(t.Name, 80), signed(from-s.Zero))
	}
	if class == "on" && t.State != string(experiments.EffectOn) {
		class = "partly"
	}
	return []barView{s.bar(from, to, class, said)}
}

// kickBars is a target that was hit in a moment: the moment, and how long it took to come back.
func kickBars(s Summary, t Target) []barView {
	from := t.Injected.Off
	said := fmt.Sprintf("%s at %s", short(t.Name, 80), signed(from-s.Zero))
	bars := []barView{}
	if b := t.Return; b != nil {
		for _, span := range []*Span{b.Healthy, b.Up} {
			if span == nil {
				continue
			}
			said += strings.Replace(comebackSaid(*b), "; it was", ",", 1)
			bars = append(bars, s.bar(from, from+span.Length, "back", said))
			break
		}
	}
	moment := s.bar(from, from, "on", said)
	return append([]barView{moment}, bars...)
}

func (s Summary) bar(from, to time.Duration, class, said string) barView {
	x := s.x(from)
	return barView{X: x, Width: max(s.x(to)-x, 4), Class: class, Said: said}
}

// shadesOf joins the times at which any fault was on, so that they can lie behind each probe.
func shadesOf(s Summary) []barView {
	var shades []barView
	for n, f := range s.Faults {
		if n == htmlLanes {
			break
		}
		var from, to time.Duration = math.MaxInt64, math.MinInt64
		for _, t := range f.Targets {
			if t.Injected == nil {
				continue
			}
			end := s.To
			if f.Irreversible {
				end = t.Injected.Off
			} else if t.Undone != nil {
				end = t.Undone.Off
			}
			from, to = min(from, t.Injected.Off), max(to, end)
		}
		if from <= to {
			shades = append(shades, s.bar(from, to, "shade", short(f.Name, 80)))
		}
	}
	return shades
}

// chartOf paints one probe: the slowest answer of each column, red where any answer was bad.
func chartOf(s Summary, id int, p Probe, shades []barView) chartView {
	pixels := p.Pixels.AtMost(720)
	if pixels.Width < p.Every && p.Every > 0 { // a column without a sample would look like a gap
		span := pixels.Width * time.Duration(len(pixels.Each))
		pixels = p.Pixels.AtMost(max(int(span/p.Every), 1))
	}
	least, most := decades(pixels)
	v := chartView{
		ID: id, Name: short(p.Name, longestName), Verdict: badgeOf(max(p.Hypothesis, p.Recovery)), Shades: shades,
		Column: wide*float64(pixels.Width)/float64(s.To-s.From) + 0.15, Strip: stripOf(s, pixels),
		Said: fmt.Sprintf("%s: %s, %s bad, %s unknown; longest outage %s.", short(p.Name, longestName),
			counted(p.Before.Samples+p.During.Samples+p.After.Samples, "answer"), count(p.Before.Bad+p.During.Bad+p.After.Bad),
			count(p.Before.Unknown+p.During.Unknown+p.After.Unknown), outageSaid(p)),
	}
	v.BadColumn = max(v.Column, 2.5)
	var goods, bads, unknowns path
	for n, pixel := range pixels.Each {
		x := s.x(pixels.From + time.Duration(n)*pixels.Width + pixels.Width/2)
		top := high * (1 - height(pixel.Most, least, most))
		switch {
		case pixel.Samples() == 0:
		case pixel.Worst() == experiments.OutcomeBad:
			bads.column(x, top)
		case pixel.Worst() == experiments.OutcomeUnknown:
			unknowns.column(x, 0)
		default:
			goods.column(x, top)
		}
	}
	v.Good, v.Bad, v.Unknown = goods.String(), bads.String(), unknowns.String()
	for ms := least; ms <= most*1.0001; ms *= 10 {
		v.Grid = append(v.Grid, gridView{high * (1 - height(uint32(min(ms*1000, math.MaxUint32)), least, most)), length(time.Duration(ms * float64(time.Millisecond)))})
	}
	return v
}

// decades are the powers of ten, in milliseconds, between which all answers lie.
func decades(p Pixels) (least, most float64) {
	low, top := uint32(math.MaxUint32), uint32(0)
	for _, x := range p.Each {
		if x.Good+x.Bad > 0 {
			low, top = min(low, max(x.Least, 1)), max(top, x.Most, 1)
		}
	}
	if top == 0 {
		return 1, 10
	}
	least = math.Pow(10, math.Floor(math.Log10(float64(low)/1000)))
	most = math.Pow(10, math.Ceil(math.Log10(float64(top)/1000)))
	if most <= least*1.0001 {
		most = least * 10
	}
	return least, most
}

// height is where a time lies between the decades, 0 to 1; never 0, so that the quickest answer is seen too.
func height(us uint32, least, most float64) float64 {
	ms := max(float64(us)/1000, least)
	return min(max(math.Log10(ms/least)/math.Log10(most/least), 0.03), 1)
}

// path is an SVG path of upright strokes.
type path struct{ strings.Builder }

func (p *path) column(x, top float64) {
	p.WriteString("M" + coordinate(x) + " " + coordinate(high) + "V" + coordinate(top))
}

func (p *path) run(from, to float64) {
	p.WriteString("M" + coordinate(from) + " 5H" + coordinate(to))
}

func coordinate(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

// stripOf paints runs of like outcomes; a bad one is never narrower than can be seen.
func stripOf(s Summary, p Pixels) stripView {
	paths := map[experiments.Outcome]*path{experiments.OutcomeGood: {}, experiments.OutcomeBad: {}, experiments.OutcomeUnknown: {}}
	for n := 0; n < len(p.Each); {
		if p.Each[n].Samples() == 0 {
			n++
			continue
		}
		from, worst := n, p.Each[n].Worst()
		for n < len(p.Each) && p.Each[n].Samples() > 0 && p.Each[n].Worst() == worst {
			n++
		}
		x, end := s.x(p.From+time.Duration(from)*p.Width), s.x(p.From+time.Duration(n)*p.Width)
		if worst != experiments.OutcomeGood {
			end = max(end, x+2.5)
		}
		paths[worst].run(x, end)
	}
	return stripView{paths[experiments.OutcomeGood].String(), paths[experiments.OutcomeBad].String(), paths[experiments.OutcomeUnknown].String()}
}
