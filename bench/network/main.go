//go:build linux

// Command network measures network.latency by nfqueue beside toxiproxy, in one
// run and on one path: TCP through a veth pair into a network namespace, delayed
// by 10 ms. It prints ratios, and exits 1 when one is missed. How exact the delay
// is it reports: the target is meant for an idle machine.
//
// It refuses to compare what was not measured in the same run, and to judge
// absolute figures of another machine: those it only reports.
package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

const (
	delay   = 10 * time.Millisecond
	streams = 8
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("network: ")
	rounds := flag.Int("rounds", 3, "how often each thing is measured")
	length := flag.Duration("for", 2*time.Second, "how long each time")
	role := flag.String("role", "", "be a part of the measurement: sink or echo")
	flag.Parse()
	var err error
	switch *role {
	case "sink":
		err = sink(flag.Arg(0))
	case "echo":
		err = echo(flag.Arg(0))
	default:
		err = bench(*rounds, *length)
	}
	if err != nil {
		log.Fatal(err)
	}
}

var errMissed = errors.New("a ratio was missed")

// line is one row of the result.
type line struct {
	id, target, got, peer string
	n                     int
	spread, verdict       string
	ratio                 bool // it decides the exit code; absolute figures are only reported
}

func bench(rounds int, length time.Duration) error {
	p, err := newPath()
	if err != nil {
		return err
	}
	defer p.remove()
	var lines []line
	speed, err := throughput(p, rounds, length)
	if err != nil {
		return err
	}
	lines = append(lines, speed...)
	added, err := addedDelay(p, 10, 100)
	if err != nil {
		return err
	}
	lines = append(lines, added...)
	missed := false
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\ttarget\tgot\tpeer\tn\tspread\tverdict")
	for _, l := range lines {
		missed = missed || l.ratio && l.verdict == "MISSED"
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\t%s\n", l.id, l.target, l.got, l.peer, l.n, l.spread, l.verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missed {
		return errMissed
	}
	return nil
}

// throughput measures direct, delayed and proxied by turns, so that what else
// the machine does hits all alike.
func throughput(p *path, rounds int, length time.Duration) ([]line, error) {
	if err := p.startSink(); err != nil {
		return nil, err
	}
	if err := p.startProxy(); err != nil {
		return nil, err
	}
	var direct, ours, egress, theirs []float64
	for range rounds {
		for _, m := range []struct {
			rates *[]float64
			run   func() (float64, error)
		}{
			{&direct, func() (float64, error) { return p.send(p.sinkAddr, streams, length) }},
			{&ours, func() (float64, error) {
				return p.rateDelayed(netfault.Ingress, func() (float64, error) { return p.send(p.sinkAddr, streams, length) })
			}},
			{&egress, func() (float64, error) {
				return p.rateDelayed(netfault.Egress, func() (float64, error) { return p.receive(p.sinkAddr, streams, length) })
			}},
			{&theirs, func() (float64, error) { return p.send(p.proxyAddr, streams, length) }},
		} {
			rate, err := m.run()
			if err != nil {
				return nil, err
			}
			*m.rates = append(*m.rates, rate)
		}
	}
	toxic := "toxiproxy " + gbits(median(theirs))
	return []line{
		{id: "direct, 8 streams", target: "report", got: gbits(median(direct)), n: rounds, spread: spread(direct), verdict: "reported"},
		ratio("nfqueue ingress 10ms, 8 streams", 2, median(ours), median(theirs), toxic, rounds, ours),
		ratio("nfqueue egress 10ms, 8 streams", 1, median(egress), median(theirs), toxic, rounds, egress),
	}, nil
}

func ratio(id string, target, got, peer float64, who string, n int, all []float64) line {
	l := line{
		id: id, target: fmt.Sprintf(">= %.0fx", target), got: fmt.Sprintf("%.1fx (%s)", got/peer, gbits(got)),
		peer: who, n: n, spread: spread(all), verdict: "met", ratio: true,
	}
	if got < target*peer {
		l.verdict = "MISSED"
	}
	return l
}

// addedDelay compares round trips with and without the delay by turns, so that
// what the observer itself waits for a processor is in both.
func addedDelay(p *path, turns, each int) ([]line, error) {
	if err := p.startEcho(); err != nil {
		return nil, err
	}
	var plain, late, stamped []time.Duration
	for range turns {
		trips, err := p.trips(each)
		if err != nil {
			return nil, err
		}
		plain = append(plain, trips...)
		m, err := p.delayed(netfault.Ingress, func() error {
			trips, err := p.trips(each)
			late = append(late, trips...)
			return err
		})
		if err != nil {
			return nil, err
		}
		stamped = append(stamped, m.P99-delay)
	}
	slices.Sort(plain)
	slices.Sort(late)
	n := len(late)
	var lines []line
	for _, q := range []struct {
		name  string
		at    int
		limit time.Duration
	}{{"p50", n / 2, 500 * time.Microsecond}, {"p99", n * 99 / 100, time.Millisecond}} {
		off := late[q.at] - plain[q.at] - delay
		l := line{
			id: "added delay off 10ms, " + q.name, target: "<= " + q.limit.String(), got: micros(off),
			n: n, spread: micros(late[0]-plain[0]-delay) + ".." + micros(late[n-1]-plain[n-1]-delay), verdict: "met",
		}
		if off.Abs() > q.limit {
			l.verdict = "MISSED"
		}
		lines = append(lines, l)
	}
	slices.Sort(stamped)
	return append(lines, line{
		id: "the same p99 by the kernel's stamps", target: "report", got: micros(stamped[turns/2]), n: n,
		spread: micros(stamped[0]) + ".." + micros(stamped[turns-1]), verdict: "reported",
	}), nil
}

func micros(d time.Duration) string { return d.Round(time.Microsecond).String() }

func median(v []float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[len(sorted)/2]
}

func spread(v []float64) string {
	return fmt.Sprintf("%s..%s", gbits(slices.MinFunc(v, cmp.Compare[float64])), gbits(slices.MaxFunc(v, cmp.Compare[float64])))
}

func gbits(rate float64) string { return fmt.Sprintf("%.2f Gbit/s", rate/1e9) }
