//go:build linux

// Command crash measures how long it takes faultline to crash 17 containers
// that match a pattern, beside 17 calls of `docker kill`, one after the other,
// in the same run and on the same containers: from the start of the program to
// the moment when the init of every container is dead, as its pidfd says. The
// engine's own word (its "die" events) is the second figure.
//
// It refuses to judge by what either program says of itself.
package main

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"log"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

const (
	containers = 17
	atLeast    = 5.0 // times faster than the peer
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("crash: ")
	rounds := flag.Int("rounds", 5, "how often each is measured")
	binary := flag.String("faultline", "", "the binary to measure; built when left out")
	flag.Parse()
	var err error
	if flag.Arg(0) == "sleep" {
		<-time.NewTimer(math.MaxInt64).C // be what a container runs
	}
	if err = bench(*rounds, *binary); err != nil {
		log.Fatal(err)
	}
}

var errMissed = errors.New("a ratio was missed")

// taken is how long one attempt took, by the kernel and by the engine.
type taken struct{ dead, said time.Duration }

func bench(rounds int, binary string) (err error) {
	work, err := os.MkdirTemp("", "flbench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	if binary == "" {
		if binary, err = build(work); err != nil {
			return err
		}
	}
	f, err := newFleet(work)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.remove()) }()
	document := filepath.Join(work, "crash.yaml")
	if err := os.WriteFile(document, fmt.Appendf(nil, experiment, f.prefix, containers), 0o600); err != nil {
		return err
	}
	var ours, theirs []taken
	for range rounds { // by turns, so that what else the machine does hits both alike
		t, err := f.measure(func() error { return crash(binary, work, document) })
		if err != nil {
			return fmt.Errorf("measure faultline: %w", err)
		}
		ours = append(ours, t)
		if t, err = f.measure(f.killOneByOne); err != nil {
			return fmt.Errorf("measure docker kill: %w", err)
		}
		theirs = append(theirs, t)
	}
	return report(ours, theirs)
}

const experiment = `apiVersion: faultline/v1
kind: Experiment
name: crash-by-pattern
timeline: {before: 0s, during: 1s, after: 0s}
limits: {targets: %[2]d}
faults:
  - name: crash all
    at: 0s
    container.crash: {select: {regexp: "^%[1]s-[0-9]+$"}, pick: all}
`

// build makes the binary as a release is made, from the tree that this module replaces faultline by.
func build(work string) (string, error) {
	tree, err := output("go", "list", "-m", "-f", "{{.Dir}}", "github.com/faultline-sh/faultline")
	if err != nil {
		return "", err
	}
	path := filepath.Join(work, "faultline")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "./cmd/faultline")
	cmd.Dir, cmd.Stderr = tree, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build faultline: %w", err)
	}
	return path, nil
}

// crash runs faultline. Without a baseline its verdict is inconclusive (3) at best.
func crash(binary, work, document string) error {
	cmd := exec.Command(binary, "run", "--no-input", document)
	cmd.Env = append(os.Environ(), "FAULTLINE_HOME="+filepath.Join(work, "home"))
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err == nil || errors.As(err, &exit) && exit.ExitCode() == 3 {
		return nil
	}
	return fmt.Errorf("faultline run: %w\n%s", err, out)
}

// measure starts all containers, and does what kills them.
func (f *fleet) measure(do func() error) (t taken, err error) {
	if err := f.start(); err != nil {
		return t, err
	}
	watch, err := f.watch()
	if err != nil {
		return t, err
	}
	done := make(chan error, 1)
	began := time.Now()
	go func() { done <- do() }()
	dead, err := watch.allDead()
	if err != nil {
		return t, errors.Join(err, <-done)
	}
	said, err := watch.allSaid()
	return taken{dead.Sub(began), said.Sub(began)}, errors.Join(err, <-done)
}

func (f *fleet) killOneByOne() error {
	for _, name := range f.names {
		if _, err := output("docker", "kill", name); err != nil {
			return err
		}
	}
	return nil
}

func report(ours, theirs []taken) error {
	version, err := output("docker", "version", "--format", "docker {{.Client.Version}}, engine {{.Server.Version}}")
	if err != nil {
		return err
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "id\ttarget\tgot\tpeer\tn\tspread\tverdict")
	missed := false
	for _, row := range []struct {
		id    string
		of    func(taken) time.Duration
		ratio bool
	}{
		{fmt.Sprintf("crash %d containers, until every init is dead", containers), func(t taken) time.Duration { return t.dead }, true},
		{fmt.Sprintf("crash %d containers, until the engine has said so", containers), func(t taken) time.Duration { return t.said }, false},
	} {
		a, b := median(ours, row.of), median(theirs, row.of)
		ratio := float64(b) / float64(a)
		target, verdict := "report", "reported"
		if row.ratio {
			target, verdict = fmt.Sprintf(">= %.0fx", atLeast), "met"
			if ratio < atLeast {
				verdict, missed = "MISSED", true
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%.1fx (%s)\t%s: %s\t%d\t%s\t%s\n", row.id, target, ratio, millis(a), version, millis(b), len(ours), spread(ours, row.of), verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if missed {
		return errMissed
	}
	return nil
}

func median(all []taken, of func(taken) time.Duration) time.Duration {
	sorted := slices.SortedFunc(slices.Values(all), func(a, b taken) int { return cmp.Compare(of(a), of(b)) })
	return of(sorted[len(sorted)/2])
}

func spread(all []taken, of func(taken) time.Duration) string {
	compare := func(a, b taken) int { return cmp.Compare(of(a), of(b)) }
	return millis(of(slices.MinFunc(all, compare))) + ".." + millis(of(slices.MaxFunc(all, compare)))
}

func millis(d time.Duration) string { return d.Round(time.Millisecond).String() }

func output(name string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.Command(name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimSpace(string(out)), nil
}

// lines reads whole lines until its reader ends.
func lines(scanner *bufio.Scanner, each chan<- string) {
	defer close(each)
	for scanner.Scan() {
		each <- scanner.Text()
	}
}
