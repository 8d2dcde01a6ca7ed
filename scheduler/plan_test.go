package scheduler

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

func planOf(t *testing.T, s *shop, limits experiments.Limits, seed uint64, faults ...experiments.Fault) (experiments.Plan, error) {
	t.Helper()
	if limits.Duration == 0 {
		limits.Duration = experiments.Duration(time.Hour)
	}
	e := experiments.Experiment{Faults: faults, Limits: limits}
	return Planner{World: world(), Faults: find(s)}.Plan(t.Context(), e, seed)
}

func TestASeedReplaysTheChoiceAndAnotherSeedMakesAnother(t *testing.T) {
	f := breakAll("f", 0, time.Second, shopSpec{Names: names(50), Pick: experiments.Pick{Count: 5}})
	victims := func(seed uint64) []string {
		plan, err := planOf(t, newShop(), experiments.Limits{Targets: 10}, seed, f)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, v := range plan.Faults[0].Victims {
			out = append(out, v.Name)
		}
		return out
	}
	if !slices.Equal(victims(7), victims(7)) {
		t.Error("the same seed chose differently")
	}
	if slices.Equal(victims(7), victims(8)) {
		t.Error("two seeds chose the same five of fifty")
	}
}

func TestMoreThanALimitIsRefusedAndNeverCutDown(t *testing.T) {
	half := experiments.Share(0.5)
	for _, c := range []struct {
		name   string
		limits experiments.Limits
		pick   experiments.Pick
		length time.Duration
		want   string
	}{
		{"targets", experiments.Limits{Targets: 2}, experiments.Pick{Count: 3}, time.Second, "limits.targets is 2"},
		{"share", experiments.Limits{Targets: 10, Share: &half}, experiments.Pick{Share: 0.51}, time.Second, "limits.share is 50%"},
		{"duration", experiments.Limits{Targets: 10, Duration: experiments.Duration(time.Second)}, experiments.Pick{Count: 1}, time.Minute, "limits.duration is 1s"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := planOf(t, newShop(), c.limits, 1, breakAll("f", 0, c.length, shopSpec{Names: names(4), Pick: c.pick}))
			var refusal *Refusal
			if !errors.As(err, &refusal) || refusal.Code != experiments.ExitRefused || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
		})
	}
}

func TestH74_ASelectorThatMatchesNothingIsInconclusive(t *testing.T) {
	_, err := planOf(t, newShop(), experiments.Limits{Targets: 10}, 1, breakAll("f", 0, time.Second, shopSpec{Pick: experiments.Pick{Count: 1}}))
	var refusal *Refusal
	if !errors.As(err, &refusal) || refusal.Code != experiments.ExitInconclusive {
		t.Errorf("got %v, want code %d", err, experiments.ExitInconclusive)
	}
}

func TestTheLastHealthyReplicaIsNeverHitByTheWholePlanTogether(t *testing.T) {
	spec := func(pick int) shopSpec {
		return shopSpec{Names: names(3), Pick: experiments.Pick{Count: pick}, Group: map[string][]string{"web": names(3)[:2]}}
	}
	limits := experiments.Limits{Targets: 10}
	// Each of the two faults alone leaves a replica; together they do not.
	two := []experiments.Fault{
		breakAll("first", 0, time.Second, shopSpec{Names: []string{"t00"}, Pick: experiments.Pick{Count: 1}, Group: map[string][]string{"web": {"t00", "t01"}}}),
		breakAll("second", time.Minute, time.Second, shopSpec{Names: []string{"t01"}, Pick: experiments.Pick{Count: 1}, Group: map[string][]string{"web": {"t00", "t01"}}}),
	}
	if _, err := planOf(t, newShop(), limits, 1, two...); err == nil || !strings.Contains(err.Error(), "no healthy member of web") {
		t.Errorf("two faults that hit both replicas: %v", err)
	}
	if _, err := planOf(t, newShop(), limits, 1, breakAll("f", 0, time.Second, spec(3))); err == nil {
		t.Error("all of a group was allowed")
	}
	open := breakAll("f", 0, time.Second, spec(3))
	open.Allow = []experiments.Door{experiments.DoorLastReplica}
	if _, err := planOf(t, newShop(), limits, 1, open); err != nil {
		t.Errorf("with its door open: %v", err)
	}
}

func TestTwoFaultsOnOneTargetAtOneTimeAreRefusedAndPicksAvoidIt(t *testing.T) {
	limits := experiments.Limits{Targets: 10}
	one := func(name string, at time.Duration) experiments.Fault {
		return breakAll(name, at, 10*time.Second, shopSpec{Names: []string{"a"}, Pick: experiments.Pick{Count: 1}})
	}
	if _, err := planOf(t, newShop(), limits, 1, one("x", 0), one("y", 5*time.Second)); err == nil || !strings.Contains(err.Error(), "at the same time") {
		t.Errorf("overlap: %v", err)
	}
	if _, err := planOf(t, newShop(), limits, 1, one("x", 0), one("y", 10*time.Second)); err != nil {
		t.Errorf("one after the other: %v", err)
	}
	y := one("y", 5*time.Second)
	y.Allow = []experiments.Door{experiments.DoorOverlap}
	if _, err := planOf(t, newShop(), limits, 1, one("x", 0), y); err != nil {
		t.Errorf("with the door open: %v", err)
	}
	pickOne := func(name string) experiments.Fault {
		return breakAll(name, 0, time.Second, shopSpec{Names: []string{"a", "b"}, Pick: experiments.Pick{Count: 1}})
	}
	for seed := range uint64(20) {
		if _, err := planOf(t, newShop(), limits, seed, pickOne("x"), pickOne("y")); err != nil {
			t.Fatalf("seed %d: picks did not avoid each other: %v", seed, err)
		}
	}
}

func TestAPlanThatDiffersFromTheSavedOneSaysHow(t *testing.T) {
	f := breakAll("f", 0, time.Second, shopSpec{Names: []string{"a"}, Pick: experiments.Pick{Count: 1}})
	s := newShop()
	saved, err := planOf(t, s, experiments.Limits{Targets: 1}, 1, f)
	if err != nil {
		t.Fatal(err)
	}
	if d := Compare(saved, saved); len(d) != 0 {
		t.Errorf("a plan differs from itself: %v", d)
	}
	s.renewed["a"] = "another"
	now, err := planOf(t, s, experiments.Limits{Targets: 1}, 1, f)
	if err != nil {
		t.Fatal(err)
	}
	if d := strings.Join(Compare(saved, now), "\n"); !strings.Contains(d, "another") {
		t.Errorf("differences: %q", d)
	}
}

func TestAFaultThatHitsThoseWhoJudgeItIsRefused(t *testing.T) {
	plan := experiments.Plan{
		Experiment: experiments.Experiment{Probes: []experiments.Probe{{Name: "web", Kind: "http"}}},
		Faults:     []experiments.PlannedFault{{Name: "slow", Descriptions: []experiments.Description{{Name: "host", HitsUs: true}}}},
	}
	var why reasons
	checkProbes(plan, &why)
	if err := why.err(); err == nil || !strings.Contains(err.Error(), `probe "web"`) {
		t.Errorf("got %v", err)
	}
	plan.Experiment.Probes[0].Kind = "container"
	why = reasons{}
	if checkProbes(plan, &why); why.err() != nil {
		t.Errorf("a probe through the engine: %v", why.err())
	}
}
