package reports

import (
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Figures are one probe's samples in one phase.
type Figures struct {
	Samples, Good, Bad, Unknown uint64
	// P50, P95 and P99 are over all answers, good and bad, within 0.2 %; nil when there was none.
	P50, P95, P99 *time.Duration
	// Latest is how late the latest question was asked.
	Latest time.Duration
}

// Span is a length of time, or the least it can have been.
type Span struct {
	Length  time.Duration
	AtLeast bool // its end never came
}

func (s Span) String() string {
	if s.AtLeast {
		return "≥ " + length(s.Length)
	}
	return length(s.Length)
}

// Reason is why samples were bad or unknown.
type Reason struct {
	Why   string
	Count uint64
}

// mostReasons and longestReason bound the memory of one probe's reasons.
const (
	mostReasons   = 32
	longestReason = 300
)

// reasons counts texts in the order in which they came first; what no longer fits is counted as "other".
type reasons struct {
	each  []Reason
	place map[string]int
	other uint64
}

func (r *reasons) add(why string) {
	if why == "" {
		why = "no reason was recorded"
	}
	why = cutAt(why, longestReason)
	if at, ok := r.place[why]; ok {
		r.each[at].Count++
		return
	}
	if len(r.each) == mostReasons {
		r.other++
		return
	}
	if r.place == nil {
		r.place = map[string]int{}
	}
	r.place[why] = len(r.each)
	r.each = append(r.each, Reason{Why: why, Count: 1})
}

// sorted gives the most frequent first; equals stay in the order of their first coming.
func (r *reasons) sorted() []Reason {
	each := slices.Clone(r.each)
	slices.SortStableFunc(each, func(a, b Reason) int {
		switch {
		case a.Count > b.Count:
			return -1
		case a.Count < b.Count:
			return 1
		}
		return 0
	})
	if r.other > 0 {
		each = append(each, Reason{Why: "other reasons", Count: r.other})
	}
	return each
}

// stretch is a row of bad answers, by when they were due.
type stretch struct {
	from, to time.Duration // to: the next good one, or the last one seen
	ended    bool
}

func (s stretch) length() time.Duration { return s.to - s.from }

// course follows one probe's outcomes in the order in which they were due, from
// During on. Where an outcome is unknown, as says what it is taken for; taken
// for unknown, it neither begins nor ends a stretch.
type course struct {
	as     experiments.Outcome
	origin time.Duration // from when recovery counts
	undone bool          // origin is known

	current   *stretch
	longest   stretch
	whole     stretch // from the first bad answer to the end of the last stretch
	stretches int
	row, most int // bad answers in a row

	last      time.Duration
	firstGood time.Duration // of the good answers at or after origin, after the last bad one
	good      bool          // firstGood is set
	after     uint64        // known answers at or after origin
}

func (c *course) add(due time.Duration, o experiments.Outcome) {
	c.last = due
	if o == experiments.OutcomeUnknown {
		o = c.as
	}
	switch o {
	case experiments.OutcomeBad:
		c.bad(due)
	case experiments.OutcomeGood:
		c.answer(due)
		c.row = 0
		c.end(due, true)
		if c.undone && due >= c.origin && !c.good {
			c.firstGood, c.good = due, true
		}
	}
}

func (c *course) bad(due time.Duration) {
	c.answer(due)
	c.good = false
	c.row++
	c.most = max(c.most, c.row)
	if c.current == nil {
		c.current = &stretch{from: due}
		if c.stretches == 0 {
			c.whole.from = due
		}
		c.stretches++
	}
}

func (c *course) answer(due time.Duration) {
	if c.undone && due >= c.origin {
		c.after++
	}
}

func (c *course) end(at time.Duration, ended bool) {
	if c.current == nil {
		return
	}
	c.current.to, c.current.ended = at, ended
	c.whole.to, c.whole.ended = at, ended
	if c.current.length() > c.longest.length() || c.longest == (stretch{}) {
		c.longest = *c.current
	}
	c.current = nil
}

func (c *course) outage() Span {
	return Span{Length: c.longest.length(), AtLeast: c.stretches > 0 && !c.longest.ended}
}

// recovery is nil when nothing was seen after the last undo.
func (c *course) recovery() *Span {
	if !c.undone || c.after == 0 {
		return nil
	}
	if c.good {
		return &Span{Length: c.firstGood - c.origin}
	}
	return &Span{Length: c.last - c.origin, AtLeast: true}
}

// look is what is kept of a sample until its place in the order is certain.
type look struct {
	due     time.Duration
	outcome experiments.Outcome
}

// window is how many samples of one probe may overtake each other: a slow
// answer is recorded after quicker ones that were asked for later.
const window = 2048

// probeFold is everything that is kept of one probe's samples, whatever their number.
type probeFold struct {
	phases  map[experiments.Phase]*phaseFold
	reasons map[experiments.Outcome]*reasons
	pixels  *Pixels

	seen, best, worst course // unknown as it is, taken for good, taken for bad

	pending  []look
	released time.Duration
	lost     uint64 // samples that came too late for their place in the order
}

type phaseFold struct {
	figures Figures
	times   histogram
}

func newProbeFold(r *record) *probeFold {
	p := &probeFold{
		phases:  map[experiments.Phase]*phaseFold{},
		reasons: map[experiments.Outcome]*reasons{experiments.OutcomeBad: {}, experiments.OutcomeUnknown: {}},
		pixels:  newPixels(r.from(), r.to()),
	}
	origin, undone := r.recoveryOrigin()
	for _, c := range []*course{&p.seen, &p.best, &p.worst} {
		c.origin, c.undone = origin, undone
	}
	p.best.as, p.worst.as = experiments.OutcomeGood, experiments.OutcomeBad
	p.released = -1 << 62
	return p
}

func (p *probeFold) add(phase experiments.Phase, due time.Duration, s experiments.Sample) {
	f := p.phases[phase]
	if f == nil {
		f = &phaseFold{}
		p.phases[phase] = f
	}
	f.add(s)
	if r := p.reasons[s.Outcome]; r != nil {
		r.add(s.Why)
	}
	p.pixels.add(due, s)
	if phase == experiments.PhaseBefore {
		return
	}
	p.pending = append(p.pending, look{due, s.Outcome})
	if len(p.pending) == 2*window {
		p.release(window)
	}
}

func (f *phaseFold) add(s experiments.Sample) {
	f.figures.Samples++
	f.figures.Latest = max(f.figures.Latest, s.Late)
	switch s.Outcome {
	case experiments.OutcomeGood:
		f.figures.Good++
	case experiments.OutcomeBad:
		f.figures.Bad++
	default:
		f.figures.Unknown++
		return // no answer came: there is nothing to time
	}
	f.times.add(s.Took)
}

func (f *phaseFold) result() Figures {
	r := f.figures
	if p := f.times.percentiles(0.50, 0.95, 0.99); p != nil {
		r.P50, r.P95, r.P99 = &p[0], &p[1], &p[2]
	}
	return r
}

// release hands the n earliest pending samples to the courses, in order.
func (p *probeFold) release(n int) {
	slices.SortStableFunc(p.pending, func(a, b look) int { return int(min(max(a.due-b.due, -1), 1)) })
	for _, l := range p.pending[:n] {
		if l.due < p.released {
			p.lost++
			continue
		}
		p.released = l.due
		for _, c := range []*course{&p.seen, &p.best, &p.worst} {
			c.add(l.due, l.outcome)
		}
	}
	p.pending = append(p.pending[:0], p.pending[n:]...)
}

func (p *probeFold) finish() {
	p.release(len(p.pending))
	for _, c := range []*course{&p.seen, &p.best, &p.worst} {
		c.end(c.last, false)
	}
}

// figures are the probe's in one phase; zero when it has none.
func (p *probeFold) figures(phase experiments.Phase) Figures {
	if f := p.phases[phase]; f != nil {
		return f.result()
	}
	return Figures{}
}
