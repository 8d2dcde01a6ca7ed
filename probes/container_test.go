package probes

import (
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/twin"
	"github.com/faultline-sh/faultline/internal/testenv"
)

func TestContainerShowsTheWorstOfThoseThatAreMeant(t *testing.T) {
	host := twin.NewHost()
	engine := twin.NewEngine(host, twin.NewProcesses(host))
	p := openIn(t, &platform.World{Host: host, Engine: engine}, "container", map[string]any{"select": map[string]any{"compose": map[string]any{"service": "web"}}})
	expect := func(want string) {
		t.Helper()
		r, err := p.Look(t.Context())
		if got := fmt.Sprint(r["state"], " ", r["health"], " ", r["restarts"], " ", r["count"]); err != nil || got != want {
			t.Errorf("read %s, %v; want %s", got, err, want)
		}
	}
	expect("absent none 0 0")
	web := platform.Container{Project: "shop", Service: "web"}
	first := engine.Add(web)
	expect("running none 0 1")
	web.Health, web.RestartCount = "healthy", 2
	second := engine.Add(web)
	expect("running healthy 2 2")
	engine.SetHealth(second.ID, "unhealthy")
	expect("running unhealthy 2 2")
	if err := engine.Pause(t.Context(), first.ID); err != nil {
		t.Fatal(err)
	}
	expect("paused unhealthy 2 1")
	engine.Add(platform.Container{Project: "shop", Service: "web", OneOff: true, State: "exited"})
	engine.Add(platform.Container{Project: "shop", Service: "db", State: "exited"})
	expect("paused unhealthy 2 1")
	engine.SetDown(true)
	if r, err := p.Look(t.Context()); err == nil {
		t.Errorf("without an engine it read %v", r)
	}
}

func TestContainerFollowsARealOne(t *testing.T) {
	testenv.Require(t, "docker")
	w, err := platform.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Engine.(io.Closer).Close(); err != nil {
			t.Error(err)
		}
	})
	box := testenv.Container(t, testenv.Health(), testenv.Engine("--network", "none"))
	p := openIn(t, w, "container", map[string]any{"name": box.Name, "timeout": "10s"})
	expect := func(state, health string) {
		t.Helper()
		testenv.Eventually(t, 30*time.Second, "the probe sees "+state+" and "+health, func() bool {
			r, err := p.Look(t.Context())
			if err != nil {
				t.Fatalf("look: %v", err)
			}
			return r["state"] == state && (health == "" || r["health"] == health)
		})
	}
	expect("running", "healthy")
	if err := w.Engine.Pause(t.Context(), box.ID); err != nil {
		t.Fatal(err)
	}
	expect("paused", "") // engines differ in what they say of its health then
	if err := w.Engine.Unpause(t.Context(), box.ID); err != nil {
		t.Fatal(err)
	}
	if err := w.Engine.Stop(t.Context(), box.ID, 0, ""); err != nil {
		t.Fatal(err)
	}
	expect("exited", "")
	if err := w.Engine.Remove(t.Context(), box.ID, true); err != nil {
		t.Fatal(err)
	}
	expect("absent", "none")
}

func TestH70_AnEngineThatDoesNotAnswerIsNoReading(t *testing.T) {
	w := &platform.World{Engine: platform.NewDockerAt("unix://"+t.TempDir()+"/none.sock", nil)}
	if r, err := openIn(t, w, "container", map[string]any{"name": "web"}).Look(t.Context()); err == nil {
		t.Errorf("read %v", r)
	}
}
