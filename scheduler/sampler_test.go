package scheduler

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/twin"
	"github.com/faultline-sh/faultline/probes"
)

// answer is a probe that is one function.
type answer func(ctx context.Context) (experiments.Reading, error)

func (a answer) Look(ctx context.Context) (experiments.Reading, error) { return a(ctx) }
func (answer) Close() error                                            { return nil }

func after(d time.Duration) answer {
	return func(context.Context) (experiments.Reading, error) {
		time.Sleep(d) // time of the bubble
		return experiments.Reading{"ok": true}, nil
	}
}

func byOK(r experiments.Reading) (experiments.Outcome, string) {
	if r["ok"] == true {
		return experiments.OutcomeGood, ""
	}
	return experiments.OutcomeBad, "not ok"
}

func prepared(every, timeout time.Duration, look answer) Prepared {
	return Prepared{Name: "p", Probe: look, Judge: byOK, Every: every, Timeout: timeout}
}

// sampled runs a sampler for a time inside a bubble and gives its samples by probe,
// in order of due times, which count from the beginning.
func sampled(t *testing.T, host *twin.Host, length time.Duration, ps ...Prepared) [][]experiments.Sample {
	t.Helper()
	got := make([][]experiments.Sample, len(ps))
	began := host.Boottime()
	s := NewSampler(host, ps, func(s experiments.Sample) {
		s.Due -= began
		got[s.Probe] = append(got[s.Probe], s)
	})
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	s.Run(ctx)
	for _, samples := range got {
		slices.SortStableFunc(samples, func(a, b experiments.Sample) int { return int(a.Due - b.Due) })
	}
	return got
}

func TestSlowAnswersDoNotDelayTheNextQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := sampled(t, twin.NewHost(), 950*time.Millisecond, prepared(100*time.Millisecond, time.Second, after(700*time.Millisecond)))[0]
		if len(got) != 10 {
			t.Fatalf("%d samples of 10 that were due: %v", len(got), got)
		}
		for k, s := range got {
			want := experiments.Sample{Due: experiments.Boottime(k) * 1e8, Took: 700 * time.Millisecond, Outcome: experiments.OutcomeGood}
			if s != want {
				t.Errorf("sample %d is %+v, want %+v", k, s, want)
			}
		}
	})
}

func TestFirstQuestionsAreSpreadAndEachKeepsItsPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ps := make([]Prepared, 1000)
		for i := range ps {
			ps[i] = prepared(100*time.Millisecond, time.Second, after(0))
		}
		perMilli := map[experiments.Boottime]int{}
		for _, samples := range sampled(t, twin.NewHost(), 299950*time.Microsecond, ps...) {
			if len(samples) != 3 {
				t.Fatalf("%d samples of 3 that were due: %v", len(samples), samples)
			}
			for k, s := range samples {
				perMilli[s.Due/1e6]++
				if s.Due-samples[0].Due != experiments.Boottime(k)*1e8 {
					t.Fatalf("question %d was due at %d, the first at %d", k, s.Due, samples[0].Due)
				}
			}
		}
		for ms, n := range perMilli {
			if n != 10 {
				t.Errorf("%d questions in millisecond %d, want 10", n, ms)
			}
		}
	})
}

func TestAProbeAskedEveryMinuteIsFirstAskedWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		minute := prepared(time.Minute, time.Second, after(0))
		for i, samples := range sampled(t, twin.NewHost(), 2*time.Second, minute, minute, minute) {
			if len(samples) != 1 || samples[0].Due > experiments.Boottime(time.Second) {
				t.Errorf("probe %d: %v", i, samples)
			}
		}
	})
}

func TestEveryDueQuestionBecomesOneSampleAlsoWhenTheRunEndsBeforeItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		got := sampled(t, twin.NewHost(), 101*time.Millisecond, prepared(100*time.Millisecond, time.Second, after(900*time.Millisecond)))[0]
		if len(got) != 2 || got[1].Outcome != experiments.OutcomeGood || got[1].Took != 900*time.Millisecond {
			t.Errorf("the last answers are missing or cut off: %v", got)
		}
	})
}

func TestWhatCouldNotBeLookedAtIsNeitherGoodNorBad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cannot := prepared(time.Second, time.Second, func(context.Context) (experiments.Reading, error) { return nil, errors.New("too many open files") })
		bad := prepared(time.Second, time.Second, func(context.Context) (experiments.Reading, error) { return experiments.Reading{}, nil })
		got := sampled(t, twin.NewHost(), time.Second/2, cannot, bad)
		if s := got[0][0]; s.Outcome != experiments.OutcomeUnknown || s.Why != "could not look: too many open files" {
			t.Errorf("our own inability became %+v", s)
		}
		if s := got[1][0]; s.Outcome != experiments.OutcomeBad || s.Why != "not ok" {
			t.Errorf("a bad answer became %+v", s)
		}
	})
}

func TestH70_ABadAnswerToAStarvedQuestionIsNoAnswer(t *testing.T) {
	p := Prepared{Timeout: time.Second}
	for _, row := range []struct {
		name       string
		late, took time.Duration
		was, want  experiments.Outcome
	}{
		{"asked and timed out on time", 0, time.Second, experiments.OutcomeBad, experiments.OutcomeBad},
		{"asked a little late", 200 * time.Millisecond, time.Second, experiments.OutcomeBad, experiments.OutcomeBad},
		{"asked far too late", 300 * time.Millisecond, 0, experiments.OutcomeBad, experiments.OutcomeUnknown},
		{"its timeout was noticed far too late", 0, 1300 * time.Millisecond, experiments.OutcomeBad, experiments.OutcomeUnknown},
		{"a good answer is a good answer", time.Second, time.Second, experiments.OutcomeGood, experiments.OutcomeGood},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := p.excuse(experiments.Sample{Late: row.late, Took: row.took, Outcome: row.was}); got.Outcome != row.want {
				t.Errorf("judged %s, want %s", got.Outcome, row.want)
			}
		})
	}
}

func TestAProbeThatNeverReturnsIsRecordedAndDoesNotHoldTheRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		released := make(chan struct{})
		defer close(released)
		stuck := prepared(100*time.Millisecond, 200*time.Millisecond, func(context.Context) (experiments.Reading, error) {
			<-released // deaf to its context as well
			return experiments.Reading{"ok": true}, nil
		})
		start := time.Now()
		got := sampled(t, twin.NewHost(), 10*time.Second-1, stuck)[0]
		if len(got) != 100 {
			t.Fatalf("%d samples of 100 that were due", len(got))
		}
		why := map[string]int{}
		for _, s := range got {
			if s.Outcome != experiments.OutcomeUnknown {
				t.Fatalf("an answer that never came became %+v", s)
			}
			why[s.Why]++
		}
		want := map[string]int{
			"could not look: the probe did not end within its own timeout":                                                   stuck.bound(),
			fmt.Sprintf("could not ask: %d earlier questions of this probe did not end within their timeout", stuck.bound()): 100 - stuck.bound(),
		}
		if fmt.Sprint(why) != fmt.Sprint(want) {
			t.Errorf("reasons %v, want %v", why, want)
		}
		if took := time.Since(start); took > 13*time.Second {
			t.Errorf("the run was held for %s", took)
		}
	})
}

func TestQuestionsBeyondTheBoundAreRecordedAsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// 40 probes, each with up to 500 open questions: 20,000 want to be open at once.
		ps := make([]Prepared, 40)
		for i := range ps {
			ps[i] = prepared(2*time.Millisecond, time.Second, after(time.Second))
		}
		asked, refused := 0, 0
		for _, samples := range sampled(t, twin.NewHost(), time.Second-1, ps...) {
			if len(samples) != 500 {
				t.Fatalf("%d samples of 500 that were due", len(samples))
			}
			for _, s := range samples {
				switch {
				case s.Outcome == experiments.OutcomeGood:
					asked++
				case s.Outcome == experiments.OutcomeUnknown && strings.HasPrefix(s.Why, "could not ask: "):
					refused++
				default:
					t.Fatalf("unexpected sample %+v", s)
				}
			}
		}
		if asked != maxInFlight || asked+refused != 20000 {
			t.Errorf("asked %d and refused %d, want %d of 20000 asked", asked, refused, maxInFlight)
		}
	})
}

func TestH60_AfterASuspendMissedQuestionsAreRecordedAndNotAskedInABurst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		host := twin.NewHost()
		var asked atomic.Int64
		p := prepared(100*time.Millisecond, time.Second, func(context.Context) (experiments.Reading, error) {
			asked.Add(1)
			return experiments.Reading{"ok": true}, nil
		})
		go func() {
			time.Sleep(550 * time.Millisecond)
			host.Suspend(8 * time.Hour)
		}()
		got := sampled(t, host, time.Second, p)[0]
		if due := int(8*time.Hour/(100*time.Millisecond)) + 11; len(got) < due-1 || len(got) > due {
			t.Errorf("%d samples, and about %d were due", len(got), due)
		}
		if n := asked.Load(); n > 25 { // 6 before, those of the last second, and those after
			t.Errorf("%d questions were asked in one second of being awake", n)
		}
		for _, s := range got {
			if s.Late > time.Second && s.Outcome != experiments.OutcomeUnknown {
				t.Fatalf("%+v was asked long after it was due", s)
			}
		}
	})
}

func TestPrepareRefusesWhatItCannotAskTruthfully(t *testing.T) {
	exec := experiments.Probe{Name: "a", Kind: "exec", Every: experiments.Duration(9 * time.Millisecond), Settings: json.RawMessage(`{"command":["true"]}`)}
	half := exec
	half.Every = experiments.Duration(8 * time.Millisecond)
	for _, row := range []struct {
		name   string
		probes []experiments.Probe
		want   string
	}{
		{"more commands a second than can be started", []experiments.Probe{exec, half}, "ask 236 times a second together and 200 is the most"},
		{"a kind that this build does not know", []experiments.Probe{{Name: "a", Kind: "smtp", Every: 1}}, `knows no probe "smtp"`},
		{"no period", []experiments.Probe{{Name: "a", Kind: "http"}}, "every is 0s"},
		{"certificates that are not there", []experiments.Probe{{Name: "a", Kind: "http", Every: 1, Settings: json.RawMessage(`{"url":"https://x/","tls":{"ca":"/nonexistent"}}`)}}, "tls.ca"},
	} {
		t.Run(row.name, func(t *testing.T) {
			ps, err := Prepare(&platform.World{}, experiments.Experiment{Probes: row.probes}, probes.Table())
			var refused *Refusal
			if !errors.As(err, &refused) || refused.Code != experiments.ExitRefused || len(refused.Reasons) != 1 || !strings.Contains(err.Error(), row.want) {
				t.Errorf("prepared %v, %v; want a refusal with %q", ps, err, row.want)
			}
		})
	}
}

func TestPreparedTakesTimeoutAndPeriodFromTheDocument(t *testing.T) {
	ps, err := Prepare(&platform.World{}, experiments.Experiment{Probes: []experiments.Probe{
		{Name: "a", Kind: "http", Every: experiments.Duration(time.Second), Settings: json.RawMessage(`{"url":"http://127.0.0.1:1/","timeout":"250ms"}`)},
		{Name: "b", Kind: "tcp", Every: experiments.Duration(2 * time.Second), Settings: json.RawMessage(`{"address":"127.0.0.1:1"}`)},
	}}, probes.Table())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := CloseAll(ps); err != nil {
			t.Error(err)
		}
	}()
	if ps[0].Timeout != 250*time.Millisecond || ps[1].Timeout != time.Second || ps[1].Every != 2*time.Second {
		t.Errorf("prepared %+v", ps)
	}
}
