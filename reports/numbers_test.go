package reports

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

func TestPercentilesAreWithinTheStatedPrecision(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"even":        func() time.Duration { return time.Duration(chance.IntN(1_000_000_000)) },
		"with a tail": func() time.Duration { return time.Duration(1e6 * (1 + 1/(chance.Float64()+1e-6))) },
		"all alike":   func() time.Duration { return 1234567 },
		"tiny":        func() time.Duration { return time.Duration(chance.IntN(300)) },
		"none at all": func() time.Duration { return 0 },
	} {
		t.Run(name, func(t *testing.T) {
			var h histogram
			var all []time.Duration
			for range 20_000 {
				d := draw()
				h.add(d)
				all = append(all, d)
			}
			slices.Sort(all)
			shares := []float64{0.5, 0.95, 0.99, 1}
			for n, got := range h.percentiles(shares...) {
				want := all[int(shares[n]*float64(len(all))+0.9999999)-1]
				if off := float64(got - want); off > 0.002*float64(want)+1 || off < -0.002*float64(want)-1 {
					t.Errorf("p%v: got %v, want %v within 0.2 %%", 100*shares[n], got, want)
				}
			}
		})
	}
	var empty histogram
	if got := empty.percentiles(0.5); got != nil {
		t.Errorf("percentiles of nothing: got %v, want none", got)
	}
}

func TestNoBadSampleVanishesFromAPicture(t *testing.T) {
	p := newPixels(0, time.Minute)
	const all, bad = 300_000, 217_003
	for n := range all {
		s := experiments.Sample{Outcome: experiments.OutcomeGood, Took: time.Millisecond}
		if n == bad {
			s.Outcome, s.Took = experiments.OutcomeBad, time.Second
		}
		p.add(time.Duration(n)*10*time.Millisecond, s) // far longer than the picture was made for
	}
	for _, most := range []int{mostPixels, 300, 24, 1} {
		small := p.AtMost(most)
		if len(small.Each) > most {
			t.Errorf("%d pixels, want at most %d", len(small.Each), most)
		}
		var seen, bads, slow int
		for n, x := range small.Each {
			seen += int(x.Samples())
			if x.Worst() == experiments.OutcomeBad {
				bads++
				at := bad * 10 * time.Millisecond
				if from := small.From + time.Duration(n)*small.Width; at < from || at >= from+small.Width {
					t.Errorf("at most %d: the bad pixel begins at %v, and the sample was due at %v", most, from, at)
				}
			}
			if x.Most == 1_000_000 {
				slow++
			}
		}
		if seen != all || bads != 1 || slow != 1 {
			t.Errorf("at most %d: the pixels stand for %d samples, %d pixels are bad and %d slow; want %d, 1 and 1", most, seen, bads, slow, all)
		}
	}
}

func TestAPercentageNeverLooksBetterThanItIs(t *testing.T) {
	for _, row := range []struct {
		good, of uint64
		limit    experiments.Share
		want     string
	}{
		{1163, 1204, 0.99, "96.5 %"},
		{999_999, 1_000_000, 0.99, "99.9 %"},
		{1_000_000, 1_000_000, 0.99, "100 %"},
		{3, 4, 0.75, "75 %"},
		{9996, 10000, 0.9995, "99.96 %"},
		{9994, 10000, 0.9995, "99.94 %"},
		{0, 7, 1, "0 %"},
		{0, 0, 1, "unknown"},
	} {
		if got := percentOf(row.good, row.of, row.limit); got != row.want {
			t.Errorf("%d of %d beside %s: got %s, want %s", row.good, row.of, row.limit, got, row.want)
		}
	}
}

func TestLengthsReadAsPeopleSayThem(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 s", 1500 * time.Microsecond: "1.5 ms", 84 * time.Millisecond: "84 ms", 8100 * time.Millisecond: "8.1 s",
		125 * time.Second: "2 min 5 s", 3 * time.Hour: "3 h", 3*time.Hour + 120*time.Second: "3 h 2 min", -2 * time.Second: "-2 s",
	} {
		if got := length(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
	if got := lengthBeside(2010*time.Millisecond, 2*time.Second); got != "2.01 s" {
		t.Errorf("2.01 s beside a limit of 2 s: got %q, want 2.01 s", got)
	}
}

func TestACommandIsReadBackByAShellAsItWas(t *testing.T) {
	if got, want := shellLine([]string{"faultline", "run", "a b.yaml", "it's", ""}), `faultline run 'a b.yaml' 'it'\''s' ''`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
