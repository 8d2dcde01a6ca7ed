// Command sampling measures how many http and tcp questions a second the
// sampler sustains over a thousand probes, how late they are asked, and whether
// memory grows with the length of the run. The service asked is a process of its own.
//
// It refuses to call anything met that was not asked on time and answered: an
// unknown or a bad sample is counted against the target.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime/metrics"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/probes"
	"github.com/faultline-sh/faultline/scheduler"
)

const (
	probesAsked = 1000
	every       = 100 * time.Millisecond
	target      = 10000 // samples a second: probesAsked / every
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("sampling: ")
	length := flag.Duration("for", 9*time.Second, "how long to ask")
	serving := flag.Bool("serve", false, "be the service that is asked, until stdin ends")
	flag.Parse()
	measure := func() error { return bench(*length) }
	if *serving {
		measure = serve
	}
	if err := measure(); err != nil {
		log.Fatal(err)
	}
}

// serve answers HTTP on a free port, which it prints.
func serve() error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	server := http.Server{
		ReadHeaderTimeout: time.Minute,
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") }),
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // its end is the message
		_ = server.Close()
	}()
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func bench(length time.Duration) (err error) {
	address, stop, err := startServer()
	if err != nil {
		return fmt.Errorf("start the service to ask: %w", err)
	}
	defer func() { err = errors.Join(err, stop()) }()
	world, err := platform.Open()
	if err != nil {
		return err
	}
	experiment, err := document(address)
	if err != nil {
		return err
	}
	prepared, err := scheduler.Prepare(world, experiment, probes.Table())
	if err != nil {
		return err
	}
	t := &tally{host: world.Host, length: length, began: world.Host.Boottime()}
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	scheduler.NewSampler(world.Host, prepared, t.add).Run(ctx)
	return errors.Join(t.print(os.Stdout), scheduler.CloseAll(prepared))
}

func startServer() (address string, stop func() error, err error) {
	self, err := os.Executable()
	if err != nil {
		return "", nil, err
	}
	cmd := exec.Command(self, "-serve")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return "", nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return "", nil, err
	}
	if err := cmd.Start(); err != nil {
		return "", nil, err
	}
	stop = func() error { return errors.Join(stdin.Close(), cmd.Wait()) }
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		return "", nil, errors.Join(err, stop())
	}
	return strings.TrimSpace(line), stop, nil
}

// document has as many http as tcp probes, all of the same service.
func document(address string) (experiments.Experiment, error) {
	var e experiments.Experiment
	kinds := []struct {
		kind     string
		settings map[string]string
	}{
		{"http", map[string]string{"url": "http://" + address + "/", "timeout": "1s"}},
		{"tcp", map[string]string{"address": address, "timeout": "1s"}},
	}
	for i := range probesAsked {
		k := kinds[i%len(kinds)]
		settings, err := json.Marshal(k.settings)
		if err != nil {
			return e, err
		}
		e.Probes = append(e.Probes, experiments.Probe{
			Name: fmt.Sprintf("%s %d", k.kind, i), Kind: k.kind, Every: experiments.Duration(every), Settings: settings,
		})
	}
	return e, nil
}

// bucket is how exact lateness is kept; what is later than all buckets is in the last one.
const bucket = 100 * time.Microsecond

// tally keeps counts only, so that what memory it takes does not depend on the run's length.
type tally struct {
	host   platform.Host
	length time.Duration
	began  experiments.Boottime

	n, good   int
	perSecond []int
	late      [20000]int
	worst     string // why a sample was not good
	memory    [2]uint64
}

func (t *tally) add(s experiments.Sample) {
	t.n++
	if s.Outcome == experiments.OutcomeGood {
		t.good++
	} else {
		t.worst = s.Why
	}
	second := int(s.Due.Sub(t.began) / time.Second)
	for len(t.perSecond) <= second {
		t.perSecond = append(t.perSecond, 0)
	}
	t.perSecond[second]++
	t.late[min(int(max(s.Late, 0)/bucket), len(t.late)-1)]++
	passed := t.host.Boottime().Sub(t.began)
	if t.memory[0] == 0 && passed > t.length/3 {
		t.memory[0] = mapped()
	}
	if t.memory[1] == 0 && passed > t.length-t.length/20 {
		t.memory[1] = mapped()
	}
}

// mapped is what the Go runtime holds of the system's memory.
func mapped() uint64 {
	sample := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64() - sample[1].Value.Uint64()
}

func (t *tally) lateAt(share float64) time.Duration {
	left := int(share * float64(t.n))
	for i, n := range t.late {
		if left -= n; left < 0 {
			return time.Duration(i+1) * bucket
		}
	}
	return time.Duration(len(t.late)) * bucket
}

var errGrows = errors.New("memory grows with the length of the run")

// print writes one row a figure: id, target, got, peer, n, spread, whether it was
// met. Only growing memory is an error, and only where the rate was met: on a
// machine that is too busy, waiting questions take memory too.
func (t *tally) print(w io.Writer) error {
	whole := t.perSecond[:max(1, min(len(t.perSecond), int(t.length/time.Second)))]
	least, most := whole[0], whole[0]
	for _, n := range whole {
		least, most = min(least, n), max(most, n)
	}
	rate := float64(t.good) / t.length.Seconds()
	sustained := rate >= target && t.good == t.n
	row(w, "sampling.rate", ">= 10000/s, all good", fmt.Sprintf("%.0f/s, %d not good", rate, t.n-t.good), t.n,
		fmt.Sprintf("%d..%d/s", least, most), sustained)
	row(w, "sampling.late", "p99 <= 10ms", fmt.Sprintf("p99 <= %s", t.lateAt(0.99)), t.n,
		fmt.Sprintf("p50 <= %s, p99.9 <= %s", t.lateAt(0.5), t.lateAt(0.999)), t.lateAt(0.99) <= 10*time.Millisecond)
	growth := float64(t.memory[1]) / float64(t.memory[0])
	row(w, "sampling.memory", "<= 1.2x of a third in", fmt.Sprintf("%.2fx", growth), 2,
		fmt.Sprintf("%.1f..%.1f MiB", float64(t.memory[0])/(1<<20), float64(t.memory[1])/(1<<20)), growth <= 1.2)
	if t.worst != "" {
		fmt.Fprintf(w, "# not good, for instance: %s\n", t.worst)
	}
	if sustained && growth > 1.2 {
		return errGrows
	}
	return nil
}

func row(w io.Writer, id, target, got string, n int, spread string, met bool) {
	verdict := map[bool]string{true: "met", false: "MISSED"}[met]
	fmt.Fprintf(w, "%s\t%s\t%s\tno peer\tn=%d\t%s\t%s\n", id, target, got, n, spread, verdict)
}
