package probes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/selector"
	"github.com/faultline-sh/faultline/internal/platform/twin"
	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestProcessCountsWhoIsAlive(t *testing.T) {
	host := twin.NewHost()
	table := twin.NewProcesses(host)
	w := &platform.World{Host: host, Processes: table}
	p := openIn(t, w, "process", map[string]any{"select": map[string]any{"exe": "worker"}})
	expect := func(alive bool, count int64) {
		t.Helper()
		if r, err := p.Look(t.Context()); err != nil || r["alive"] != alive || r["count"] != count {
			t.Errorf("read %v, %v; want alive %v, count %d", r, err, alive, count)
		}
	}
	expect(false, 0)
	first := table.Start(platform.Process{Exe: "/usr/bin/worker"})
	second := table.Start(platform.Process{Exe: "/usr/bin/worker"})
	table.Start(platform.Process{Exe: "/usr/bin/other", Args: []string{"other", "worker"}})
	expect(true, 2)
	table.SetAncestors(second.PID)
	expect(true, 1)
	table.End(first.PID)
	expect(false, 0)
}

func TestProcessKeysMayStandBesideSelect(t *testing.T) {
	host := twin.NewHost()
	table := twin.NewProcesses(host)
	table.Start(platform.Process{Exe: "/usr/bin/worker"})
	p := openIn(t, &platform.World{Host: host, Processes: table}, "process", map[string]any{"exe": "worker"})
	if r, err := p.Look(t.Context()); err != nil || r["count"] != int64(1) {
		t.Errorf("read %v, %v", r, err)
	}
	both := Process{Select: &selector.Process{Exe: "a"}, Process: selector.Process{User: "b"}, Timeout: 1}
	if problems := both.Check(); len(problems) != 1 || problems[0].Field != "select" {
		t.Errorf("found %v, want one problem of select", problems)
	}
}

func TestH70_AProcessThatCannotBeToldApartIsNoReading(t *testing.T) {
	host := twin.NewHost()
	table := twin.NewProcesses(host)
	table.Start(platform.Process{Unread: []string{"exe"}})
	p := openIn(t, &platform.World{Host: host, Processes: table}, "process", map[string]any{"select": map[string]any{"exe": "worker"}})
	if r, err := p.Look(t.Context()); !errors.Is(err, platform.ErrDenied) {
		t.Errorf("read %v, %v", r, err)
	}
	table.Start(platform.Process{Exe: "/usr/bin/worker"})
	if r, err := p.Look(t.Context()); err != nil || r["alive"] != true {
		t.Errorf("read %v, %v", r, err)
	}
}

func TestProcessSelectIsChecked(t *testing.T) {
	for name, s := range map[string]Process{
		"select":     {Timeout: 1, Select: &selector.Process{}},
		"":           {Timeout: 1},
		"select.exe": {Timeout: 1, Select: &selector.Process{Exe: "a b"}},
		"port":       {Timeout: 1, Process: selector.Process{Port: 70000}},
		"timeout":    {Process: selector.Process{Port: 7000}},
	} {
		if problems := s.Check(); len(problems) != 1 || problems[0].Field != name {
			t.Errorf("found %v, want one problem of %q", problems, name)
		}
	}
}

func TestProcessSeesARealServerComeAndGo(t *testing.T) {
	testenv.Require(t, "pidfd")
	w, err := platform.Open()
	if err != nil {
		t.Fatal(err)
	}
	server := testenv.Process(t, "-http", "127.0.0.1:0")
	pidfile := filepath.Join(t.TempDir(), "server.pid")
	if err := os.WriteFile(pidfile, []byte(strconv.Itoa(server.PID)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	probes := []Probe{
		openIn(t, w, "process", map[string]any{"select": map[string]any{"exe": server.Exe}}),
		openIn(t, w, "process", map[string]any{"select": map[string]any{"pidfile": pidfile}}),
		openIn(t, w, "process", map[string]any{"select": map[string]any{"pid": server.PID, "arg": "-http"}}),
	}
	expect := func(alive bool, count int64) {
		t.Helper()
		for i, p := range probes {
			if r, err := p.Look(context.WithoutCancel(t.Context())); err != nil || r["alive"] != alive || r["count"] != count {
				t.Errorf("probe %d read %v, %v; want alive %v, count %d", i, r, err, alive, count)
			}
		}
	}
	expect(true, 1)
	server.Kill()
	expect(false, 0)
}

var _ experiments.Checker = Process{}
