// Command report measures what a long run costs: a million samples recorded,
// folded and rendered to all five formats, each time in a new process, so that
// its peak memory is that of this work alone.
//
// It refuses to call anything met that was not wholly reported: the report must
// know of every sample and of the one bad second.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

const (
	samples  = 1_000_000
	most     = 5 * time.Second
	mostSize = 300 << 20
	limit    = 2 * time.Minute
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("report: ")
	n := flag.Int("n", 5, "how often")
	worker := flag.Bool("worker", false, "do the work once in this process, and print what it took")
	flag.Parse()
	work := func() error { return bench(*n) }
	if *worker {
		work = once
	}
	if err := work(); err != nil {
		log.Fatal(err)
	}
}

// took is what one process needed.
type took struct {
	Record, Report time.Duration
	Peak           int64
}

func bench(n int) error {
	for _, probes := range []int{1, 1000} {
		var runs []took
		for range n {
			t, err := apart(probes)
			if err != nil {
				return err
			}
			runs = append(runs, t)
		}
		print(os.Stdout, probes, runs)
	}
	return nil
}

// apart does the work in a process of its own.
func apart(probes int) (took, error) {
	self, err := os.Executable()
	if err != nil {
		return took{}, fmt.Errorf("find this program: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, self, "-worker")
	c.Env = append(os.Environ(), fmt.Sprintf("PROBES=%d", probes))
	c.Stderr = os.Stderr
	text, err := c.Output()
	if err != nil {
		return took{}, fmt.Errorf("report %d samples: %w", samples, err)
	}
	var t took
	if err := json.Unmarshal(text, &t); err != nil {
		return took{}, fmt.Errorf("read what it took: %w", err)
	}
	t.Peak = peak(c.ProcessState)
	return t, nil
}

func print(w io.Writer, probes int, runs []took) {
	var times []time.Duration
	var sizes []int64
	for _, r := range runs {
		times, sizes = append(times, r.Record+r.Report), append(sizes, r.Peak)
	}
	slices.Sort(times)
	slices.Sort(sizes)
	id := fmt.Sprintf("report.million-samples.%d-probes", probes)
	last := len(runs) - 1
	row(w, id+".time", "< "+most.String(), times[last/2].Round(time.Millisecond).String(), len(runs),
		times[0].Round(time.Millisecond).String()+" to "+times[last].Round(time.Millisecond).String(), times[last] < most)
	if sizes[last] == 0 {
		fmt.Fprintf(w, "%s\t< 300 MiB\tnot measured on this system\tno peer\tn=%d\t\t\n", id+".memory", len(runs))
		return
	}
	row(w, id+".memory", "< 300 MiB", mebibytes(sizes[last/2]), len(runs), mebibytes(sizes[0])+" to "+mebibytes(sizes[last]), sizes[last] < mostSize)
}

func row(w io.Writer, id, target, got string, n int, spread string, met bool) {
	verdict := map[bool]string{true: "met", false: "MISSED"}[met]
	fmt.Fprintf(w, "%s\t%s\t%s\tno peer\tn=%d\t%s\t%s\n", id, target, got, n, spread, verdict)
}

func mebibytes(n int64) string { return fmt.Sprintf("%.0f MiB", float64(n)/(1<<20)) }

// once records, folds and renders, and checks that nothing was lost on the way.
func once() error {
	var probes int
	if _, err := fmt.Sscan(os.Getenv("PROBES"), &probes); err != nil || probes < 1 {
		return errors.New("PROBES must say how many probes there are")
	}
	dir, err := os.MkdirTemp("", "faultline-bench-report-")
	if err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	defer os.RemoveAll(dir)
	events, every := plan(probes)
	path := filepath.Join(dir, "samples")
	began := time.Now()
	bad, err := record(path, events, probes, every)
	if err != nil {
		return err
	}
	recorded := time.Now()
	if err := report(events, path, bad); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(took{Record: recorded.Sub(began), Report: time.Since(recorded)})
}

// plan is a canned run with as many probes as asked, each asked as often as gives a million samples in its minute.
func plan(probes int) ([]experiments.Event, time.Duration) {
	run, _ := canned.Find("failed")
	header := *run.Events[0].Header
	experiment := header.Plan.Experiment
	first := experiment.Probes[0]
	first.Every = experiments.Duration(time.Minute * time.Duration(probes) / samples)
	experiment.Probes = nil
	for n := range probes {
		p := first
		p.Name = fmt.Sprintf("probe %d", n)
		experiment.Probes = append(experiment.Probes, p)
	}
	header.Plan.Experiment = experiment
	events := slices.Clone(run.Events)
	events[0].Header = &header
	return events, first.Every.Std()
}

// record writes the samples; one second of During is bad, and every 97th answer is slow.
func record(path string, events []experiments.Event, probes int, every time.Duration) (bad uint64, err error) {
	w, err := journal.NewSampleWriter(path)
	if err != nil {
		return 0, err
	}
	for n := range samples {
		due := time.Duration(n/probes) * every
		s := experiments.Sample{
			Probe: n % probes, Due: events[0].Boot.Add(due), Late: 40 * time.Microsecond,
			Took: time.Duration(900+n%3000) * time.Microsecond, Outcome: experiments.OutcomeGood,
		}
		if n%97 == 0 {
			s.Took *= 40
		}
		if due >= 12*time.Second && due < 13*time.Second {
			s.Outcome, s.Why = experiments.OutcomeBad, fmt.Sprintf("connection refused by replica %d", n%7)
			bad++
		}
		if err := w.Add(s); err != nil {
			return bad, errors.Join(err, w.Close())
		}
	}
	return bad, w.Close()
}

func report(events []experiments.Event, path string, bad uint64) error {
	s, err := reports.Fold(events, journal.ReadSamples(path))
	if err != nil {
		return err
	}
	var all, foundBad uint64
	for _, p := range s.Probes {
		all += p.Before.Samples + p.During.Samples + p.After.Samples
		foundBad += p.During.Bad
	}
	if all != samples || foundBad != bad {
		return fmt.Errorf("the report knows of %d samples and %d bad ones, and there were %d and %d", all, foundBad, samples, bad)
	}
	for _, f := range reports.Formats() {
		var out bytes.Buffer
		if err := f.Render(&out, s); err != nil {
			return err
		}
		if f.Name == "html" && out.Len() > 2<<20 {
			return fmt.Errorf("the page has %d bytes, more than 2 MiB", out.Len())
		}
	}
	return nil
}
