package experiments

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// leastBaseline is the fewest samples that make a baseline.
const leastBaseline = 3

// leastEvery is the least time between two samples of one probe.
const leastEvery = Duration(time.Millisecond)

// checker finds what each key alone does not show: rules over a whole experiment.
type checker struct {
	*decoder
	parser *parser
	e      *Experiment
}

func (c checker) check() {
	if c.e.Name == "" && !c.given("name") {
		c.problem(c.at(""), "name is missing: write what the experiment is called in its report")
	}
	c.notEmpty("name", c.e.Name)
	if len(c.e.Faults)+len(c.e.Probes) == 0 && !c.broken("faults") && !c.broken("probes") {
		c.problem(c.at(""), "there are neither faults nor probes: nothing would happen; add at least one")
	}
	c.timeline()
	c.limits()
	c.faults()
	c.probes()
	c.rates()
	if c.e.Schedule != nil {
		c.schedule(*c.e.Schedule)
	}
}

func (c checker) notEmpty(path, value string) {
	if c.given(path) && strings.TrimSpace(value) == "" && !c.wrong(path) {
		c.problem(c.at(path), "%s is empty: write one", path)
	}
}

// wrong says whether the place of a path has a problem already: one mistake, one message.
func (c checker) wrong(path string) bool {
	n := c.at(path)
	return slices.ContainsFunc(c.problems, func(p Problem) bool { return p.Line == n.Line && p.Column == n.Column })
}

// broken says whether there is a problem at a path that is given.
func (c checker) broken(path string) bool { return c.given(path) && c.wrong(path) }

func (c checker) notNegative(path string, d Duration) bool {
	if d >= 0 {
		return true
	}
	c.problem(c.at(path), "%s is %s: a length of time is not negative", path, d)
	return false
}

func (c checker) positive(path string, d Duration) bool {
	if d > 0 || c.wrong(path) {
		return true
	}
	c.problem(c.at(path), "%s is %s: write a length above 0", path, d)
	return false
}

func (c checker) timeline() {
	t := c.e.Timeline
	c.notNegative("timeline.before", t.Before)
	c.notNegative("timeline.during", t.During)
	c.notNegative("timeline.after", t.After)
	lengths := slices.ContainsFunc(c.e.Faults, func(f Fault) bool { return f.For != 0 })
	if !lengths && !c.given("timeline.during") && !c.missingFor() {
		c.problem(c.at("timeline"), "timeline.during is missing: no fault has a `for`, so say how long to watch, as during: 30s")
	}
	if c.given("timeline.during") && t.During == 0 && !lengths {
		c.positive("timeline.during", t.During)
	}
}

// missingFor: then that is the mistake, and not a missing timeline.during.
func (c checker) missingFor() bool {
	for i, f := range c.e.Faults {
		kind, ok := c.faultKind(f.Kind)
		if !ok || kind.Undoable || c.given(fmt.Sprintf("faults[%d].for", i)) {
			return true
		}
	}
	return false
}

func (c checker) faultKind(kind string) (FaultKind, bool) {
	i := slices.IndexFunc(c.parser.catalog.Faults, func(k FaultKind) bool { return k.Kind == kind })
	if i < 0 {
		return FaultKind{}, false
	}
	return c.parser.catalog.Faults[i], true
}

func (c checker) limits() {
	l := c.e.Limits
	if l.Targets < 1 && !c.wrong("limits.targets") {
		c.problem(c.at("limits.targets"), "limits.targets is %d: write how many may be hit at most, from 1", l.Targets)
	}
	if l.Share != nil && *l.Share == 0 && !c.wrong("limits.share") {
		c.problem(c.at("limits.share"), "limits.share is 0%%: nothing could be hit; write a percentage above 0%%")
	}
	c.positive("limits.duration", l.Duration)
}

func (c checker) faults() {
	seen := map[string]int{}
	first := Duration(1<<63 - 1)
	for _, f := range c.e.Faults {
		first = min(first, f.At)
	}
	for i, f := range c.e.Faults {
		path := fmt.Sprintf("faults[%d]", i)
		c.named(path, "fault", f.Name, i, seen)
		c.notNegative(path+".at", f.At)
		c.length(path, f)
		c.policies(path, f)
		if on := f.At + f.For - first; f.At >= 0 && f.For >= 0 && on < 0 { // limits.duration itself is the plan's to refuse: it is a blast radius, not a mistake
			c.problem(c.lengthPlace(path), "%s ends later than any clock counts: no limits.duration allows that; shorten it", path)
		}
	}
}

func (c checker) lengthPlace(path string) *yaml.Node {
	if c.given(path + ".for") {
		return c.at(path + ".for")
	}
	return c.at(path + ".at")
}

// named: names tell probes and faults apart in a report, for people, who do not see blanks and letter case.
func (c checker) named(path, thing, name string, i int, seen map[string]int) {
	if !c.given(path + ".name") {
		return // it is called by its kind
	}
	c.notEmpty(path+".name", name)
	key := strings.ToLower(strings.Join(strings.Fields(name), " "))
	if other, taken := seen[key]; taken && key != "" {
		c.problem(c.at(path+".name"), "%s.name is %q, and so is that of %ss[%d]: give each its own", path, shorten(name), thing, other)
		return
	}
	seen[key] = i
}

func (c checker) length(path string, f Fault) {
	kind, known := c.faultKind(f.Kind)
	given := c.given(path + ".for")
	switch {
	case given && known && !kind.Undoable:
		c.problem(c.at(path+".for"), "%s.for does not apply: %s happens once, and what was hit comes back by itself or not at all; leave it out", path, f.Kind)
	case given:
		c.positive(path+".for", f.For)
	case known && kind.Undoable:
		c.problem(c.at(path), "%s.for is missing: %s is undone after it, so say how long it is on, as for: 30s", path, f.Kind)
	}
}

// policies checks the words that choose between ways.
func (c checker) policies(path string, f Fault) {
	known := []string{string(OnRestartStop), string(OnRestartReinject), string(OnRestartIgnore)}
	if !slices.Contains(known, string(f.OnRestart)) && !c.wrong(path+".on_restart") {
		c.problem(c.at(path+".on_restart"), "%s.on_restart is %q: %s", path, f.OnRestart, meant(string(f.OnRestart), known))
	}
	var doors []string
	for _, door := range Doors() {
		doors = append(doors, string(door))
	}
	for i, door := range f.Allow {
		where := fmt.Sprintf("%s.allow[%d]", path, i)
		if !slices.Contains(doors, string(door)) && !c.wrong(where) {
			c.problem(c.at(where), "%s is %q, which is no door: %s", where, door, meant(string(door), doors))
		}
	}
}

func (c checker) probes() {
	seen := map[string]int{}
	for i := range c.e.Probes {
		probe := &c.e.Probes[i]
		path := fmt.Sprintf("probes[%d]", i)
		c.named(path, "probe", probe.Name, i, seen)
		c.every(path, *probe)
		c.tolerate(path+".tolerate", probe.Tolerate)
		c.expect(path, probe)
	}
}

func (c checker) every(path string, p Probe) {
	if c.wrong(path+".every") && c.given(path+".every") {
		return
	}
	if p.Every < leastEvery {
		c.problem(c.at(path+".every"), "%s.every is %s: write %s or more", path, p.Every, leastEvery)
		return
	}
	before := c.e.Timeline.Before
	samples := (before-1)/p.Every + 1
	if before > 0 && samples < leastBaseline {
		c.problem(c.at(path+".every"), "%s is asked every %s, so that timeline.before (%s) has %d of the %d samples that a baseline needs: ask more often, lengthen before, or skip the baseline with before: 0s",
			path, p.Every, before, samples, leastBaseline)
	}
}

func (c checker) tolerate(path string, t Tolerance) {
	if t.Outage != nil {
		c.notNegative(path+".outage", *t.Outage)
	}
	if t.Recover != nil && c.notNegative(path+".recover", *t.Recover) && *t.Recover > max(0, c.e.Timeline.After) && !c.wrong("timeline.after") {
		c.problem(c.at(path+".recover"), "%s.recover is %s, and timeline.after is only %s: nobody would look that long; lengthen after or shorten recover", path, *t.Recover, c.e.Timeline.After)
	}
	if t.Abort < 0 {
		c.problem(c.at(path+".abort"), "%s.abort is %d: write how many bad answers in a row end the run, from 1, or leave it out", path, t.Abort)
	}
	c.positive(path+".blind", t.Blind)
}

// expect fills in the kind's own expectation and compiles what the author wrote.
func (c checker) expect(path string, p *Probe) {
	i := slices.IndexFunc(c.parser.catalog.Probes, func(k ProbeKind) bool { return k.Kind == p.Kind })
	if i < 0 {
		return
	}
	kind := c.parser.catalog.Probes[i]
	if !c.given(path + ".expect") {
		p.Expect = kind.Expect
	} else if c.wrong(path + ".expect") {
		return
	}
	err := c.parser.try(kind, p.Expect)
	switch {
	case err == nil:
	case c.hides(path + ".expect"):
		c.problem(c.at(path+".expect"), "%s.expect is no expression once its references are replaced; a reading of %s has %s", path, kind.Kind, readingNames(kind.Reading))
	default:
		c.problem(c.at(path+".expect"), "%s.expect: %v; a reading of %s has %s", path, err, kind.Kind, readingNames(kind.Reading))
	}
}

// try compiles an expectation and evaluates it on the kind's sample reading.
func (p *parser) try(kind ProbeKind, source string) error {
	env, ok := p.envs[kind.Kind]
	if !ok {
		made, err := expectEnv(kind.Reading)
		if err != nil {
			return err
		}
		p.envs[kind.Kind], env = made, made
	}
	e, err := compileExpect(env, source)
	if err != nil {
		return err
	}
	return e.try(kind.Reading)
}

func readingNames(r Reading) string {
	var all []string
	for name := range r {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// rates adds up how often all probes of a kind ask, where the kind is dear.
func (c checker) rates() {
	for _, kind := range c.parser.catalog.Probes {
		rate, last := 0.0, -1
		for i, p := range c.e.Probes {
			if p.Kind == kind.Kind && p.Every >= leastEvery {
				rate, last = rate+1/p.Every.Seconds(), i
			}
		}
		if kind.MaxRate > 0 && rate > kind.MaxRate {
			path := fmt.Sprintf("probes[%d]", last)
			c.problem(c.at(path+".every"), "all %s probes together ask %.4g times a second, and %.4g is the most: ask less often", kind.Kind, rate, kind.MaxRate)
		}
	}
}
