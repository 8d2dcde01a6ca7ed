package injectors

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// latencyOf reads settings as the document's parser gives them.
func latencyOf(t *testing.T, settings string) (NetworkLatencySettings, error) {
	t.Helper()
	var s NetworkLatencySettings
	err := json.Unmarshal([]byte(settings), &s)
	return s, err
}

func TestH39_ImpossibleDelaysAreRefusedWithTheirField(t *testing.T) {
	for _, row := range []struct{ name, settings, field string }{
		{"five minutes", `"delay": "5m"`, "delay"},
		{"below zero", `"delay": "-5ms"`, "delay"},
		{"zero", `"delay": "0s"`, "delay"},
		{"nothing said", `"jitter": "0s"`, "delay"},
		{"275s, where netem's 32 bits end", `"delay": "275s"`, "delay"},
		{"4295s, where they wrap", `"delay": "4295s"`, "delay"},
		{"jitter above the delay", `"delay": "10ms", "jitter": "11ms"`, "jitter"},
		{"jitter below zero", `"delay": "10ms", "jitter": "-1ms"`, "jitter"},
		{"an unknown direction", `"delay": "10ms", "direction": "upwards"`, "direction"},
		{"an unknown mechanism", `"delay": "10ms", "mechanism": "tc"`, "mechanism"},
		{"a mistyped address", `"delay": "10ms", "to": ["db:5432", "10.0.0.256"]`, "to[1]"},
		{"a range with host bits", `"delay": "10ms", "to": ["10.0.0.7/24"]`, "to[0]"},
		{"a port that is none", `"delay": "10ms", "to": [":70000"]`, "to[0]"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := latencyOf(t, `{"select": {"netns": "blue"}, `+row.settings+`}`)
			if err != nil {
				t.Fatal(err)
			}
			problems := s.Check()
			if len(problems) != 1 || problems[0].Field != row.field {
				t.Errorf("problems %+v, want one about %s", problems, row.field)
			}
		})
	}
	for _, settings := range []string{`{"delay": 100}`, `{"delay": "100"}`, `{"delay": "0"}`} {
		if s, err := latencyOf(t, settings); err == nil {
			t.Errorf("%s is read as %s: a bare number has no unit", settings, s.Delay)
		}
	}
}

func TestNetworkSelectNeedsExactlyOneKey(t *testing.T) {
	for _, row := range []struct {
		name, settings string
		fields         []string
	}{
		{"none", `{}`, []string{"select"}},
		{"two", `{"netns": "blue", "process": {"pid": 7}}`, []string{"select"}},
		{"a namespace", `{"netns": "blue"}`, nil},
		{"a path is no name", `{"netns": "../blue"}`, []string{"select.netns"}},
		{"a process without pick", `{"process": {"exe": "redis-server"}}`, []string{"pick"}},
		{"a process by pid", `{"process": {"pid": 7}}`, nil},
		{"a bad container id", `{"container": {"id": "xyz"}}`, []string{"select.container.id"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s, err := latencyOf(t, `{"delay": "10ms", "select": `+row.settings+`}`)
			if err != nil {
				t.Fatal(err)
			}
			var fields []string
			for _, p := range s.Check() {
				fields = append(fields, p.Field)
			}
			if !slices.Equal(fields, row.fields) {
				t.Errorf("problems with %q, want %q", fields, row.fields)
			}
		})
	}
}

func TestLatencyTargetSurvivesJSONAndNamesItsLeases(t *testing.T) {
	peer, err := netfault.ParsePeer("[fd00::7]:5432")
	if err != nil {
		t.Fatal(err)
	}
	target := LatencyTarget{
		Victim: experiments.Candidate{Kind: "netns", ID: "boot/7", Name: "blue"}, Netns: netfault.ID{BootID: "boot", Cookie: 1<<63 + 7},
		Mechanism: netfault.NFQueue, Delay: netfault.Delay{Direction: netfault.Both, Delay: time.Second, Peers: []netfault.Peer{peer}},
		Table: "faultline-1", Links: []string{"eth1", "wg0"}, Wall: time.Unix(1, 0).UTC(),
	}
	raw, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	var again LatencyTarget
	if err := json.Unmarshal(raw, &again); err != nil || fmt.Sprintf("%+v", again) != fmt.Sprintf("%+v", target) {
		t.Errorf("%+v\nis read back as\n%+v, %v", target, again, err)
	}
	leases := strings.Join(target.Describe().Leases, " ")
	for _, want := range []string{"/eth1/ingress", "/eth1/egress", "/wg0/ingress", "/wg0/egress"} {
		if !strings.Contains(leases, fmt.Sprint(uint64(1<<63+7))+want) {
			t.Errorf("leases %s have none for %s", leases, want)
		}
	}
	if d := target.Describe(); d.Keeper != experiments.KeeperKernel {
		t.Errorf("keeper %q", d.Keeper)
	}
	target.Mechanism = netfault.Netem
	if d := target.Describe(); d.Keeper != experiments.KeeperJournal {
		t.Errorf("netem's keeper %q: nothing but the journal knows of it", d.Keeper)
	}
}
