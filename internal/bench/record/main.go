// Command record measures what writing down costs: fault events flushed one by
// one, beside the same bytes written and flushed with nothing in between, and a
// million samples kept and read back.
//
// It refuses to count what was not read back.
package main

import (
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
)

const (
	events  = 500
	samples = 1_000_000
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("record: ")
	n := flag.Int("n", 5, "how often")
	dir := flag.String("dir", ".", "on which disk; a scratch folder is made there")
	flag.Parse()
	if err := bench(*dir, *n); err != nil {
		log.Fatal(err)
	}
}

func bench(dir string, n int) (err error) {
	scratch, err := os.MkdirTemp(dir, ".faultline-bench-record-")
	if err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(scratch)) }()
	var ours, bare, kept []time.Duration
	for range n { // by turns, so that what else the disk does hits both alike
		home, err := os.MkdirTemp(scratch, "home-")
		if err != nil {
			return err
		}
		run, took, err := journalled(home)
		if err != nil {
			return fmt.Errorf("write events: %w", err)
		}
		ours = append(ours, took/events)
		if took, err = byHand(filepath.Join(home, "bare"), run); err != nil {
			return fmt.Errorf("write the same bytes by hand: %w", err)
		}
		bare = append(bare, took/events)
		if took, err = sampled(run); err != nil {
			return fmt.Errorf("keep samples: %w", err)
		}
		kept = append(kept, took)
	}
	row("record.fault-event.flushed", ours, "write and fsync by hand: "+median(bare).String())
	row("record.million-samples.kept-and-read", kept, "no peer")
	return nil
}

func row(id string, took []time.Duration, peer string) {
	fmt.Printf("%s\treport\t%s\t%s\tn=%d\t%s to %s\treported\n", id, median(took), peer, len(took), slices.Min(took), slices.Max(took))
}

func median(took []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(took))[len(took)/2].Round(time.Microsecond)
}

// clock is this machine's; a run's length is of no matter here.
type clock struct{ began time.Time }

func (c clock) Now() time.Time                 { return time.Now() }
func (c clock) Boottime() experiments.Boottime { return experiments.Boottime(time.Since(c.began)) }

// journalled writes events as a holder does.
func journalled(dir string) (run journal.Run, took time.Duration, err error) {
	home, err := journal.OpenHome(func(key string) string {
		return map[string]string{journal.EnvHome: filepath.Join(dir, "state"), journal.EnvShared: filepath.Join(dir, "shared")}[key]
	})
	if err != nil {
		return run, 0, err
	}
	if run, err = home.Create(journal.NewID(time.Now(), 0)); err != nil {
		return run, 0, err
	}
	lock, err := run.TryLock()
	if err != nil {
		return run, 0, err
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	w, err := lock.Writer(clock{time.Now()})
	if err != nil {
		return run, 0, err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	if err := w.Reserve(1 << 20); err != nil {
		return run, 0, err
	}
	began := time.Now()
	for n := range events {
		e := experiments.Event{Type: experiments.EventUndone, Fault: 1, Target: fmt.Sprintf("1.%d", n+1), By: "holder"}
		if _, err := w.Append(e); err != nil {
			return run, 0, err
		}
	}
	return run, time.Since(began), nil
}

// byHand writes the same lines, each with a flush, and nothing else.
func byHand(path string, run journal.Run) (took time.Duration, err error) {
	record, err := run.Read()
	if err != nil {
		return 0, err
	}
	if len(record.Lines) != events {
		return 0, fmt.Errorf("%d of %d events can be read back", len(record.Lines), events)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	began := time.Now()
	for _, line := range record.Lines {
		if _, err := f.Write(append(line, '\n')); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}

// sampled keeps a million samples and reads them back.
func sampled(run journal.Run) (took time.Duration, err error) {
	began := time.Now()
	w, err := journal.NewSampleWriter(run.Samples())
	if err != nil {
		return 0, err
	}
	for n := range samples {
		if err := w.Add(sample(n)); err != nil {
			return 0, errors.Join(err, w.Close())
		}
	}
	if err := w.Close(); err != nil {
		return 0, err
	}
	read := 0
	for s, err := range journal.ReadSamples(run.Samples()) {
		if err != nil {
			return 0, err
		}
		if s != sample(read) {
			return 0, fmt.Errorf("sample %d came back as %+v", read, s)
		}
		read++
	}
	if read != samples {
		return 0, fmt.Errorf("%d of %d samples came back", read, samples)
	}
	return time.Since(began), nil
}

// sample is one of a thousand probes' answers; every tenth is bad.
func sample(n int) experiments.Sample {
	s := experiments.Sample{
		Probe: n % 1000, Due: experiments.Boottime(n) * 100_000, Late: time.Duration(n%7) * time.Microsecond,
		Took: time.Duration(200_000 + n%5000), Outcome: experiments.OutcomeGood,
	}
	if n%10 == 0 {
		s.Outcome, s.Why = experiments.OutcomeBad, "status 503"
	}
	return s
}
