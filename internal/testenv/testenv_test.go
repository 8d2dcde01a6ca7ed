package testenv_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// CI must insist on everything that a test can ask for: a capability that only
// testenv knows would be skipped there for ever.
func TestCIRequiresEveryCapability(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(testenv.Root(t), ".ci", "run"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\s*(?:export )?FAULTLINE_TEST_REQUIRE=([a-z0-9,]+)`).FindSubmatch(script)
	if found == nil {
		t.Fatal(".ci/run sets no literal FAULTLINE_TEST_REQUIRE=…")
	}
	listed := strings.Split(string(found[1]), ",")
	slices.Sort(listed)
	if !slices.Equal(listed, testenv.Names()) {
		t.Errorf(".ci/run requires %v\ntestenv knows   %v", listed, testenv.Names())
	}
}

// Each row skips where the machine has no such thing, and CI insists on all.
func TestTry(t *testing.T) {
	for _, name := range testenv.Names() {
		t.Run(name, func(t *testing.T) { testenv.Require(t, name) })
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(body))
}

func TestProcessAnswersAndDies(t *testing.T) {
	server := testenv.Process(t, "-http", "127.0.0.1:0", "-name", "one")
	if got := get(t, server.URL()); got != "one" {
		t.Errorf("/ answered %q, want its name", got)
	}
	if _, ended := server.Wait(time.Millisecond); ended {
		t.Error("the server ended by itself")
	}
	server.Signal(t, syscall.SIGTERM)
	if state, ended := server.Wait(5 * time.Second); !ended || state.ExitCode() != 0 {
		t.Errorf("after SIGTERM: ended %v, %v", ended, state)
	}
	server.Kill()
}

func TestProcessIgnoresTerm(t *testing.T) {
	server := testenv.ProcessNamed(t, "stubborn", "-http", "127.0.0.1:0", "-ignore-term")
	if filepath.Base(server.Exe) != "stubborn" {
		t.Errorf("its executable is %s", server.Exe)
	}
	server.Signal(t, syscall.SIGTERM)
	if got := get(t, server.URL()+"/healthz"); got != "ok" {
		t.Errorf("/healthz answered %q after SIGTERM", got)
	}
	server.Kill()
	if state, ended := server.Wait(time.Second); !ended || state.Success() {
		t.Errorf("after Kill: ended %v, %v", ended, state)
	}
}

func TestContainer(t *testing.T) {
	box := testenv.Container(t, testenv.Labelled("app", "checkout"), testenv.Restart("always"), testenv.Health(),
		testenv.Compose("shop", "checkout", 1), testenv.Engine("--read-only"))
	box.WaitState(10*time.Second, "running")
	box.WaitHealth(20*time.Second, "healthy")
	if got := box.Inspect(`{{index .Config.Labels "com.docker.compose.service"}} {{.HostConfig.RestartPolicy.Name}}`); got != "checkout always" {
		t.Errorf("service and restart policy are %q", got)
	}
	if box.PID() == 0 {
		t.Error("a running container has no pid")
	}
	get(t, box.URL())
}

func TestContainerIsRemoved(t *testing.T) {
	var name string
	t.Run("inner", func(t *testing.T) { name = testenv.Container(t, testenv.Args()).Name })
	if name == "" {
		t.Skip("no container was made")
	}
	if out, err := exec.Command("docker", "inspect", name).CombinedOutput(); err == nil {
		t.Errorf("container %s outlived its test: %s", name, out)
	}
}

func TestNetns(t *testing.T) {
	ns := testenv.Netns(t)
	server := ns.Process(t, "-http", "[::]:8080", "-tcp", "[::]:9000")
	for _, addr := range []string{net.JoinHostPort(ns.Addr4.String(), "8080"), net.JoinHostPort(ns.Addr6.String(), "8080")} {
		if got := get(t, "http://"+addr+"/healthz"); got != "ok" {
			t.Errorf("%s answered %q", addr, got)
		}
	}
	if server.PID == os.Getpid() {
		t.Error("the server has the test's pid")
	}
	var inside []net.Interface
	var err error
	ns.Do(t, func() { inside, err = net.Interfaces() })
	if err != nil || len(inside) != 2 {
		t.Errorf("inside are %v, %v; want lo and %s", inside, err, ns.Inside)
	}
}

func TestNetnsIsRemoved(t *testing.T) {
	var path, outside string
	t.Run("inner", func(t *testing.T) {
		ns := testenv.Netns(t)
		path, outside = ns.Path, ns.Outside
	})
	if path == "" {
		t.Skip("no namespace was made")
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s outlived its test (%v)", path, err)
	}
	if _, err := net.InterfaceByName(outside); err == nil {
		t.Errorf("interface %s outlived its test", outside)
	}
}
