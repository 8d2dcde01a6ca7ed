package crash_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/faultline-sh/faultline/internal/testenv"
)

var kinds = map[string]kind{
	"process.pause by ptrace":  {target: pausedProcess, changes: 2, without: -1},
	"process.pause by SIGSTOP": {target: pausedProcess, changes: 2, without: unix.CAP_SYS_PTRACE},
	"process.kill":             {target: killedProcess, fresh: true, changes: 1, without: -1},
	"exec":                     {target: marker, changes: 2, without: -1},
	"container.stop":           {needs: []string{"docker"}, target: container("container.stop"), changes: 2, without: -1},
	"container.pause":          {needs: []string{"docker"}, target: container("container.pause"), changes: 2, without: -1},
	"network.latency":          {needs: []string{"netns"}, target: slowNamespace, changes: 2, without: -1},
}

// Whatever is killed wherever, undo leaves the world as it was.
func TestH3_CrashAnywhereLeavesNothing(t *testing.T) {
	for name, k := range kinds {
		for _, s := range subjects {
			t.Run(name+"/"+s.name, func(t *testing.T) { sweep(t, k, s) })
		}
	}
}

// What only the journal can heal, with the undo itself killed on the way.
func TestH3_CrashDuringUndoLeavesNothing(t *testing.T) {
	for _, name := range []string{"process.pause by SIGSTOP", "container.stop", "container.pause", "exec"} {
		t.Run(name, func(t *testing.T) { sweepUndo(t, kinds[name]) })
	}
}

// The sweeps prove something only if what they compare changes while a fault is on.
func TestTheWorldIsSeenToBreak(t *testing.T) {
	for name, k := range kinds {
		if k.fresh {
			continue // what is broken stays broken: its target is not compared
		}
		t.Run(name, func(t *testing.T) {
			testenv.Require(t, append([]string{"strace", "root"}, k.needs...)...)
			w := newWorker(t, k.lasting())
			a, file := w.prepare()
			before := w.state()
			o := a.order(file)
			o.Subject, o.Match, o.Kill = "holder", "write journal.jsonl", firstConfirm // and nobody dies
			seen, err := o.run(w.tracer, func() {
				testenv.Eventually(t, 4*time.Second, "the target's state changes from "+before, func() bool { return w.state() != before })
			})
			if err != nil || !seen.Killed {
				t.Fatalf("%v\n%s", err, seen.Output)
			}
			if problems := a.residue(before); len(problems) > 0 {
				t.Errorf("after a whole run: %v", problems)
			}
		})
	}
}

func pausedProcess(t *testing.T) (string, func() string) {
	p := testenv.Process(t, "-tcp", "127.0.0.1:0")
	return fmt.Sprintf("  - {name: pause, for: 150ms, process.pause: {select: {pid: %d}}}\n", p.PID), func() string { return threads(p.PID) }
}

// threads gives the state and the tracer of each thread, those of one that runs and one that sleeps alike.
func threads(pid int) string {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return fmt.Sprintf("no threads: %v", err)
	}
	stopped, traced := 0, 0
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(status)) {
			key, value, _ := strings.Cut(strings.TrimSpace(line), ":\t")
			switch {
			case key == "State" && strings.ContainsAny(value[:1], "tT"):
				stopped++
			case key == "TracerPid" && value != "0":
				traced++
			}
		}
	}
	return fmt.Sprintf("%d threads stopped, %d traced", stopped, traced)
}

// killedProcess may be dead or alive afterwards: that is the fault. Nothing else may be left.
func killedProcess(t *testing.T) (string, func() string) {
	p := testenv.Process(t, "-tcp", "127.0.0.1:0")
	return fmt.Sprintf("  - {name: kill, process.kill: {select: {pid: %d}}}\n", p.PID), func() string { return "" }
}

func marker(t *testing.T) (string, func() string) {
	path := filepath.Join(t.TempDir(), "broken")
	document := fmt.Sprintf("  - {name: mark, for: 150ms, exec: {inject: [touch, %[1]s], confirm: [test, -e, %[1]s], undo: [rm, -f, %[1]s]}}\n", path)
	return document, func() string {
		_, err := os.Lstat(path)
		return fmt.Sprintf("marked: %v", err == nil)
	}
}

func container(fault string) func(t *testing.T) (string, func() string) {
	return func(t *testing.T) (string, func() string) {
		box := testenv.Container(t)
		return fmt.Sprintf("  - {name: break, for: 150ms, %s: {select: {id: %s}}}\n", fault, box.ID), func() string {
			return box.Inspect("{{.State.Status}} {{.State.Paused}} {{.HostConfig.RestartPolicy.Name}} {{json .Config.Labels}} {{json .HostConfig.Memory}}")
		}
	}
}

func slowNamespace(t *testing.T) (string, func() string) {
	ns := testenv.Netns(t)
	document := fmt.Sprintf("  - {name: slow, for: 150ms, allow: [all-traffic], network.latency: {select: {netns: %s}, delay: 5ms, direction: both}}\n", ns.Name)
	return document, func() string {
		var text strings.Builder
		for _, command := range [][]string{
			{"nft", "list", "ruleset"}, {"tc", "qdisc", "show"}, {"ip", "-o", "link"}, {"ip", "rule"},
			{"cat", "/proc/self/net/netfilter/nfnetlink_queue"}, {"cat", "/proc/self/net/ip_tables_names"},
		} {
			text.WriteString(inside(ns.Command(command[0], command[1:]...)))
		}
		return text.String()
	}
}

func inside(cmd *exec.Cmd) string {
	out, err := cmd.Output() // without warnings: they come and go with other namespaces of the host
	return fmt.Sprintf("%s (%v):\n%s", strings.Join(cmd.Args[4:], " "), err, out)
}
