package scheduler

import (
	"container/heap"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/probes"
)

const (
	// maxInFlight bounds the questions that wait for an answer at one time. A sample that
	// meets the bound is recorded as unknown, so a bound that is too low never looks like an outage.
	maxInFlight = 8192
	// maxStarting bounds the questions that this machine has not got round to. More of
	// them would starve all else that runs here, the heartbeat to the holder above all.
	maxStarting = 1024
	// spread is the time over which the probes' first questions are laid, so that
	// a thousand probes with one period do not ask in the same millisecond.
	spread = time.Second
	// tooLate is when an overdue question is no longer asked: after a suspend, asking
	// everything that was missed would be a burst that no schedule meant.
	tooLate = time.Second
	// overrun is how much longer than its timeout an answer is waited for: a probe that
	// does not keep its own timeout must not keep its sample from the guard.
	overrun = 2 * time.Second
)

// Prepared is a probe that is open and can be judged.
type Prepared struct {
	Name    string
	Probe   probes.Probe
	Judge   func(experiments.Reading) (experiments.Outcome, string)
	Every   time.Duration
	Timeout time.Duration
}

// Prepare opens every probe of an experiment and compiles what is expected of
// it; nothing is asked yet. Its error is a *Refusal with every reason at once,
// and then nothing stays open.
func Prepare(w *platform.World, e experiments.Experiment, kinds []probes.Kind) ([]Prepared, error) {
	prepared := make([]Prepared, 0, len(e.Probes))
	known := judges{}
	var why reasons
	checkRates(e, kinds, &why)
	for _, p := range e.Probes {
		one, err := prepare(w, p, kinds, known)
		if err != nil {
			why.add(experiments.ExitRefused, "open probe %q (%s): %v", p.Name, p.Kind, err)
			continue
		}
		prepared = append(prepared, one)
	}
	err := why.err()
	if err == nil {
		return prepared, nil
	}
	return nil, errors.Join(err, CloseAll(prepared))
}

func prepare(w *platform.World, p experiments.Probe, kinds []probes.Kind, known judges) (Prepared, error) {
	kind, ok := kindOf(p.Kind, kinds)
	if !ok {
		return Prepared{}, fmt.Errorf("this build knows no probe %q", p.Kind)
	}
	if p.Every <= 0 {
		return Prepared{}, fmt.Errorf("every is %s: write a length above 0", p.Every)
	}
	var settings struct {
		Timeout experiments.Duration `json:"timeout"`
	}
	if err := json.Unmarshal(p.Settings, &settings); err != nil {
		return Prepared{}, fmt.Errorf("read its timeout: %w", err)
	}
	if settings.Timeout <= 0 {
		settings.Timeout = probes.DefaultTimeout
	}
	judge, err := known.of(p, kind)
	if err != nil {
		return Prepared{}, err
	}
	open, err := kind.Open(w, p.Settings)
	if err != nil {
		return Prepared{}, err
	}
	return Prepared{Name: p.Name, Probe: open, Judge: judge, Every: p.Every.Std(), Timeout: settings.Timeout.Std()}, nil
}

// checkRates refuses more questions a second than a kind can ask without being the fault itself.
func checkRates(e experiments.Experiment, kinds []probes.Kind, why *reasons) {
	for _, k := range kinds {
		rate := 0.0
		for _, p := range e.Probes {
			if p.Kind == k.Kind && p.Every > 0 {
				rate += 1 / p.Every.Seconds()
			}
		}
		if k.MaxRate > 0 && rate > k.MaxRate+1e-9 {
			why.add(experiments.ExitRefused, "the %s probes ask %.0f times a second together and %.0f is the most: raise `every`", k.Kind, rate, k.MaxRate)
		}
	}
}

func kindOf(name string, kinds []probes.Kind) (probes.Kind, bool) {
	for _, k := range kinds {
		if k.Kind == name {
			return k, true
		}
	}
	return probes.Kind{}, false
}

// CloseAll closes probes that Prepare opened.
func CloseAll(prepared []Prepared) error {
	var errs []error
	for _, p := range prepared {
		if err := p.Probe.Close(); err != nil {
			errs = append(errs, fmt.Errorf("close probe %q: %w", p.Name, err))
		}
	}
	return errors.Join(errs...)
}

// Sampler asks every probe by an open schedule: question k of a probe is due at
// a time that no earlier answer can move. Every question that was due becomes
// exactly one sample, whether it could be asked or not.
type Sampler struct {
	host   platform.Host
	probes []Prepared
	sink   func(experiments.Sample)

	telling sync.Mutex // one call of sink at a time

	mu      sync.Mutex
	open    map[*question]struct{} // asked, and neither answered nor given up
	untold  int                    // asked, and its sample not handed over yet
	busy    []int                  // looks that have not returned, for each probe
	looking int                    // and for all of them
	waiting int                    // of these, looks that have not begun
	ending  bool
	drained chan struct{} // closed once ending and nothing is untold
}

// question is one that waits for its answer.
type question struct {
	probe int
	due   experiments.Boottime
	late  time.Duration
}

// NewSampler makes a sampler. It calls sink once a sample, one call at a time,
// in the order of the answers; Sample.Probe is the place in prepared.
func NewSampler(host platform.Host, prepared []Prepared, sink func(experiments.Sample)) *Sampler {
	return &Sampler{
		host: host, probes: prepared, sink: sink,
		open: map[*question]struct{}{}, busy: make([]int, len(prepared)), drained: make(chan struct{}),
	}
}

// Run asks until ctx ends, and then waits for the answers that are still out,
// as long as their timeouts let them take. It is called once.
func (s *Sampler) Run(ctx context.Context) {
	// The end of the run is no reason to cut an answer off: it would look like a failure.
	looking, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var sweeping sync.WaitGroup
	sweeping.Go(s.sweep)
	agenda := s.agenda(s.host.Boottime())
	for len(agenda) > 0 && sleepUntil(ctx, s.host, agenda[0].due, time.Time{}) {
		s.askDue(looking, agenda)
	}
	s.askDue(looking, agenda) // what fell due before the end was noticed
	s.end()
	sweeping.Wait()
}

// askDue asks everything that is due by now and moves it on to its next time.
func (s *Sampler) askDue(ctx context.Context, agenda agenda) {
	now := s.host.Boottime()
	for len(agenda) > 0 && agenda[0].due <= now {
		next := &agenda[0]
		s.ask(ctx, next.probe, next.due, now.Sub(next.due))
		next.due = next.due.Add(s.probes[next.probe].Every)
		heap.Fix(&agenda, 0)
	}
}

func (s *Sampler) ask(ctx context.Context, probe int, due experiments.Boottime, late time.Duration) {
	q := &question{probe: probe, due: due, late: late}
	if why := s.admit(q); why != "" {
		s.tell(experiments.Sample{Probe: probe, Due: due, Late: late, Outcome: experiments.OutcomeUnknown, Why: "could not ask: " + why})
		return
	}
	go s.look(ctx, q)
}

// admit takes the question among the open ones, or says why it cannot be asked.
func (s *Sampler) admit(q *question) string {
	p := s.probes[q.probe]
	if q.late > max(tooLate, p.Every) {
		return "this machine slept or was starved when the question was due"
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.busy[q.probe]; n >= p.bound() {
		return fmt.Sprintf("%d earlier questions of this probe did not end within their timeout", n)
	}
	if s.looking >= maxInFlight {
		return fmt.Sprintf("%d questions are waiting for an answer; ask fewer, or with a shorter timeout", maxInFlight)
	}
	if s.waiting >= maxStarting {
		return fmt.Sprintf("this machine is too busy: %d questions are due and not yet asked", maxStarting)
	}
	s.open[q] = struct{}{}
	s.untold++
	s.waiting++
	s.busy[q.probe]++
	s.looking++
	return ""
}

// bound is how many questions of a probe can be open when each ends by its
// timeout, twice, so that only one that does not end can meet it.
func (p Prepared) bound() int { return 8 + 2*int((p.Timeout+p.Every-1)/p.Every) }

func (s *Sampler) look(ctx context.Context, q *question) {
	p := s.probes[q.probe]
	s.begun()
	asked := s.host.Boottime()
	reading, err := p.Probe.Look(ctx)
	took := s.host.Boottime().Sub(asked)
	s.returned(q)
	if !s.claim(q) {
		return // given up: its sample is recorded
	}
	sample := experiments.Sample{Probe: q.probe, Due: q.due, Late: asked.Sub(q.due), Took: took}
	if err != nil {
		sample.Outcome, sample.Why = experiments.OutcomeUnknown, "could not look: "+err.Error()
	} else {
		sample.Outcome, sample.Why = p.Judge(reading)
	}
	s.tell(p.excuse(sample))
	s.told()
}

// excuse takes a bad answer back when our own machine had so little time for the
// question that the delay may have been ours: then nothing is known of the service.
func (p Prepared) excuse(s experiments.Sample) experiments.Sample {
	slack := max(p.Timeout/4, 100*time.Millisecond)
	if s.Outcome != experiments.OutcomeBad || s.Late <= slack && s.Took <= p.Timeout+slack {
		return s
	}
	s.Outcome = experiments.OutcomeUnknown
	s.Why = "could not look: this machine was starved while it asked; else it would be: " + s.Why
	return s
}

func (s *Sampler) begun() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting--
}

func (s *Sampler) returned(q *question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy[q.probe]--
	s.looking--
}

// claim is true for the one who may record the question's sample.
func (s *Sampler) claim(q *question) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, open := s.open[q]
	delete(s.open, q)
	return open
}

func (s *Sampler) tell(sample experiments.Sample) {
	s.telling.Lock()
	defer s.telling.Unlock()
	s.sink(sample)
}

func (s *Sampler) told() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.untold--
	s.closeWhenDrained()
}

// end says that nothing more will be asked.
func (s *Sampler) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	s.closeWhenDrained()
}

func (s *Sampler) closeWhenDrained() {
	if s.ending && s.untold == 0 {
		close(s.drained)
	}
}

// sweep gives up questions whose probe does not keep its own timeout, until the end is reached.
func (s *Sampler) sweep() {
	again := time.NewTicker(tick)
	defer again.Stop()
	for {
		select {
		case <-s.drained:
			return
		case <-again.C:
		}
		for _, q := range s.overdue(s.host.Boottime()) {
			s.giveUp(q)
		}
	}
}

func (s *Sampler) overdue(now experiments.Boottime) []*question {
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*question
	for q := range s.open {
		if now.Sub(q.due)-q.late > s.probes[q.probe].Timeout+overrun {
			found = append(found, q)
		}
	}
	return found
}

func (s *Sampler) giveUp(q *question) {
	if !s.claim(q) {
		return // answered just now
	}
	s.tell(experiments.Sample{
		Probe: q.probe, Due: q.due, Late: q.late, Took: s.host.Boottime().Sub(q.due) - q.late,
		Outcome: experiments.OutcomeUnknown, Why: "could not look: the probe did not end within its own timeout",
	})
	s.told()
}

// agenda is a heap: the next question of each probe, the one due first on top.
type agenda []turn

type turn struct {
	due   experiments.Boottime
	probe int
}

// agenda lays the first questions evenly over spread, or over the probe's period if that is shorter.
func (s *Sampler) agenda(start experiments.Boottime) agenda {
	turns := make(agenda, len(s.probes))
	for i, p := range s.probes {
		phase := time.Duration(float64(min(p.Every, spread)) * float64(i) / float64(len(s.probes)))
		turns[i] = turn{due: start.Add(phase), probe: i}
	}
	heap.Init(&turns)
	return turns
}

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].due < a[j].due }
func (a agenda) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)        { *a = append(*a, x.(turn)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}
