package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"golang.org/x/term"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// repaint is how often the live view shows the time that is left.
const repaint = 250 * time.Millisecond

// latest is how many answers the shown latency is the median of.
const latest = 50

// live is progress on a terminal: the lines of a log, and below them a few that
// are painted anew. It never changes the terminal's mode, which a SIGKILL would
// leave changed: Ctrl-C is the key that ends a run.
type live struct {
	*lines
	host    platform.Host
	screen  *os.File
	colour  bool
	phase   experiments.Phase
	ends    experiments.Boottime
	on      map[string]string // an injection's ID to what is on
	asked   []asking
	painted int // lines that stand there now
	stop    chan struct{}
	stopped chan struct{}
}

// asking is what one probe has seen in this phase.
type asking struct {
	name               string
	good, bad, unknown int
	last               experiments.Outcome
	took               []time.Duration // the latest answers
}

// terminal gives the terminal that standard error is, if it is one that can be painted on.
func (a *app) terminal() (*os.File, bool) {
	screen, ok := a.err.(*os.File)
	usable := ok && !a.quiet && a.getenv("TERM") != "dumb" && term.IsTerminal(int(screen.Fd()))
	return screen, usable
}

func (a *app) live(plan experiments.Plan, host platform.Host, screen *os.File) *live {
	l := &live{
		lines: a.lines(plan), host: host, screen: screen, colour: a.getenv("NO_COLOR") == "",
		on: map[string]string{}, stop: make(chan struct{}), stopped: make(chan struct{}),
	}
	for _, p := range plan.Experiment.Probes {
		l.asked = append(l.asked, asking{name: a.secrets.Redact(p.Name)})
	}
	go l.keepPainting()
	return l
}

func (l *live) keepPainting() {
	defer close(l.stopped)
	ticker := time.NewTicker(repaint)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			l.mu.Lock()
			l.paint()
			l.mu.Unlock()
		case <-l.stop:
			return
		}
	}
}

// Close takes the painted lines away; what was said stays.
func (l *live) Close() {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return
	}
	l.closed = true
	l.erase()
	l.mu.Unlock()
	close(l.stop)
	<-l.stopped
}

// Event writes its line above the painted ones.
func (l *live) Event(e experiments.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.learn(e)
	l.erase()
	l.tell(e)
	l.paint()
}

// Sample counts; the next painting shows it.
func (l *live) Sample(s experiments.Sample) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || s.Probe < 0 || s.Probe >= len(l.asked) {
		return
	}
	if l.a.verbose && s.Outcome != experiments.OutcomeGood {
		l.erase()
		l.tellSample(s)
	}
	p := &l.asked[s.Probe]
	p.last = s.Outcome
	switch s.Outcome {
	case experiments.OutcomeGood:
		p.good++
	case experiments.OutcomeBad:
		p.bad++
	default:
		p.unknown++
		return // no answer has no latency
	}
	p.took = append(p.took, s.Took)
	p.took = p.took[max(0, len(p.took)-latest):]
}

func (l *live) learn(e experiments.Event) {
	switch e.Type {
	case experiments.EventPhase:
		l.phase = e.Phase
		l.ends = l.host.Boottime().Add(phaseLength(l.plan, e.Phase))
		for i := range l.asked {
			l.asked[i] = asking{name: l.asked[i].name}
		}
	case experiments.EventInjected:
		if e.Error == "" && e.Fault > 0 && e.Fault <= len(l.plan.Faults) && l.plan.Faults[e.Fault-1].For > 0 {
			l.on[e.Target] = l.plan.Faults[e.Fault-1].Kind + orNothing(" on ", l.names[e.Target])
		}
	case experiments.EventUndone:
		if e.Error == "" {
			delete(l.on, e.Target)
		}
	}
}

// phaseLength is how long a phase is meant to be.
func phaseLength(p experiments.Plan, phase experiments.Phase) time.Duration {
	t := p.Experiment.Timeline
	switch phase {
	case experiments.PhaseBefore:
		return t.Before.Std()
	case experiments.PhaseAfter:
		return t.After.Std()
	}
	longest := t.During
	for _, f := range p.Faults {
		longest = max(longest, f.At+f.For)
	}
	return longest.Std()
}

func (l *live) erase() {
	if l.painted > 0 {
		fmt.Fprintf(l.screen, "\x1b[%dA\x1b[J", l.painted)
		l.painted = 0
	}
}

// paint writes the lines in one go, each no wider than the terminal, so that
// none of them breaks and the next erasing takes away just these.
func (l *live) paint() {
	if l.closed || l.phase == "" {
		return
	}
	width, height, err := term.GetSize(int(l.screen.Fd()))
	if err != nil || width < 20 {
		width, height = 80, 24
	}
	lines := l.view()
	lines = lines[:min(len(lines), max(1, height-2))]
	var text strings.Builder
	if l.painted > 0 {
		fmt.Fprintf(&text, "\x1b[%dA\x1b[J", l.painted)
	}
	for _, line := range lines {
		text.WriteString(l.coloured(clip(printable(line.text), width-1), line.state) + "\n")
	}
	l.painted = len(lines)
	fmt.Fprint(l.screen, text.String())
}

// painted lines have the colour of what the last answer was.
type viewLine struct {
	text  string
	state experiments.Outcome
}

func (l *live) view() []viewLine {
	left := max(0, l.ends.Sub(l.host.Boottime())).Round(time.Second)
	lines := []viewLine{{text: fmt.Sprintf("── %s, %s left ── Ctrl-C: heal and end", l.phase, left)}}
	for _, id := range slices.Sorted(maps.Keys(l.on)) {
		lines = append(lines, viewLine{text: "   on: " + l.a.secrets.Redact(l.on[id])})
	}
	for _, p := range l.asked {
		lines = append(lines, viewLine{p.text(), p.last})
	}
	return lines
}

func (p asking) text() string {
	known := p.good + p.bad
	availability, latency := "  no answer yet", ""
	if known > 0 {
		availability = fmt.Sprintf("%6.2f%% of %d good", 100*float64(p.good)/float64(known), known)
		sorted := slices.Sorted(slices.Values(p.took))
		latency = fmt.Sprintf(", median %s", sorted[len(sorted)/2].Round(10*time.Microsecond))
	}
	unknown := ""
	if p.unknown > 0 {
		unknown = fmt.Sprintf(", could not look %d times", p.unknown)
	}
	return fmt.Sprintf("   %-28s %s%s%s", clip(p.name, 28), availability, latency, unknown)
}

// colours of the last answer; a state also shows in words.
var colours = map[experiments.Outcome]string{experiments.OutcomeGood: "\x1b[32m", experiments.OutcomeBad: "\x1b[31m"}

func (l *live) coloured(text string, state experiments.Outcome) string {
	if colour, ok := colours[state]; ok && l.colour {
		return colour + text + "\x1b[0m"
	}
	return text
}

// printable keeps others' names from steering the terminal.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

func clip(s string, width int) string {
	if runes := []rune(s); len(runes) > width {
		return string(runes[:max(1, width-1)]) + "…"
	}
	return s
}
