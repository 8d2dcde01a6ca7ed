package scheduler

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/twin"
	"github.com/faultline-sh/faultline/probes"
)

// A real service that changes its mind with every answer: each is one sample, and each is judged for itself.
func TestH70_EachAnswerOfAFlappingServiceIsOneSample(t *testing.T) {
	moods := []func(w http.ResponseWriter, r *http.Request){
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"ok": true}`) },
		func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"error": "no database"}`) },
		func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
		func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	}
	var asked atomic.Int64
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		moods[(asked.Add(1)-1)%int64(len(moods))](w, r)
	}))
	defer service.Close()
	settings, err := json.Marshal(map[string]any{"url": service.URL, "timeout": "20s", "follow_redirects": true})
	if err != nil {
		t.Fatal(err)
	}
	e := experiments.Experiment{Probes: []experiments.Probe{{
		Name: "shop", Kind: "http", Every: experiments.Duration(5 * time.Millisecond), Settings: settings,
		Expect: `status == 200 && !body.contains("error")`,
	}}}
	host := twin.NewHost()
	prepared, err := Prepare(&platform.World{Host: host}, e, probes.Table())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	outcomes, all := map[experiments.Outcome]int{}, 0
	NewSampler(host, prepared, func(s experiments.Sample) {
		all++
		outcomes[s.Outcome]++
		if s.Outcome == experiments.OutcomeBad && s.Why == "" {
			t.Errorf("a bad sample does not say why: %+v", s)
		}
	}).Run(ctx)
	if err := CloseAll(prepared); err != nil {
		t.Error(err)
	}
	good, bad, unknown := outcomes[experiments.OutcomeGood], outcomes[experiments.OutcomeBad], outcomes[experiments.OutcomeUnknown]
	if all < 40 || unknown > all/10 || int64(all-unknown) > asked.Load() {
		t.Fatalf("%d samples, %d of them unknown, of %d questions", all, unknown, asked.Load())
	}
	// One mood in four is good; the last round may be cut off, and unknown ones are nobody's.
	if want := all / 4; good < want-unknown-1 || good > want+1 || bad < 3*want-unknown-3 {
		t.Errorf("%d good, %d bad and %d unknown of %d", good, bad, unknown, all)
	}
}
