package injectors

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
	"github.com/faultline-sh/faultline/internal/platform/twin"
)

// A scene is a world in memory, with the parts that a test changes by hand.
type scene struct {
	World
	host      *twin.Host
	processes *twin.Processes
	engine    *twin.Engine
}

func newScene(containers ...platform.Container) scene {
	host := twin.NewHost()
	processes := twin.NewProcesses(host)
	engine := twin.NewEngine(host, processes)
	for _, c := range containers {
		engine.Add(c)
	}
	return scene{&platform.World{Host: host, Processes: processes, Engine: engine}, host, processes, engine}
}

// named gives a container by its name.
func (s scene) named(t *testing.T, name string) platform.Container {
	t.Helper()
	all, err := s.engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range all {
		if c.Name == name {
			full, err := s.engine.Inspect(t.Context(), c.ID)
			if err != nil {
				t.Fatal(err)
			}
			return full
		}
	}
	t.Fatalf("there is no container %s", name)
	return platform.Container{}
}

func compose(name, project, service string) platform.Container {
	return platform.Container{Name: name, Project: project, Service: service}
}

func TestContainerSelect(t *testing.T) {
	s := newScene(
		platform.Container{Name: "web-1", ID: "aaaaaa11" + strings.Repeat("0", 56), Image: "nginx:1.25", Labels: map[string]string{"app": "web", "tier": "front"}},
		platform.Container{Name: "web-2", ID: "aaaaaa22" + strings.Repeat("0", 56), Image: "nginx:1.25@sha256:" + strings.Repeat("a", 64), Labels: map[string]string{"app": "web"}},
		platform.Container{Name: "db", ID: "bbbbbb33" + strings.Repeat("0", 56), Image: "registry.example:5000/postgres", Project: "shop", Service: "db"},
		platform.Container{Name: "cache", Image: "redis", Labels: map[string]string{"app": ""}, Project: "shop", Service: "cache"},
	)
	for _, row := range []struct {
		name string
		sel  ContainerSelect
		want []string
	}{
		{"an exact name", ContainerSelect{Name: "web-1"}, []string{"web-1"}},
		{"a name is not a beginning of one", ContainerSelect{Name: "web"}, nil},
		{"the beginning of an ID", ContainerSelect{ID: "bbbbbb"}, []string{"db"}},
		{"a label", ContainerSelect{Labels: map[string]string{"app": "web"}}, []string{"web-1", "web-2"}},
		{"two labels are ANDed", ContainerSelect{Labels: map[string]string{"app": "web", "tier": "front"}}, []string{"web-1"}},
		{"a label without a value is not a label that is missing", ContainerSelect{Labels: map[string]string{"app": ""}}, []string{"cache"}},
		{"an image with its tag", ContainerSelect{Image: "nginx:1.25"}, []string{"web-1"}},
		{"an image without its tag", ContainerSelect{Image: "nginx"}, []string{"web-1", "web-2"}},
		{"a registry's port is not a tag", ContainerSelect{Image: "registry.example:5000/postgres"}, []string{"db"}},
		{"a compose project", ContainerSelect{Compose: &ComposeSelect{Project: "shop"}}, []string{"cache", "db"}},
		{"a compose service", ContainerSelect{Compose: &ComposeSelect{Project: "shop", Service: "db"}}, []string{"db"}},
		{"a service of any project", ContainerSelect{Compose: &ComposeSelect{Service: "cache"}}, []string{"cache"}},
		{"a regular expression on the name", ContainerSelect{Regexp: "^web-[0-9]$"}, []string{"web-1", "web-2"}},
		{"different keys are ANDed", ContainerSelect{Regexp: "web", Image: "redis"}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			choice, err := row.sel.Choose(t.Context(), s.World, experiments.Pick{All: true})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range choice.Matched {
				got = append(got, c.Name)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("matched %v, want %v", got, row.want)
			}
		})
	}
	if _, err := (ContainerSelect{ID: "aaaaaa"}).Choose(t.Context(), s.World, experiments.Pick{}); !errors.Is(err, ErrRefused) {
		t.Errorf("an ID that two containers begin with: %v, want it refused", err)
	}
}

func TestContainerSelectCheck(t *testing.T) {
	for _, row := range []struct {
		name string
		spec ContainerCrashSpec
		want []string
	}{
		{"an exact name needs no pick", ContainerCrashSpec{Select: ContainerSelect{Name: "db"}}, nil},
		{"an ID needs no pick", ContainerCrashSpec{Select: ContainerSelect{ID: "abcdef"}}, nil},
		{"labels need a pick", ContainerCrashSpec{Select: ContainerSelect{Labels: map[string]string{"a": "b"}}}, []string{"pick"}},
		{"no key is no selector", ContainerCrashSpec{Pick: experiments.Pick{Count: 1}}, []string{"select"}},
		{"a short ID", ContainerCrashSpec{Select: ContainerSelect{ID: "abc"}}, []string{"select.id"}},
		{"an ID in capitals", ContainerCrashSpec{Select: ContainerSelect{ID: "ABCDEF"}}, []string{"select.id"}},
		{"compose without anything", ContainerCrashSpec{Select: ContainerSelect{Compose: &ComposeSelect{}}, Pick: experiments.Pick{All: true}}, []string{"select.compose"}},
		{"a regular expression that is none", ContainerCrashSpec{Select: ContainerSelect{Regexp: "("}, Pick: experiments.Pick{All: true}}, []string{"select.regexp"}},
		{"every problem at once", ContainerCrashSpec{Select: ContainerSelect{Regexp: "(", Name: "/db", ID: "x"}}, []string{"select.name", "select.id", "select.regexp"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var got []string
			for _, p := range row.spec.Check() {
				got = append(got, p.Field)
			}
			if !slices.Equal(got, row.want) {
				t.Errorf("problems with %v, want %v", got, row.want)
			}
		})
	}
}

func TestH17_OnlyWhatRunsIsATarget(t *testing.T) {
	s := newScene(platform.Container{Name: "x-up"}, platform.Container{Name: "x-self", Self: true},
		platform.Container{Name: "x-pod", Labels: map[string]string{podSandbox: "podsandbox"}})
	for _, state := range []string{"created", "restarting", "removing", "paused", "exited", "dead"} {
		s.engine.Add(platform.Container{Name: "x-" + state, State: state})
	}
	choice, err := ContainerSelect{Regexp: "^x-"}.Choose(t.Context(), s.World, experiments.Pick{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(choice.Matched) != 1 || choice.Matched[0].Name != "x-up" {
		t.Errorf("matched %v, want x-up alone", choice.Matched)
	}
	if len(choice.Skipped) != 8 {
		t.Fatalf("skipped %d, want 8: %v", len(choice.Skipped), choice.Skipped)
	}
	for _, skipped := range choice.Skipped {
		state := strings.TrimPrefix(skipped.Name, "x-")
		if want := map[string]string{"self": "faultline itself", "pod": "part of the engine"}[state]; !strings.Contains(skipped.Why, want) || (want == "" && !strings.Contains(skipped.Why, state)) {
			t.Errorf("%s is skipped because %q", skipped.Name, skipped.Why)
		}
	}
}

func TestReplicaGroups(t *testing.T) {
	sick := compose("web-3", "shop", "web")
	sick.Health = "unhealthy"
	young := compose("web-4", "shop", "web")
	young.Health = "starting"
	gone := compose("web-5", "shop", "web")
	gone.State = "exited"
	once := compose("web-run", "shop", "web")
	once.OneOff = true
	s := newScene(compose("web-1", "shop", "web"), compose("web-2", "shop", "web"), sick, young, gone, once,
		compose("db-1", "shop", "db"), compose("other-1", "blog", "web"), platform.Container{Name: "lone"})
	choice, err := ContainerSelect{Regexp: "1$|lone"}.Choose(t.Context(), s.World, experiments.Pick{All: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(choice.Groups) != 1 || choice.Groups[0].Name != "compose shop/web" {
		t.Fatalf("groups %+v, want shop/web alone: a service with one member is no group", choice.Groups)
	}
	if g := choice.Groups[0]; len(g.Members) != 5 || len(g.Healthy) != 2 {
		t.Errorf("%d members, %d of them healthy; want 5 and 2: those that are sick, starting or down serve nobody", len(g.Members), len(g.Healthy))
	}
	for _, c := range choice.Matched {
		if (c.Group != "") != (c.Name == "web-1") {
			t.Errorf("%s is in group %q", c.Name, c.Group)
		}
	}
}

func TestChooseTellsAnEngineThatIsAway(t *testing.T) {
	s := newScene(platform.Container{Name: "web"})
	s.engine.SetDown(true)
	if _, err := (ContainerSelect{Name: "web"}).Choose(t.Context(), s.World, experiments.Pick{}); !errors.Is(err, platform.ErrUnreachable) {
		t.Errorf("error %v, want %v", err, platform.ErrUnreachable)
	}
}
