package scheduler

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// answers writes samples as letters: g good, b bad, ? unknown; one every period, of probe 0.
func answers(letters string, every time.Duration) []experiments.Sample {
	outcomes := map[rune]experiments.Outcome{'g': experiments.OutcomeGood, 'b': experiments.OutcomeBad, '?': experiments.OutcomeUnknown}
	whys := map[rune]string{'b': "refused: shop:80 does not accept connections", '?': "could not look: too many open files"}
	var samples []experiments.Sample
	for _, letter := range letters {
		due := experiments.Boottime(len(samples)) * experiments.Boottime(every)
		samples = append(samples, experiments.Sample{Due: due, Took: time.Millisecond, Outcome: outcomes[letter], Why: whys[letter]})
	}
	return samples
}

// watched gives a guard the samples and says when it tripped (0: never) and why.
func watched(t experiments.Tolerance, samples []experiments.Sample) (after int, why string) {
	g := NewGuard([]experiments.Probe{{Name: "shop", Tolerate: t}}, 0, func(said string) { why = said })
	for i, s := range samples {
		g.Sample(s)
		if why != "" && after == 0 {
			after = i + 1
		}
	}
	return after, why
}

func TestH70_GuardCountsOnlyBadAnswersInARow(t *testing.T) {
	for _, row := range []struct {
		name    string
		answers string
		abort   int
		after   int
	}{
		{"flapping never reaches three in a row", strings.Repeat("ggb", 100) + strings.Repeat("gbb", 100), 3, 0},
		{"three in a row", "gbbgbbb", 3, 7},
		{"one bad answer is enough when the author says so", "ggb", 1, 3},
		{"no limit was set", strings.Repeat("b", 1000), 0, 0},
		{"not having looked is neither good nor bad", "bb?b", 3, 4},
		{"not having looked alone is no bad answer", "????", 1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			after, why := watched(experiments.Tolerance{Abort: row.abort}, answers(row.answers, 100*time.Millisecond))
			if after != row.after {
				t.Errorf("tripped after %d answers (%s), want %d", after, why, row.after)
			}
		})
	}
	_, why := watched(experiments.Tolerance{Abort: 3}, answers("bbb", time.Second))
	if want := `probe "shop" was bad 3 times in a row, which is its limit (abort: 3); last: refused: shop:80 does not accept connections`; why != want {
		t.Errorf("it says %q, want %q", why, want)
	}
}

func TestH70_GuardEndsARunThatItCannotWatch(t *testing.T) {
	for _, row := range []struct {
		name    string
		answers string
		every   time.Duration
		blind   time.Duration
		after   int
	}{
		{"blind for longer than ten seconds, the default", "g" + strings.Repeat("?", 200), 100 * time.Millisecond, 0, 102},
		{"blind for longer than its author allows", "g????", time.Second, 2 * time.Second, 4},
		{"one answer, also a bad one, ends the darkness", "g??b??g??", time.Second, 2 * time.Second, 0},
		{"a probe that is asked every minute is not blind between two questions", "ggggg", time.Minute, 10 * time.Second, 0},
		{"nor after one question that could not be asked", "gg?gg", time.Minute, 10 * time.Second, 0},
		{"but after two", "gg??", time.Minute, 10 * time.Second, 4},
		{"blind from the start", "????", time.Second, 2 * time.Second, 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			after, why := watched(experiments.Tolerance{Blind: experiments.Duration(row.blind)}, answers(row.answers, row.every))
			if after != row.after {
				t.Errorf("tripped after %d answers (%s), want %d", after, why, row.after)
			}
		})
	}
	_, why := watched(experiments.Tolerance{Blind: experiments.Duration(2 * time.Second)}, answers("???", time.Second))
	if want := `probe "shop" could not be looked at for 2.001s, longer than it may be blind (2s); last: could not look: too many open files`; why != want {
		t.Errorf("it says %q, want %q", why, want)
	}
}

func TestGuardTripsOnceAndNotAfterItWasClosed(t *testing.T) {
	trips := 0
	g := NewGuard([]experiments.Probe{{Tolerate: experiments.Tolerance{Abort: 1}}}, 0, func(string) { trips++ })
	for _, s := range answers("bbb", time.Second) {
		g.Sample(s)
	}
	if trips != 1 {
		t.Errorf("tripped %d times", trips)
	}
	g = NewGuard([]experiments.Probe{{Tolerate: experiments.Tolerance{Abort: 1}}}, 0, func(string) { t.Error("tripped after it was closed") })
	g.Close()
	g.Sample(answers("b", time.Second)[0])
}

func TestGuardLeavesSamplesOfTheTimeBeforeItAlone(t *testing.T) {
	g := NewGuard([]experiments.Probe{{Tolerate: experiments.Tolerance{Abort: 1}}}, experiments.Boottime(time.Second), func(why string) { t.Error(why) })
	g.Sample(answers("b", time.Second)[0])
}

func TestH76_TwoProbesOfOneNameAreTwoCounts(t *testing.T) {
	twins := []experiments.Probe{{Name: "shop", Tolerate: experiments.Tolerance{Abort: 2}}, {Name: "shop", Tolerate: experiments.Tolerance{Abort: 2}}}
	g := NewGuard(twins, 0, func(why string) { t.Error(why) })
	bad := answers("b", time.Second)[0]
	for i := range twins {
		bad.Probe = i
		g.Sample(bad)
	}
	samples := [][]experiments.Sample{answers("ggg", time.Second), answers("bbb", time.Second)}
	if held, unknown, why := baselineOf(samples, twins); held || unknown || len(why) != 1 {
		t.Errorf("held %v, unknown %v, %q: want the second one broken and nothing said of the first", held, unknown, why)
	}
}

func TestH70_BaselineVerdictsDoNotDependOnOrder(t *testing.T) {
	share := func(percent float64) *experiments.Share {
		s := experiments.Share(percent / 100)
		return &s
	}
	for _, row := range []struct {
		name    string
		answers string
		before  *experiments.Share
		held    bool
		unknown bool
		why     string
	}{
		{"all good", "ggg", nil, true, false, "the steady state held (probes: 1, samples: 3)"},
		{"flapping, and nothing is tolerated", strings.Repeat("ggb", 33), nil, false, false, `probe "shop" was good 66 times of 99 before anything was done, and 100% is needed: refused: shop:80 does not accept connections`},
		{"flapping within what is tolerated", strings.Repeat("ggb", 33), share(66), true, false, "the steady state held (probes: 1, samples: 99)"},
		{"99 of 100 is 99%", strings.Repeat("g", 99) + "b", share(99), true, false, "the steady state held (probes: 1, samples: 100)"},
		{"one that we could not look at decides", "ggg?", nil, false, true, `probe "shop" could not be looked at 1 times of 4, and 3 good answers do not decide whether 100% is kept: could not look: too many open files`},
		{"one that we could not look at changes nothing that is kept", "ggg?", share(75), true, false, "the steady state held (probes: 1, samples: 4)"},
		{"one that we could not look at changes nothing that is broken", "gb??", share(90), false, false, `probe "shop" was good 1 times of 4 before anything was done, and 90% is needed: refused: shop:80 does not accept connections`},
		{"we could not look at all", "???", nil, false, true, `probe "shop" could not be looked at 3 times of 3, and 0 good answers do not decide whether 100% is kept: could not look: too many open files`},
		{"two samples are no baseline", "gg", nil, false, true, `probe "shop" has 2 samples from before the faults and a baseline needs 3: make timeline.before longer, or every shorter`},
		{"none are none", "", nil, false, true, `probe "shop" has 0 samples from before the faults and a baseline needs 3: make timeline.before longer, or every shorter`},
	} {
		t.Run(row.name, func(t *testing.T) {
			samples := answers(row.answers, 100*time.Millisecond)
			random := rand.New(rand.NewPCG(70, 70))
			for range 100 {
				random.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
				held, unknown, why := baselineOf([][]experiments.Sample{samples}, []experiments.Probe{{Name: "shop", Tolerate: experiments.Tolerance{Before: row.before}}})
				got, want := fmt.Sprint(held, unknown, why), fmt.Sprint(row.held, row.unknown, []string{row.why})
				if got != want {
					t.Fatalf("judged\n%s, want\n%s", got, want)
				}
			}
		})
	}
}

func TestABrokenProbeOutweighsOneThatCouldNotBeLookedAt(t *testing.T) {
	samples := [][]experiments.Sample{answers("ggg", 1), answers("ggb", 1), answers("gg?", 1)}
	held, unknown, why := baselineOf(samples, []experiments.Probe{{Name: "a"}, {Name: "b"}, {Name: "c"}})
	if held || unknown || len(why) != 2 || !strings.Contains(why[0], `"b"`) || !strings.Contains(why[1], `"c"`) {
		t.Errorf("held %v, unknown %v, %q: want b broken, and c told too", held, unknown, why)
	}
}

// baselineOf folds samples that are given by probe.
func baselineOf(byProbe [][]experiments.Sample, ps []experiments.Probe) (held, unknown bool, why []string) {
	f := NewBaselineFold(ps)
	for i := range min(len(byProbe), len(ps)) {
		for _, s := range byProbe[i] {
			s.Probe = i
			f.Sample(s)
		}
	}
	return f.Verdict()
}
