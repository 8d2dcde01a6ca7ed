//go:build unix

// Command start measures how long `faultline version` takes as a whole process,
// and its memory. It refuses to judge: absolute figures are the machine's too.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

const (
	mostTime   = 15 * time.Millisecond
	mostMemory = 35 // MiB
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("start: ")
	runs := flag.Int("n", 21, "how often it is started")
	exe := flag.String("exe", "bin/faultline", "the binary")
	flag.Parse()
	if err := bench(*exe, *runs); err != nil {
		log.Fatal(err)
	}
}

func bench(exe string, runs int) error {
	var times []time.Duration
	var memory []int64
	for i := range runs + 1 {
		cmd := exec.Command(exe, "version")
		began := time.Now()
		if err := cmd.Run(); err != nil {
			return fmt.Errorf("run %s version: %w: `make build` makes it", exe, err)
		}
		took := time.Since(began)
		usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
		if !ok {
			return fmt.Errorf("read what %s used: this system does not say", exe)
		}
		if i > 0 { // the first one warms the page cache
			times, memory = append(times, took), append(memory, int64(usage.Maxrss)/unit())
		}
	}
	slices.Sort(times)
	slices.Sort(memory)
	mid := len(times) / 2
	fmt.Fprintf(os.Stdout, "start.time    at most %s   got %s   n %d   spread %s to %s   %s (reported only)\n", mostTime, times[mid], runs, times[0], times[len(times)-1], met(times[mid] <= mostTime))
	fmt.Fprintf(os.Stdout, "start.memory  at most %d MiB   got %d MiB   n %d   spread %d to %d MiB   %s (reported only)\n", mostMemory, memory[mid], runs, memory[0], memory[len(memory)-1], met(memory[mid] <= mostMemory))
	return nil
}

// unit: Linux gives kilobytes, macOS bytes; getrusage(2).
func unit() int64 {
	if runtime.GOOS == "darwin" {
		return 1 << 20
	}
	return 1 << 10
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}
