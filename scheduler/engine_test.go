package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/injectors"
	"github.com/faultline-sh/faultline/internal/platform"
)

// bubble is a host whose clocks are those of a synctest bubble.
type bubble struct{ began time.Time }

func (b bubble) BootID() string                 { return "boot" }
func (b bubble) MachineID() string              { return "machine" }
func (b bubble) Boottime() experiments.Boottime { return experiments.Boottime(time.Since(b.began)) }
func (b bubble) Now() time.Time                 { return time.Now() }
func (b bubble) OS() string                     { return "test" }

// shop is a small world with state: things that a fault can break.
type shop struct {
	mu     sync.Mutex
	broken map[string]bool
	gone   map[string]bool
	log    []string // "inject a", "undo a"

	hang    map[string]time.Duration // Inject takes so long, whatever its context says
	fail    map[string]error         // Inject fails with this
	stuck   map[string]bool          // Undo fails
	renewed map[string]string        // a gone thing came back under this identity
}

func newShop() *shop {
	return &shop{broken: map[string]bool{}, gone: map[string]bool{}, hang: map[string]time.Duration{}, fail: map[string]error{}, stuck: map[string]bool{}, renewed: map[string]string{}}
}

func (s *shop) note(format string, args ...any) { s.log = append(s.log, fmt.Sprintf(format, args...)) }

func (s *shop) history() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

type shopSpec struct {
	Names []string            `json:"names"`
	Pick  experiments.Pick    `json:"pick"`
	Group map[string][]string `json:"group"` // group to its healthy members
	Shelf string              `json:"shelf"` // a lease shared by all
}

func (shopSpec) Check() []experiments.FieldProblem { return nil }

type shopTarget struct {
	Name  string `json:"name"`
	Shelf string `json:"shelf"`
}

func (t shopTarget) Describe() experiments.Description {
	leases := []string{"thing/" + t.Name}
	if t.Shelf != "" {
		leases = append(leases, "shelf/"+t.Shelf)
	}
	return experiments.Description{Kind: "thing", ID: t.Name, Name: t.Name, Mechanism: "test", Keeper: experiments.KeeperKernel, Leases: leases}
}

type shopFault struct{ shop *shop }

func (f shopFault) Choose(_ context.Context, _ injectors.World, s shopSpec) (experiments.Choice, error) {
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	c := experiments.Choice{Pick: s.Pick}
	for _, n := range s.Names {
		id := n
		if r, ok := f.shop.renewed[n]; ok {
			id = r
		} else if f.shop.gone[n] {
			continue
		}
		c.Matched = append(c.Matched, experiments.Candidate{Kind: "thing", ID: id, Name: n})
	}
	for g, healthy := range s.Group {
		c.Groups = append(c.Groups, experiments.Group{Name: g, Members: s.Names, Healthy: healthy})
	}
	return c, nil
}

func (f shopFault) Aim(_ context.Context, _ injectors.World, s shopSpec, o experiments.Order) ([]shopTarget, error) {
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	if f.shop.gone[o.Victim.ID] {
		return nil, injectors.ErrGone
	}
	return []shopTarget{{o.Victim.ID, s.Shelf}}, nil
}

func (f shopFault) Inject(_ context.Context, _ injectors.World, t shopTarget) (injectors.Held, error) {
	f.shop.mu.Lock()
	hang, fail := f.shop.hang[t.Name], f.shop.fail[t.Name]
	f.shop.mu.Unlock()
	time.Sleep(hang)
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	f.shop.note("inject %s", t.Name)
	f.shop.broken[t.Name] = true
	return nil, fail
}

func (f shopFault) Confirm(_ context.Context, _ injectors.World, t shopTarget) (experiments.Effect, error) {
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	switch {
	case f.shop.gone[t.Name]:
		return experiments.Effect{State: experiments.EffectGone}, nil
	case f.shop.broken[t.Name]:
		return experiments.Effect{State: experiments.EffectOn}, nil
	}
	return experiments.Effect{State: experiments.EffectOff}, nil
}

func (f shopFault) Undo(_ context.Context, _ injectors.World, t shopTarget) error {
	f.shop.mu.Lock()
	defer f.shop.mu.Unlock()
	f.shop.note("undo %s", t.Name)
	if f.shop.stuck[t.Name] {
		return errors.New("it is stuck")
	}
	delete(f.shop.broken, t.Name)
	return nil
}

// pages is a journal in memory that can fill up.
type pages struct {
	mu     sync.Mutex
	events []experiments.Event
	full   func(experiments.Event) bool
	shop   *shop
}

func (p *pages) Append(e experiments.Event) (experiments.Event, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full != nil && p.full(e) {
		return e, errors.New("no space left")
	}
	p.events = append(p.events, e)
	if e.Type == experiments.EventAimed {
		p.shop.mu.Lock()
		p.shop.note("write %s", e.Injection.Description.Name)
		p.shop.mu.Unlock()
	}
	return e, nil
}

func (p *pages) of(t experiments.EventType) []experiments.Event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.events), func(e experiments.Event) bool { return e.Type != t })
}

type freeLeases struct{ held map[string]bool }

func (l freeLeases) Lease(things []string, _ time.Time, _ string) error {
	for _, t := range things {
		if l.held[t] {
			return fmt.Errorf("%s is held by run other", t)
		}
	}
	return nil
}

type stage struct {
	shop   *shop
	pages  *pages
	engine *Engine
	leases freeLeases
	plan   experiments.Plan
}

func find(s *shop) func(string) (injectors.Fault, bool) {
	fault := injectors.Of(injectors.About{Kind: "shop.break", Undoable: true}, injectors.Injector[shopSpec, shopTarget](shopFault{s}))
	return func(kind string) (injectors.Fault, bool) { return fault, kind == "shop.break" }
}

func breakAll(name string, at, length time.Duration, spec shopSpec) experiments.Fault {
	raw, _ := json.Marshal(spec)
	return experiments.Fault{Name: name, Kind: "shop.break", At: experiments.Duration(at), For: experiments.Duration(length), Settings: raw}
}

func world() *platform.World { return &platform.World{Host: bubble{time.Now()}} }

// onStage plans the faults for real and gives an engine ready to carry them out.
func onStage(t *testing.T, s *shop, faults ...experiments.Fault) *stage {
	t.Helper()
	w := world()
	e := experiments.Experiment{Faults: faults, Limits: experiments.Limits{Targets: 100, Duration: experiments.Duration(time.Hour)}}
	plan, err := Planner{World: w, Faults: find(s)}.Plan(t.Context(), e, 1)
	if err != nil {
		t.Fatalf("plan: %v", err)
	}
	st := &stage{shop: s, pages: &pages{shop: s}, leases: freeLeases{map[string]bool{}}, plan: plan}
	st.engine = NewEngine(w, find(s), plan, "run", st.leases, newRecorder(st.pages, w.Host, nil))
	return st
}

func (st *stage) end(t *testing.T) {
	t.Helper()
	st.engine.Close()
	if err := st.engine.record.Close(); err != nil {
		t.Logf("record: %v", err)
	}
}

func names(n int) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("t%02d", i))
	}
	return out
}

func TestEveryTargetIsWrittenDownBeforeItIsTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := onStage(t, newShop(), breakAll("f", 0, time.Second, shopSpec{Names: names(20), Pick: experiments.Pick{All: true}}))
		st.engine.During(t.Context())
		st.end(t)
		written := map[string]bool{}
		for _, line := range st.shop.history() {
			verb, name, _ := strings.Cut(line, " ")
			switch {
			case verb == "write":
				written[name] = true
			case verb == "inject" && !written[name]:
				t.Errorf("%s was injected before it was written down", name)
			}
		}
		if len(written) != 20 || len(st.shop.broken) != 0 {
			t.Errorf("%d of 20 written, still broken: %v", len(written), st.shop.broken)
		}
		if u := st.engine.Undone(); u == nil || !*u {
			t.Error("the engine does not know that all is undone")
		}
	})
}

func TestNothingIsInjectedWhenItCannotBeWrittenDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := onStage(t, newShop(), breakAll("f", 0, time.Second, shopSpec{Names: names(3), Pick: experiments.Pick{All: true}}))
		st.pages.full = func(experiments.Event) bool { return true }
		st.engine.During(t.Context())
		st.end(t)
		for _, line := range st.shop.history() {
			if strings.HasPrefix(line, "inject") {
				t.Errorf("history: %v", st.shop.history())
			}
		}
	})
}

func TestH73_GuardTripsInTheMiddleOfInject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		var faults []experiments.Fault
		for i, n := range names(20) { // one after the other, so that there is a middle
			faults = append(faults, breakAll(n, time.Duration(i)*time.Second, time.Minute, shopSpec{Names: []string{n}, Pick: experiments.Pick{Count: 1}, Shelf: "one"}))
			faults[i].Allow = []experiments.Door{experiments.DoorOverlap}
		}
		st := onStage(t, s, faults...)
		ctx, abort := context.WithCancelCause(t.Context())
		time.AfterFunc(6*time.Second+500*time.Millisecond, func() { abort(&Aborted{experiments.AbortGuard, "test"}) })
		st.engine.During(ctx)
		st.end(t)
		var injected, undone []string
		for _, line := range s.history() {
			if name, ok := strings.CutPrefix(line, "inject "); ok {
				injected = append(injected, name)
			}
			if name, ok := strings.CutPrefix(line, "undo "); ok {
				undone = append(undone, name)
			}
		}
		slices.Reverse(undone)
		if want := names(20)[:7]; !slices.Equal(injected, want) || !slices.Equal(undone, want) {
			t.Errorf("injected %v, undone in reverse %v, want %v", injected, undone, want)
		}
	})
}

func TestAnAbortDoesNotWaitForAnInjectThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.hang["slow"] = 20 * time.Second
		st := onStage(t, s, breakAll("f", 0, time.Minute, shopSpec{Names: []string{"fast", "slow"}, Pick: experiments.Pick{All: true}}))
		ctx, abort := context.WithCancelCause(t.Context())
		var aborted time.Time
		time.AfterFunc(time.Second, func() { aborted = time.Now(); abort(&Aborted{experiments.AbortGuard, "test"}) })
		st.engine.During(ctx)
		st.end(t)
		for _, e := range st.pages.of(experiments.EventUndoing) {
			if late := e.At.Sub(aborted); late > 100*time.Millisecond {
				t.Errorf("undo of %s began %s after the abort", e.Target, late)
			}
		}
		if len(s.broken) != 0 {
			t.Errorf("what landed after the undo is still broken: %v", s.broken)
		}
	})
}

func TestAFaultEndsByItsOwnDeadlineAndAFailedInjectIsHealedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.fail["b"] = errors.New("half done")
		st := onStage(t, s, breakAll("f", 2*time.Second, 5*time.Second, shopSpec{Names: []string{"a", "b"}, Pick: experiments.Pick{All: true}}))
		began := time.Now()
		st.engine.During(t.Context())
		st.end(t)
		at := map[string]time.Duration{}
		for _, e := range st.pages.of(experiments.EventUndone) {
			at[e.Target] = e.At.Sub(began)
		}
		if at["1.1"] != 7*time.Second || at["1.2"] != 2*time.Second {
			t.Errorf("undone at %v, want a at 7s and b at 2s", at)
		}
	})
}

func TestAnUndoThatDoesNotWorkIsSaidAndDoesNotKeepOthersFromBeingHealed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.stuck["a"] = true
		st := onStage(t, s, breakAll("f", 0, time.Second, shopSpec{Names: []string{"a", "b"}, Pick: experiments.Pick{All: true}}))
		st.engine.During(t.Context())
		st.end(t)
		if u := st.engine.Undone(); u == nil || *u {
			t.Error("a stuck undo counts as undone")
		}
		errs := map[string]string{}
		for _, e := range st.pages.of(experiments.EventUndone) {
			errs[e.Target] = e.Error
		}
		if !strings.Contains(errs["1.1"], "stuck") || errs["1.2"] != "" || s.broken["b"] {
			t.Errorf("errors %v, broken %v", errs, s.broken)
		}
	})
}

func TestATargetThatRestartsIsHandledByItsPolicy(t *testing.T) {
	for _, c := range []struct {
		policy experiments.OnRestart
		want   experiments.EventType
		again  bool
	}{
		{experiments.OnRestartStop, experiments.EventEndedEarly, false},
		{experiments.OnRestartIgnore, experiments.EventRestarted, false},
		{experiments.OnRestartReinject, experiments.EventRestarted, true},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newShop()
				f := breakAll("f", 0, 10*time.Second, shopSpec{Names: []string{"a"}, Pick: experiments.Pick{Count: 1}})
				f.OnRestart = c.policy
				st := onStage(t, s, f)
				time.AfterFunc(3*time.Second, func() {
					s.mu.Lock()
					defer s.mu.Unlock()
					s.gone["a"], s.renewed["a"] = true, "a2"
				})
				began := time.Now()
				st.engine.During(t.Context())
				st.end(t)
				if len(st.pages.of(c.want)) != 1 {
					t.Errorf("no %q event", c.want)
				}
				if got := slices.Contains(s.history(), "inject a2"); got != c.again {
					t.Errorf("reinjected: %v, want %v: %v", got, c.again, s.history())
				}
				if c.again && (time.Since(began) != 10*time.Second || s.broken["a2"]) {
					t.Errorf("took %s, broken %v: want the first deadline to stand", time.Since(began), s.broken)
				}
			})
		})
	}
}

// An engine may list a container as running for a moment after its init has ended.
func TestATargetThatIsListedBeforeItIsBackIsAimedAtUntilItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		f := breakAll("f", 0, 10*time.Second, shopSpec{Names: []string{"a"}, Pick: experiments.Pick{Count: 1}})
		f.OnRestart = experiments.OnRestartReinject
		st := onStage(t, s, f)
		set := func(back string) func() {
			return func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.gone["a"], s.renewed["a"] = true, back
			}
		}
		time.AfterFunc(3*time.Second, set("a")) // listed still, and aiming says that it is gone
		time.AfterFunc(4*time.Second, set("a2"))
		st.engine.During(t.Context())
		st.end(t)
		if !slices.Contains(s.history(), "inject a2") || s.broken["a2"] {
			t.Errorf("history %v, broken %v: want a2 injected and healed", s.history(), s.broken)
		}
	})
}

func TestALeaseThatIsHeldRefusesThatTargetWithNothingDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := onStage(t, newShop(), breakAll("f", 0, time.Second, shopSpec{Names: []string{"a", "b"}, Pick: experiments.Pick{All: true}}))
		st.leases.held["thing/a"] = true
		st.engine.During(t.Context())
		st.end(t)
		refused := st.pages.of(experiments.EventRefused)
		if len(refused) != 1 || !strings.Contains(refused[0].Error, "run other") || slices.Contains(st.shop.history(), "inject a") {
			t.Errorf("refused %+v, history %v", refused, st.shop.history())
		}
	})
}

func TestAGroupThatLostMembersSinceThePlanIsNotHit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		spec := shopSpec{Names: []string{"a", "b"}, Pick: experiments.Pick{Count: 1}, Group: map[string][]string{"web": {"a", "b"}}}
		st := onStage(t, s, breakAll("f", 0, time.Second, spec))
		victim := st.plan.Faults[0].Victims[0].Name
		spec.Group["web"] = []string{victim} // the other one fell ill
		st.engine.Plan.Experiment.Faults[0].Settings, _ = json.Marshal(spec)
		st.engine.During(t.Context())
		st.end(t)
		if len(s.history()) != 0 || len(st.pages.of(experiments.EventRefused)) != 1 {
			t.Errorf("history %v", s.history())
		}
	})
}

func TestAnInjectThatNeverReturnsIsNotCalledUndone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop()
		s.hang["slow"] = time.Hour
		st := onStage(t, s, breakAll("f", 0, time.Second, shopSpec{Names: []string{"slow"}, Pick: experiments.Pick{All: true}}))
		ctx, abort := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { abort(&Aborted{experiments.AbortGuard, "test"}) })
		st.engine.During(ctx)
		if u := st.engine.Undone(); u == nil || *u {
			t.Error("what may still land counts as undone")
		}
		time.Sleep(time.Hour) // let it return, so that nothing of the test is left
		st.end(t)
	})
}
