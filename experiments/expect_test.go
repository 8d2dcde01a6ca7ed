package experiments_test

import (
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

func TestReadingsAreJudged(t *testing.T) {
	http := func(status int64, latency time.Duration, suffered string) experiments.Reading {
		return experiments.Reading{"status": status, "latency": latency, "body": "7", "headers": map[string]string{"x-cache": "HIT"}, "error": suffered}
	}
	tcp := experiments.Reading{"connected": false, "latency": time.Millisecond, "error": "refused"}
	for name, row := range map[string]struct {
		expect  string
		reading experiments.Reading
		outcome experiments.Outcome
		why     string
	}{
		"what is expected is good":               {`status == 200 && latency < duration("250ms")`, http(200, time.Millisecond, ""), experiments.OutcomeGood, ""},
		"what is not expected is bad, with why":  {`status == 200`, http(503, time.Millisecond, ""), experiments.OutcomeBad, "expected status == 200; got status 503"},
		"a late answer is bad":                   {`latency < duration("250ms")`, http(200, 251*time.Millisecond, ""), experiments.OutcomeBad, `expected latency < duration("250ms"); got latency 251ms`},
		"an error is bad whatever is expected":   {`status == 0`, http(0, 0, "refused"), experiments.OutcomeBad, "refused"},
		"an expected error is good":              {`error.contains("refused")`, http(0, 0, "refused"), experiments.OutcomeGood, ""},
		"another error than expected is bad":     {`error == "reset"`, http(0, 0, "refused"), experiments.OutcomeBad, "refused"},
		"a port that is to be closed is good":    {`!connected`, tcp, experiments.OutcomeGood, ""},
		"a port that is to be open is bad":       {`connected`, tcp, experiments.OutcomeBad, "refused"},
		"a header is looked up":                  {`headers["x-cache"] == "HIT"`, http(200, 0, ""), experiments.OutcomeGood, ""},
		"a header that is not there is unknown":  {`headers["x-none"] == "HIT"`, http(200, 0, ""), experiments.OutcomeUnknown, "no such key"},
		"a header may be asked for first":        {`"x-none" in headers && headers["x-none"] == "HIT"`, http(200, 0, ""), experiments.OutcomeBad, "expected"},
		"text becomes a number":                  {`int(body.trim()) < 8`, http(200, 0, ""), experiments.OutcomeGood, ""},
		"an expression that fails is unknown":    {`10 / (status - 200) > 1`, http(200, 0, ""), experiments.OutcomeUnknown, "division by zero"},
		"an expression that is dear is cut off":  {`[1,2,3,4,5,6,7,8,9,10].all(a, [1,2,3,4,5,6,7,8,9,10].all(b, [1,2,3,4,5,6,7,8,9,10].all(c, [1,2,3,4,5,6,7,8,9,10].all(d, [1,2,3,4,5,6,7,8,9,10].all(e, [1,2,3,4,5,6,7,8,9,10].all(f, [1,2,3,4,5,6,7,8,9,10].all(g, a+b+c+d+e+f+g > 0)))))))`, http(200, 0, ""), experiments.OutcomeUnknown, "cost limit"},
		"a long body stands in a reason only so": {`body == "x"`, experiments.Reading{"body": strings.Repeat("y", 5000), "error": ""}, experiments.OutcomeBad, "…"},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := experiments.CompileExpect(row.expect, row.reading)
			if err != nil {
				t.Fatal(err)
			}
			outcome, why := experiments.Judge(row.reading, e)
			if outcome != row.outcome || !strings.Contains(why, row.why) || (why == "") != (row.why == "") || len(why) > 600 {
				t.Errorf("judged %s, %q; want %s, %q", outcome, why, row.outcome, row.why)
			}
		})
	}
}

func TestAnExpectationKnowsWhatItMentions(t *testing.T) {
	e, err := experiments.CompileExpect(`a.startsWith("b") || ["c"].exists(d, d == a)`, experiments.Reading{"a": "x", "b": "y", "error": ""})
	if err != nil {
		t.Fatal(err)
	}
	if !e.Mentions("a") || e.Mentions("b") || e.Mentions("error") {
		t.Error("it takes text for names")
	}
}

func TestWhatAReadingCannotHoldIsAnError(t *testing.T) {
	if _, err := experiments.CompileExpect("true", experiments.Reading{"x": []string{}}); err == nil {
		t.Error("a list is taken for a value")
	}
}
