package scheduler

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/probes"
)

func TestProbeEndpointsNameWhatIsAsked(t *testing.T) {
	var e experiments.Experiment
	for _, p := range []struct{ kind, settings string }{
		{"http", `{"url": "https://shop.example/pay?token=x"}`},
		{"http", `{"url": "http://[::1]/"}`},
		{"http", `{"url": "http://127.0.0.1:8080/"}`},
		{"tcp", `{"address": "127.0.0.1:8080"}`},
		{"exec", `{"command": ["true"]}`},
	} {
		e.Probes = append(e.Probes, experiments.Probe{Kind: p.kind, Every: experiments.Duration(time.Second), Settings: json.RawMessage(p.settings)})
	}
	prepared, err := Prepare(&platform.World{}, e, probes.Table())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"127.0.0.1:8080", "[::1]:80", "shop.example:443"}
	if got := ProbeEndpoints(prepared); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
