package testenv

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Label is on every container that Container makes; its value is the test's name.
const Label = "sh.faultline.test"

// ServerPath is where the test server stands in Image.
const ServerPath = "/testserver"

// Image returns the name of a Docker image that holds the test server and
// nothing else: no shell, no libraries, no tools. It is named for its content,
// shared by all test processes and left in the engine for the next run.
func Image(t testing.TB) string {
	t.Helper()
	Require(t, "docker")
	return need(t, plainImage)
}

// The image with a health check is a second one: a check given to docker run
// is run by a shell, and there is none in it.
var (
	plainImage   = sync.OnceValues(func() (string, error) { return importImage("") })
	checkedImage = sync.OnceValues(func() (string, error) {
		return importImage("-checked", `HEALTHCHECK --interval=500ms --timeout=2s --retries=2 `+
			`CMD ["`+ServerPath+`", "-check", "http://127.0.0.1:8080/healthz"]`)
	})
)

func importImage(suffix string, changes ...string) (string, error) {
	binary, err := serverBinary()
	if err != nil {
		return "", err
	}
	image := "faultline-test/server:" + filepath.Base(filepath.Dir(binary)) + suffix
	if known, err := output("docker", "image", "ls", "--quiet", image); err != nil || known != "" {
		return image, err
	}
	layer, err := imageLayer(binary)
	if err != nil {
		return "", err
	}
	args := []string{"import", "--change", `ENTRYPOINT ["` + ServerPath + `"]`}
	for _, change := range changes {
		args = append(args, "--change", change)
	}
	cmd := exec.Command("docker", append(args, "-", image)...)
	cmd.Stdin = layer
	if _, err := outputOf(cmd); err != nil {
		return "", fmt.Errorf("importing the test server's image: %w", err)
	}
	return image, nil
}

// imageLayer packs the server and the empty folders that a container's engine mounts over.
func imageLayer(binary string) (*bytes.Buffer, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("packing the test server's image: %w", err)
	}
	var layer bytes.Buffer
	archive := tar.NewWriter(&layer)
	header := tar.Header{Name: strings.TrimPrefix(ServerPath, "/"), Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}
	err = archive.WriteHeader(&header)
	if err == nil {
		_, err = archive.Write(content)
	}
	return &layer, errors.Join(err, archive.Close())
}

// A Box is a container that Container started.
type Box struct {
	ID   string // the full one
	Name string
	IP   string // its IPv4 address on the default bridge, if it has one

	t testing.TB
}

// An Option changes how Container starts its container.
type Option func(*order)

type order struct {
	name   string
	image  func() (string, error)
	engine []string // flags of docker run
	server []string // flags of the test server
}

// Named gives the container a name; without it the name is random.
func Named(name string) Option { return func(o *order) { o.name = name } }

// Labelled puts a label on the container.
func Labelled(key, value string) Option { return Engine("--label", key+"="+value) }

// Restart sets the restart policy: always, on-failure:3, unless-stopped.
func Restart(policy string) Option { return Engine("--restart", policy) }

// Compose labels the container as a member of a compose project, as compose does.
func Compose(project, service string, number int) Option {
	return Engine(
		"--label", "com.docker.compose.project="+project,
		"--label", "com.docker.compose.service="+service,
		"--label", fmt.Sprintf("com.docker.compose.container-number=%d", number),
		"--label", "com.docker.compose.oneoff=False")
}

// Health gives the container a health check that asks the server itself, twice a second.
func Health() Option { return func(o *order) { o.image = checkedImage } }

// Engine passes flags to docker run as they are.
func Engine(flags ...string) Option {
	return func(o *order) { o.engine = append(o.engine, flags...) }
}

// Args replaces the server's flags, which are `-http :8080`.
func Args(flags ...string) Option { return func(o *order) { o.server = flags } }

// Container starts the test server in a container of its own and removes it,
// and its volumes, when t ends.
func Container(t testing.TB, options ...Option) *Box {
	t.Helper()
	Require(t, "docker")
	o := order{name: "faultline-test-" + randomHex(t, 5), image: plainImage, server: []string{"-http", ":8080"}}
	for _, option := range options {
		option(&o)
	}
	args := append([]string{"run", "--detach", "--name", o.name, "--label", Label + "=" + t.Name()}, o.engine...)
	args = append(append(args, need(t, o.image)), o.server...)
	box := &Box{Name: o.name, t: t}
	// Before the start: a run that fails half-way has made the container all the same.
	t.Cleanup(box.remove)
	id, err := output("docker", args...)
	if err != nil {
		t.Fatalf("testenv: starting a container: %v", err)
	}
	box.ID = id
	box.IP = box.Inspect("{{.NetworkSettings.IPAddress}}")
	return box
}

// URL is where the server answers HTTP, on the default bridge.
func (b *Box) URL() string { return "http://" + b.IP + ":8080" }

// Inspect asks the engine about the container, by a template of docker inspect.
func (b *Box) Inspect(template string) string {
	b.t.Helper()
	said, err := output("docker", "inspect", "--type", "container", "--format", template, b.ID)
	if err != nil {
		b.t.Fatalf("testenv: inspecting container %s: %v", b.Name, err)
	}
	return said
}

// PID is the container's init process as the host numbers it; 0 when it is not running.
func (b *Box) PID() int {
	b.t.Helper()
	pid, err := strconv.Atoi(b.Inspect("{{.State.Pid}}"))
	if err != nil {
		b.t.Fatalf("testenv: reading the pid of container %s: %v", b.Name, err)
	}
	return pid
}

// State is the engine's word for it: created, running, paused, restarting, exited, dead.
func (b *Box) State() string {
	b.t.Helper()
	return b.Inspect("{{.State.Status}}")
}

// WaitState waits until the engine calls the container's state so.
func (b *Box) WaitState(limit time.Duration, state string) {
	b.t.Helper()
	Eventually(b.t, limit, "container "+b.Name+" is "+state, func() bool { return b.State() == state })
}

// WaitHealth waits until the container's health check says so: healthy, unhealthy.
func (b *Box) WaitHealth(limit time.Duration, health string) {
	b.t.Helper()
	Eventually(b.t, limit, "container "+b.Name+" is "+health, func() bool {
		return b.Inspect("{{with .State.Health}}{{.Status}}{{end}}") == health
	})
}

// remove is content when the container is gone already: some faults remove it.
func (b *Box) remove() {
	if _, err := output("docker", "rm", "--force", "--volumes", b.Name); err == nil {
		return
	}
	left, err := output("docker", "ps", "--all", "--quiet", "--filter", "name=^/"+b.Name+"$")
	if err != nil || left != "" {
		b.t.Errorf("testenv: container %s could not be removed (engine: %v)", b.Name, err)
	}
}
