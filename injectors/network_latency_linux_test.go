package injectors

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
	"github.com/faultline-sh/faultline/internal/testenv"
)

const testDelay = 60 * time.Millisecond

func realWorld(t testing.TB) *platform.World {
	t.Helper()
	w, err := platform.Open()
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// latency walks one fault through its life, as the engine does, with every
// target taken through JSON.
type latency struct {
	t     *testing.T
	w     *platform.World
	fault Fault
	raw   json.RawMessage
	order experiments.Order
}

func newLatency(t *testing.T, settings string, doors ...experiments.Door) *latency {
	t.Helper()
	w := realWorld(t)
	l := &latency{t: t, w: w, fault: Of(networkLatencyAbout, networkLatency{}), raw: json.RawMessage(settings)}
	l.order = experiments.Order{
		Run: "test", Allow: doors, Length: experiments.Duration(time.Minute),
		Deadline: w.Host.Boottime().Add(time.Minute), Wall: w.Host.Now().Add(time.Minute),
	}
	choice, err := l.fault.Choose(t.Context(), w, l.raw)
	if err != nil || len(choice.Matched) != 1 {
		t.Fatalf("choose: %+v, %v", choice, err)
	}
	l.order.Victim = choice.Matched[0]
	return l
}

func (l *latency) aim() Aimed {
	l.t.Helper()
	aimed, err := l.fault.Aim(l.t.Context(), l.w, l.raw, l.order)
	if err != nil || len(aimed) != 1 {
		l.t.Fatalf("aim: %v", err)
	}
	return aimed[0]
}

func (l *latency) inject(a Aimed) Held {
	l.t.Helper()
	held, err := l.fault.Inject(l.t.Context(), l.w, a.Target)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() {
		if err := errors.Join(held.Close(), l.fault.Undo(context.Background(), l.w, a.Target)); err != nil {
			l.t.Error(err)
		}
	})
	return held
}

func (l *latency) confirm(a Aimed, want experiments.EffectState) experiments.Effect {
	l.t.Helper()
	e, err := l.fault.Confirm(l.t.Context(), l.w, a.Target)
	if err != nil {
		if want == experiments.EffectGone && errors.Is(err, ErrGone) {
			return experiments.Effect{State: experiments.EffectGone, Why: err.Error()}
		}
		l.t.Fatalf("confirm: %v", err)
	}
	if e.State != want {
		l.t.Errorf("confirm: %+v, want %s", e, want)
	}
	return e
}

// ask is the observer outside: how long an HTTP request on a new connection takes.
func ask(t testing.TB, url string) time.Duration {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	start := time.Now()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return time.Since(start)
}

func TestLatencyOfAProcessInANamespace(t *testing.T) {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	server := n.Process(t, "-http", net.JoinHostPort(n.Addr4.String(), "8080"))
	url := "http://" + net.JoinHostPort(n.Addr4.String(), "8080")
	l := newLatency(t, `{"select": {"process": {"pid": `+itoa(server.PID)+`}}, "to": ["`+n.Outside4.String()+`"], "direction": "ingress", "delay": "60ms"}`)
	if err := l.fault.Preflight(t.Context(), l.w, l.raw, l.order); err != nil {
		t.Fatal(err)
	}
	a := l.aim()
	l.confirm(a, experiments.EffectOff)
	held := l.inject(a)
	if e := held.(Measurer).Measure(); e.State != experiments.EffectUnknown || !strings.Contains(e.Why, "no traffic") {
		t.Errorf("before any packet: %+v", e)
	}
	if took := ask(t, url); took < 2*testDelay || took > 2*testDelay+100*time.Millisecond { // SYN and request
		t.Errorf("a request takes %s, want about %s", took, 2*testDelay)
	}
	t.Logf("confirmed %+v", l.confirm(a, experiments.EffectOn))
	e := held.(Measurer).Measure()
	t.Logf("measured %+v", e)
	if p50, err := time.ParseDuration(e.Measured["p50"]); err != nil || p50 < testDelay || p50 > testDelay+20*time.Millisecond {
		t.Errorf("measured %+v, %v", e, err)
	}
	if err := l.fault.Undo(t.Context(), l.w, a.Target); !errors.Is(err, netfault.ErrStillOn) {
		t.Errorf("undo while the holder has it: %v, want that it is still on", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := l.fault.Undo(t.Context(), l.w, a.Target); err != nil {
			t.Fatal(err)
		}
	}
	if took := ask(t, url); took > testDelay {
		t.Errorf("after undo a request takes %s", took)
	}
	server.Kill()
	l.confirm(a, experiments.EffectGone)
}

func itoa(n int) string { return strconv.Itoa(n) }

func TestLatencyWithoutPeersNeedsItsDoor(t *testing.T) {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	settings := `{"select": {"netns": "` + n.Name + `"}, "delay": "60ms"}`
	l := newLatency(t, settings)
	if err := l.fault.Preflight(t.Context(), l.w, l.raw, l.order); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "all-traffic") {
		t.Errorf("preflight: %v", err)
	}
	l = newLatency(t, settings, experiments.DoorAllTraffic)
	if err := l.fault.Preflight(t.Context(), l.w, l.raw, l.order); err != nil {
		t.Errorf("with the door open: %v", err)
	}
}

func TestH10_ANamespaceOfTheSameNameIsAnotherOne(t *testing.T) {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	l := newLatency(t, `{"select": {"netns": "`+n.Name+`"}, "to": ["10.0.0.1"], "delay": "60ms"}`)
	a := l.aim()
	for _, args := range [][]string{{"netns", "delete", n.Name}, {"netns", "add", n.Name}} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			t.Fatalf("ip %v: %v, %s", args, err, out)
		}
	}
	var target LatencyTarget
	if err := json.Unmarshal(a.Target, &target); err != nil {
		t.Fatal(err)
	}
	// What stands in the new namespace has the name that ours would have.
	if out, err := exec.Command("ip", "netns", "exec", n.Name, "nft", "add", "table", "inet", target.Table).CombinedOutput(); err != nil {
		t.Fatalf("nft: %v, %s", err, out)
	}
	if _, err := l.fault.Inject(t.Context(), l.w, a.Target); !errors.Is(err, ErrGone) {
		t.Errorf("inject: %v, want ErrGone", err)
	}
	l.confirm(a, experiments.EffectGone)
	if err := l.fault.Undo(t.Context(), l.w, a.Target); err != nil {
		t.Errorf("undo of what went with its namespace: %v", err)
	}
	if out, err := exec.Command("ip", "netns", "exec", n.Name, "nft", "list", "tables").CombinedOutput(); err != nil || !strings.Contains(string(out), target.Table) {
		t.Errorf("undo went into the new namespace: %v, %s", err, out)
	}
	if _, err := l.fault.Aim(t.Context(), l.w, l.raw, l.order); !errors.Is(err, ErrChanged) {
		t.Errorf("aim at the victim that was chosen: %v, want ErrChanged", err)
	}
}

func TestH10_AContainerThatRestartsHasAnotherNamespace(t *testing.T) {
	testenv.Require(t, "docker")
	box := testenv.Container(t)
	l := newLatency(t, `{"select": {"container": {"id": "`+box.ID+`"}}, "delay": "60ms"}`, experiments.DoorAllTraffic)
	a := l.aim()
	held := l.inject(a)
	if took := ask(t, box.URL()); took < testDelay {
		t.Errorf("a request takes %s", took)
	}
	l.confirm(a, experiments.EffectOn)
	if out, err := exec.Command("docker", "restart", "--time", "0", box.ID).CombinedOutput(); err != nil {
		t.Fatalf("docker restart: %v, %s", err, out)
	}
	box.WaitState(10*time.Second, "running")
	l.confirm(a, experiments.EffectGone)
	if err := errors.Join(held.Close(), l.fault.Undo(t.Context(), l.w, a.Target)); err != nil {
		t.Errorf("undo: %v", err)
	}
	out, err := exec.Command("nsenter", "--net", "--target", itoa(box.PID()), "nft", "list", "tables").CombinedOutput()
	if err != nil || strings.Contains(string(out), "faultline") {
		t.Errorf("the new namespace: %v, %s", err, out)
	}
}

func TestH34_HostNetworkIsRefusedByItsInode(t *testing.T) {
	testenv.Require(t, "netns")
	server := testenv.Process(t)
	settings := `{"select": {"process": {"pid": ` + itoa(server.PID) + `}}, "to": ["192.0.2.1:9"], "delay": "60ms"}`
	l := newLatency(t, settings)
	if _, err := l.fault.Aim(t.Context(), l.w, l.raw, l.order); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "host-network") {
		t.Errorf("aim: %v, want that the door is named", err)
	}
	l = newLatency(t, settings, experiments.DoorHostNetwork)
	if notes := strings.Join(l.aim().Description.Notes, " "); !strings.Contains(notes, "host's network namespace") {
		t.Errorf("with the door open: %s", notes)
	}
}

func TestH34_WhoSharesANamespaceIsNamed(t *testing.T) {
	testenv.Require(t, "docker")
	owner := testenv.Container(t)
	guest := testenv.Container(t, testenv.Engine("--network", "container:"+owner.ID), testenv.Args("-http", ":8081"))
	settings := `{"select": {"container": {"id": "` + owner.ID + `"}}, "delay": "60ms"}`
	l := newLatency(t, settings, experiments.DoorAllTraffic)
	if _, err := l.fault.Aim(t.Context(), l.w, l.raw, l.order); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "shared-namespace") || !strings.Contains(err.Error(), guest.Name) {
		t.Errorf("aim: %v, want the door and %s", err, guest.Name)
	}
	l = newLatency(t, settings, experiments.DoorAllTraffic, experiments.DoorSharedNamespace)
	if hits := l.aim().Description.Hits; len(hits) != 1 || !strings.Contains(hits[0], guest.Name) {
		t.Errorf("hits %q", hits)
	}
}

func TestH33_AMechanismThatTheKernelLacksIsRefusedBeforehand(t *testing.T) {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	l := newLatency(t, `{"select": {"netns": "`+n.Name+`"}, "to": ["10.0.0.1"], "delay": "60ms", "mechanism": "netem"}`)
	err := l.fault.Preflight(t.Context(), l.w, l.raw, l.order)
	t.Log(err)
	if works := netfault.Try(t.Context(), netfault.Netem).Works; works != (err == nil) {
		t.Errorf("netem works: %v, and preflight says %v", works, err)
	}
	if err != nil && (!errors.Is(err, ErrRefused) || !errors.Is(err, platform.ErrUnsupported)) {
		t.Errorf("the refusal %v is not told by its error", err)
	}
}

// Whoever injects half of it, or the neighbour, is not believed.
func TestConfirmIsNotContentWithLess(t *testing.T) {
	testenv.Require(t, "netns")
	n, neighbour := testenv.Netns(t), testenv.Netns(t)
	l := newLatency(t, `{"select": {"netns": "`+n.Name+`"}, "to": ["`+n.Outside4.String()+`"], "direction": "both", "delay": "60ms"}`)
	a := l.aim()
	var asked LatencyTarget
	if err := json.Unmarshal(a.Target, &asked); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, netns string
		direction   netfault.Direction
		want        experiments.EffectState
	}{
		{"one direction of two", n.Name, netfault.Ingress, experiments.EffectPartly},
		{"the other one", n.Name, netfault.Egress, experiments.EffectPartly},
		{"the neighbour", neighbour.Name, netfault.Both, experiments.EffectOff},
		{"all of it", n.Name, netfault.Both, experiments.EffectOn},
	} {
		t.Run(row.name, func(t *testing.T) {
			ns, err := netfault.OpenName(row.netns)
			if err != nil {
				t.Fatal(err)
			}
			defer ns.Close()
			d := asked.Delay
			d.Direction = row.direction
			hold, err := ns.Hold(asked.Table, d, func() time.Duration { return time.Minute })
			if err != nil {
				t.Fatal(err)
			}
			l.confirm(a, row.want)
			if err := hold.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	half := asked.Delay
	half.Delay /= 2
	ns, err := netfault.OpenName(n.Name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	hold, err := ns.Hold(asked.Table, half, func() time.Duration { return time.Minute })
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	server := n.Process(t, "-http", net.JoinHostPort(n.Addr4.String(), "8080"))
	ask(t, server.URL())
	if e := (heldPackets{hold: hold, asked: asked.Delay}).Measure(); e.State != experiments.EffectPartly {
		t.Errorf("half of the delay is measured as %+v", e)
	}
}

func TestLatencyOfANamespaceThatIsUnknown(t *testing.T) {
	testenv.Require(t, "netns")
	choice, err := Of(networkLatencyAbout, networkLatency{}).Choose(t.Context(), realWorld(t), json.RawMessage(`{"select": {"netns": "nobody-made-this"}, "delay": "1ms"}`))
	if err != nil || len(choice.Matched) != 0 {
		t.Errorf("%+v, %v; want no match", choice, err)
	}
	if os.Geteuid() != 0 {
		t.Error("these tests need root")
	}
}

// stageLatency is a namespace by name; its state is all of its packet filter and traffic control.
func stageLatency(t *testing.T) stageSet {
	testenv.Require(t, "netns")
	n := testenv.Netns(t)
	return stageSet{
		world:    realWorld(t),
		settings: map[string]any{"select": map[string]string{"netns": n.Name}, "to": []string{n.Outside4.String(), n.Outside6.String()}, "delay": "60ms", "direction": "both"},
		state: func() string {
			var all []string
			for _, argv := range [][]string{{"nft", "list", "ruleset"}, {"tc", "qdisc", "show"}, {"ip", "-brief", "link"}} {
				out, err := n.Command(argv[0], argv[1:]...).CombinedOutput()
				if err != nil {
					t.Fatalf("%v: %v, %s", argv, err, out)
				}
				all = append(all, string(out))
			}
			return strings.Join(all, "\n")
		},
		vanish: func() {
			if out, err := exec.Command("ip", "netns", "delete", n.Name).CombinedOutput(); err != nil {
				t.Fatalf("ip netns delete: %v, %s", err, out)
			}
		},
		again: func() World { return realWorld(t) },
	}
}
