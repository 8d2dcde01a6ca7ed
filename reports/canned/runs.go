package canned

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Runs is every canned run.
func Runs() []Run {
	return []Run{
		passed(), failed(), baselineBroken(), couldNotLook(), unconfirmed(), aborted(), killed(), stillBroken(), fiveKinds(), noProbes(), hostile(),
	}
}

// Find gives the run of a name.
func Find(name string) (Run, bool) {
	for _, r := range Runs() {
		if r.Name == name {
			return r, true
		}
	}
	return Run{}, false
}

const second = time.Second

func share(v float64) *experiments.Share { s := experiments.Share(v); return &s }

func within(d time.Duration) *experiments.Duration { v := experiments.Duration(d); return &v }

func storefront(every time.Duration) experiments.Probe {
	return experiments.Probe{
		Name: "storefront answers", Kind: "http", Every: experiments.Duration(every), Expect: `status == 200 && latency < duration("250ms")`,
		Settings: json.RawMessage(`{"url":"http://127.0.0.1:8080/","timeout":"1s"}`),
		Tolerate: experiments.Tolerance{During: share(0.99), Outage: within(2 * second), Recover: within(10 * second), Abort: 200, Blind: experiments.Duration(10 * second)},
	}
}

func replicas() experiments.Probe {
	return experiments.Probe{
		Name: "three replicas are up", Kind: "container", Every: experiments.Duration(500 * time.Millisecond), Expect: `state == "running"`,
		Settings: json.RawMessage(`{"labels":{"app":"checkout"}}`), Tolerate: experiments.Tolerance{During: share(0.5), Recover: within(15 * second), Blind: experiments.Duration(10 * second)},
	}
}

// target is one container with what its fault says of it.
func target(name, mechanism, undo string, keeper experiments.Keeper, asked map[string]string) (experiments.Candidate, experiments.Description) {
	long := fmt.Sprintf("%x", []byte(name+"-3f1c7be4a09d2586"))[:32]
	return experiments.Candidate{Kind: "container", ID: long, Name: name, Group: "checkout", Healthy: true, Detail: "shop/checkout:2.4.1"},
		experiments.Description{Kind: "container", ID: long, Name: name, Mechanism: mechanism, Keeper: keeper, Undo: undo, Leases: []string{"container/" + long}, Asked: asked}
}

type wanted struct {
	name, kind      string
	at, length      time.Duration
	mechanism, undo string
	keeper          experiments.Keeper
	asked           map[string]string
	settings        string
	targets         []string
	matched         int
}

func freeze() wanted {
	return wanted{
		name: "freeze one replica", kind: "container.pause", length: 10 * second, mechanism: "engine API", undo: "unpauses it, if it was paused by us",
		keeper: experiments.KeeperJournal, settings: `{"select":{"labels":{"app":"checkout"}},"pick":1}`, targets: []string{"checkout-2"}, matched: 3,
	}
}

func crash() wanted {
	return wanted{
		name: "crash one replica", kind: "container.crash", mechanism: "SIGKILL to its init, from outside", undo: "nothing: its restart policy brings it back",
		keeper: experiments.KeeperNone, asked: map[string]string{"signal": "KILL"}, settings: `{"select":{"labels":{"app":"checkout"}},"pick":1}`,
		targets: []string{"checkout-1"}, matched: 3,
	}
}

func planOf(name, hypothesis string, probes []experiments.Probe, faults ...wanted) experiments.Plan {
	p := experiments.Plan{
		Schema: experiments.PlanSchema, Seed: 4181, Targets: 0,
		Experiment: experiments.Experiment{
			APIVersion: experiments.APIVersion, Kind: experiments.KindExperiment, Name: name, Hypothesis: hypothesis,
			Labels:   map[string]string{"service": "checkout", "team": "payments", "criticality": "high"},
			Timeline: experiments.Timeline{Before: experiments.Duration(10 * second), During: experiments.Duration(20 * second), After: experiments.Duration(30 * second)},
			Limits:   experiments.Limits{Targets: 10, Duration: experiments.Duration(5 * time.Minute)}, Probes: probes,
		},
	}
	for n, w := range faults {
		p.Experiment.Faults = append(p.Experiment.Faults, experiments.Fault{
			Name: w.name, Kind: w.kind, At: experiments.Duration(w.at), For: experiments.Duration(w.length), Settings: json.RawMessage(w.settings),
		})
		f := experiments.PlannedFault{Fault: n + 1, Name: w.name, Kind: w.kind, At: experiments.Duration(w.at), For: experiments.Duration(w.length), Matched: w.matched}
		for _, name := range w.targets {
			c, d := target(name, w.mechanism, w.undo, w.keeper, w.asked)
			f.Victims, f.Descriptions = append(f.Victims, c), append(f.Descriptions, d)
			p.Targets++
		}
		p.Faults = append(p.Faults, f)
		p.Duration = max(p.Duration, f.At+f.For)
	}
	return p
}

const (
	losing  = "Losing one of three replicas costs under 1% of requests and heals within 10s."
	hanging = "A replica that hangs is taken out of the balancer within 2s; under 1% of requests fail."
)

func passed() Run {
	s := write(planOf("checkout-survives-a-replica-crash", losing, []experiments.Probe{storefront(100 * time.Millisecond), replicas()}, crash()), "20260314-0930-k7qm")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+12*time.Millisecond, 1, 1, nil)
	s.undo(10*second+60*time.Millisecond, 1, 1, "")
	s.back(10*second+90*time.Millisecond, 1, 1, experiments.ReturnDown, "")
	s.back(10*second+420*time.Millisecond, 1, 1, experiments.ReturnUp, "restart policy always")
	s.back(12*second+700*time.Millisecond, 1, 1, experiments.ReturnHealthy, "restart policy always")
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	s.sample(0, 0, 60*second, 9*time.Millisecond, bad(10*second+50*time.Millisecond, 10*second+150*time.Millisecond, 1200*time.Microsecond, "connection reset by peer"))
	s.sample(1, 0, 60*second, 3*time.Millisecond, bad(10*second+10*time.Millisecond, 10*second+510*time.Millisecond, 3*time.Millisecond, "expect was false: state is restarting"))
	return s.run("passed", "a replica is crashed and nobody suffers")
}

func failed() Run {
	s := write(planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(50 * time.Millisecond), replicas()}, freeze()), "20260314-0931-p3xd")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, nil)
	s.undo(20*second+18*time.Millisecond, 1, 1, "")
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	n := 0
	s.sample(0, 0, 60*second, 9*time.Millisecond, func(at, usual time.Duration) (time.Duration, experiments.Outcome, string) {
		if at < 10*second+200*time.Millisecond || at >= 18*second+300*time.Millisecond {
			return good(at, usual)
		}
		if n++; n%3 == 1 {
			return second, experiments.OutcomeBad, "timed out after 1s"
		}
		return usual + 260*time.Millisecond, experiments.OutcomeBad, "expect was false: latency is 269ms"
	})
	s.sample(1, 0, 60*second, 3*time.Millisecond, bad(10*second+40*time.Millisecond, 20*second, 3*time.Millisecond, "expect was false: state is paused"))
	return s.run("failed", "the balancer is too slow to notice a replica that hangs")
}

func baselineBroken() Run {
	s := write(planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(200 * time.Millisecond)}, freeze()), "20260314-0932-baseline")
	s.phase(0, experiments.PhaseBefore)
	s.add(10*second, experiments.Event{Type: experiments.EventBaseline, Error: "did not hold", Why: `"storefront answers" gave 9 bad answers of 50; all were asked to be good`, By: "parent"})
	s.close(10*second, true, nil)
	s.sample(0, 0, 10*second, 9*time.Millisecond, bad(4*second, 5*second+800*time.Millisecond, 2*time.Millisecond, "connection refused"))
	return s.run("inconclusive-baseline", "the system was not well before the faults, so nothing was injected")
}

func couldNotLook() Run {
	s := write(planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(200 * time.Millisecond), replicas()}, freeze()), "20260314-0933-blind")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, nil)
	s.undo(20*second+18*time.Millisecond, 1, 1, "")
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	s.sample(0, 0, 60*second, 9*time.Millisecond, good)
	s.sample(1, 0, 60*second, 3*time.Millisecond, func(at, usual time.Duration) (time.Duration, experiments.Outcome, string) {
		if at > 12*second && at < 24*second {
			return 0, experiments.OutcomeUnknown, "ask the Docker engine: no answer within 1s"
		}
		return good(at, usual)
	})
	return s.run("inconclusive-could-not-look", "the engine did not answer, so nobody knows")
}

func unconfirmed() Run {
	slow := wanted{
		name: "slow the link to the database", kind: "network.latency", length: 15 * second, mechanism: "nfqueue", undo: "the queue and its table go with the holder",
		keeper: experiments.KeeperKernel, asked: map[string]string{"delay": "100ms", "jitter": "10ms", "direction": "egress"}, settings: `{"delay":"100ms"}`, targets: []string{"gateway"}, matched: 1,
	}
	s := write(planOf("gateway-tolerates-a-slow-database", "A slow database slows the gateway, and nothing fails.", []experiments.Probe{storefront(200 * time.Millisecond)}, slow), "20260314-0934-quiet")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.aim(10*second+10*time.Millisecond, 1, 1)
	s.target(10*second+14*time.Millisecond, experiments.EventInjected, 1, 1, experiments.Event{})
	s.confirm(25*second, 1, 1, experiments.EffectUnknown, "rule and queue are there, but no packet met them: no traffic", map[string]string{"packets": "0"})
	s.undo(25*second+10*time.Millisecond, 1, 1, "")
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	s.sample(0, 0, 60*second, 9*time.Millisecond, good)
	return s.run("inconclusive-not-confirmed", "no packet met the delay, so nothing was tested")
}

func aborted() Run {
	plan := planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(50 * time.Millisecond)}, freeze())
	plan.Experiment.Probes[0].Tolerate.Abort = 50
	s := write(plan, "20260314-0935-guard")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, nil)
	s.add(13*second+800*time.Millisecond, experiments.Event{Type: experiments.EventAbort, Abort: experiments.AbortGuard, Why: `"storefront answers" gave 50 bad answers in a row`, By: "holder"})
	s.undo(13*second+810*time.Millisecond, 1, 1, "")
	s.phase(13*second+850*time.Millisecond, experiments.PhaseAfter)
	s.close(44*second, false, yes())
	s.sample(0, 0, 43*second+850*time.Millisecond, 9*time.Millisecond, bad(10*second+100*time.Millisecond, 14*second, second, "timed out after 1s"))
	return s.run("aborted", "a guard ended the run")
}

func killed() Run {
	s := write(planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(100 * time.Millisecond)}, freeze()), "20260314-0936-kill")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, nil)
	s.sample(0, 0, 14*second, 9*time.Millisecond, bad(10*second+200*time.Millisecond, 20*second, 300*time.Millisecond, "timed out after 300ms"))
	return s.run("killed", "faultline and its holder were killed in the middle")
}

func stillBroken() Run {
	s := write(planOf("checkout-survives-a-hanging-replica", hanging, []experiments.Probe{storefront(100 * time.Millisecond)}, freeze()), "20260314-0937-left")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, nil)
	s.undo(20*second+18*time.Millisecond, 1, 1, "undo container.pause of checkout-2: unpause it: the engine does not answer (is dockerd running?)")
	s.phase(30*second, experiments.PhaseAfter)
	no := false
	s.close(60*second, true, &no)
	s.sample(0, 0, 60*second, 9*time.Millisecond, good)
	return s.run("undo-not-verified", "everything passed, but a container may still be frozen")
}

func fiveKinds() Run {
	faults := []wanted{crash(), freeze(), {
		name: "slow the link to the database", kind: "network.latency", at: 3 * second, length: 12 * second, mechanism: "nfqueue", undo: "the queue and its table go with the holder",
		keeper: experiments.KeeperKernel, asked: map[string]string{"delay": "100ms", "jitter": "10ms", "direction": "egress"}, settings: `{"delay":"100ms","jitter":"10ms","direction":"egress"}`,
		targets: []string{"gateway"}, matched: 1,
	}, {
		name: "stop the cache", kind: "container.stop", at: 6 * second, length: 8 * second, mechanism: "engine API", undo: "starts it again",
		keeper: experiments.KeeperJournal, asked: map[string]string{"grace": "2s"}, settings: `{"select":{"name":"cache"},"grace":"2s"}`, targets: []string{"cache"}, matched: 1,
	}, {
		name: "freeze the workers", kind: "process.pause", at: 9 * second, length: 5 * second, mechanism: "ptrace", undo: "the kernel resumes it when the holder lets go",
		keeper: experiments.KeeperKernel, settings: `{"select":{"exe":"worker"},"pick":"all"}`, targets: []string{"worker (pid 812)", "worker (pid 813)", "worker (pid 814)"}, matched: 3,
	}}
	faults[1].at, faults[1].length = second, 10*second
	probes := []experiments.Probe{storefront(50 * time.Millisecond), replicas(), {
		Name: "database accepts connections", Kind: "tcp", Every: experiments.Duration(100 * time.Millisecond), Expect: "connected", Settings: json.RawMessage(`{"address":"10.0.3.7:5432"}`),
		Tolerate: experiments.Tolerance{Blind: experiments.Duration(10 * second)},
	}}
	plan := planOf("checkout-game-day", "The shop sells through a bad quarter of a minute: under 5% of requests fail, and no outage is longer than 3s.", probes, faults...)
	plan.Experiment.Probes[0].Tolerate.During, plan.Experiment.Probes[0].Tolerate.Outage = share(0.95), within(3*second)
	plan.Exempt = []string{"192.0.2.7:22 (this ssh session)"}
	plan.Faults[2].Descriptions[0].Notes = []string{"lo is not covered"}
	plan.Faults[0].Descriptions[0].Restart = "always"
	s := write(plan, "20260314-0940-gameday")
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+12*time.Millisecond, 1, 1, nil)
	s.undo(10*second+60*time.Millisecond, 1, 1, "")
	s.back(10*second+430*time.Millisecond, 1, 1, experiments.ReturnUp, "restart policy always")
	s.back(12*second+100*time.Millisecond, 1, 1, experiments.ReturnHealthy, "restart policy always")
	s.hit(11*second+8*time.Millisecond, 2, 1, nil)
	s.hit(13*second+5*time.Millisecond, 3, 1, map[string]string{"p50": "100.2ms", "p99": "111.4ms", "packets": "18,204"})
	s.hit(16*second+20*time.Millisecond, 4, 1, nil)
	for n := range 3 {
		s.hit(19*second+time.Duration(n*7)*time.Millisecond, 5, n+1, nil)
		s.undo(24*second+time.Duration(n*3)*time.Millisecond, 5, n+1, "")
	}
	s.undo(21*second+8*time.Millisecond, 2, 1, "")
	s.undo(24*second+20*time.Millisecond, 4, 1, "")
	s.undo(25*second+5*time.Millisecond, 3, 1, "")
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	s.sample(0, 0, 60*second, 9*time.Millisecond, func(at, usual time.Duration) (time.Duration, experiments.Outcome, string) {
		switch {
		case at > 11*second && at < 12*second+400*time.Millisecond:
			return second, experiments.OutcomeBad, "timed out after 1s"
		case at > 13*second && at < 25*second:
			return usual + 102*time.Millisecond, experiments.OutcomeGood, ""
		}
		return good(at, usual)
	})
	s.sample(1, 0, 60*second, 3*time.Millisecond, bad(11*second, 21*second, 3*time.Millisecond, "expect was false: state is paused"))
	s.sample(2, 0, 60*second, 400*time.Microsecond, func(at, usual time.Duration) (time.Duration, experiments.Outcome, string) {
		if at > 13*second && at < 25*second {
			return usual + 100*time.Millisecond, experiments.OutcomeGood, ""
		}
		return good(at, usual)
	})
	return s.run("five-faults", "five kinds of fault on at once")
}

func noProbes() Run {
	s := write(planOf("crash-without-a-question", "", nil, crash()), "20260314-0941-mute")
	s.phase(0, experiments.PhaseBefore)
	s.phase(second, experiments.PhaseDuring)
	s.hit(second+12*time.Millisecond, 1, 1, nil)
	s.undo(second+60*time.Millisecond, 1, 1, "")
	s.back(second+420*time.Millisecond, 1, 1, experiments.ReturnUp, "restart policy always")
	s.phase(20*second, experiments.PhaseAfter)
	s.close(21*second, true, yes())
	return s.run("no-probes", "nobody asked anything")
}

// Hostile is text that tries to be markup in every format.
const Hostile = "</title><script>alert(1)</script> ![x](http://evil.example/a.png) [l](javascript:1) www.evil.example @here #1 `a` | b |\n# h\r\n---\x1b[31mred\x00\u202egnp\u2066 \xff\xfe ]]> <!-- ${env:HOME} $x$"

// hostile is a run in which everything that somebody can name is hostile.
func hostile() Run {
	probe := storefront(500 * time.Millisecond)
	probe.Name, probe.Expect = Hostile, Hostile
	w := freeze()
	w.name, w.kind, w.targets, w.mechanism, w.undo = Hostile, "container.pause", []string{Hostile}, Hostile, Hostile
	w.asked = map[string]string{Hostile: Hostile}
	plan := planOf(Hostile, Hostile, []experiments.Probe{probe}, w)
	plan.Experiment.Labels = map[string]string{Hostile: Hostile}
	s := write(plan, Hostile)
	h := s.events[0].Header
	h.Host, h.User, h.OS, h.Version, h.Engine, h.Command = Hostile, Hostile, Hostile, Hostile, Hostile, []string{"faultline", "run", Hostile}
	s.phase(0, experiments.PhaseBefore)
	s.baseline(10 * second)
	s.phase(10*second, experiments.PhaseDuring)
	s.hit(10*second+18*time.Millisecond, 1, 1, map[string]string{Hostile: Hostile})
	s.add(15*second, experiments.Event{Type: experiments.EventNote, Why: Hostile})
	s.undo(20*second+18*time.Millisecond, 1, 1, Hostile)
	s.phase(30*second, experiments.PhaseAfter)
	s.close(60*second, true, yes())
	s.sample(0, 0, 60*second, 9*time.Millisecond, bad(12*second, 14*second, second, Hostile))
	return s.run("hostile", "every name tries to be markup")
}

func yes() *bool { v := true; return &v }
