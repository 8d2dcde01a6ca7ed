package platform

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/filters"
	"github.com/docker/docker/api/types/versions"
	"github.com/docker/docker/client"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

// inspectsAtOnce bounds how many containers are inspected at the same time.
const inspectsAtOnce = 32

// engineGrace is what an engine waits on stop for a container that says nothing of its own.
const engineGrace = 10 * time.Second

// Docker is a Docker engine, found as the docker command finds it. Making one
// costs nothing: it connects when it is first asked.
type Docker struct {
	processes Processes
	endpoint  func() (endpoint, error)
	inspects  *semaphore.Weighted
	own       func() (containers, error) // those that this process is in

	connecting *semaphore.Weighted // guards what follows; unlike a mutex, it does not keep who has run out of time
	client     *client.Client
	foreseen   sync.WaitGroup
	hangUp     context.CancelFunc

	asking *semaphore.Weighted // guards info
	info   *EngineInfo
}

// NewDocker is the engine that DOCKER_HOST, the docker command's current
// context, or the default socket leads to. processes is this host's table: it
// is what a container's init is pinned in when it proves to run here.
func NewDocker(processes Processes) *Docker {
	return newDocker(processes, endpointFromEnvironment)
}

// NewDockerAt is the engine at one address, as unix:///run/docker.sock.
func NewDockerAt(host string, processes Processes) *Docker {
	return newDocker(processes, func() (endpoint, error) { return endpoint{host: host}, nil })
}

func newDocker(processes Processes, find func() (endpoint, error)) *Docker {
	return &Docker{
		processes: processes, endpoint: find, own: sync.OnceValues(ownContainer),
		inspects: semaphore.NewWeighted(inspectsAtOnce), connecting: semaphore.NewWeighted(1), asking: semaphore.NewWeighted(1),
	}
}

// Close gives back idle connections; the engine can still be asked.
func (d *Docker) Close() error {
	if err := d.connecting.Acquire(context.Background(), 1); err != nil {
		return err
	}
	defer d.connecting.Release(1)
	if d.client == nil {
		return nil
	}
	d.hangUp()
	d.foreseen.Wait()
	return d.client.Close()
}

// connect makes the client and agrees with the engine on a version of the API.
// An engine that did not answer is asked again the next time.
func (d *Docker) connect(ctx context.Context) (*client.Client, error) {
	if err := d.connecting.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("reach the container engine: %w", engineError(err))
	}
	defer d.connecting.Release(1)
	if d.client != nil {
		return d.client, nil
	}
	at, err := d.endpoint()
	if err != nil {
		return nil, fmt.Errorf("find the container engine: %w", err)
	}
	c, err := client.NewClientWithOpts(append(at.options(), client.WithAPIVersionNegotiation())...)
	if err != nil {
		return nil, fmt.Errorf("use the container engine at %s: %w", at.host, err)
	}
	// Asked here because the client itself would go on after a failure, with a version of its own.
	ping, err := c.Ping(ctx)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("reach the container engine at %s: %w: is it running? set DOCKER_HOST if it is elsewhere", c.DaemonHost(), engineError(err)), c.Close())
	}
	c.NegotiateAPIVersionPing(ping)
	d.client = c
	d.foresee(c)
	return c, nil
}

// foresee asks who the engine is while the caller asks something else: the
// answer takes an engine longer than any other, and all that aim need it.
func (d *Docker) foresee(c *client.Client) {
	ctx, hangUp := context.WithTimeout(context.Background(), time.Minute)
	d.hangUp = hangUp
	d.foreseen.Go(func() {
		defer hangUp()
		_, _ = d.learn(ctx, c) // whoever needs the answer asks again, and gets the error
	})
}

// Info names the engine and its endpoint. What an engine is does not change, so it is asked once.
func (d *Docker) Info(ctx context.Context) (EngineInfo, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return EngineInfo{}, err
	}
	return d.learn(ctx, c)
}

func (d *Docker) learn(ctx context.Context, c *client.Client) (EngineInfo, error) {
	if err := d.asking.Acquire(ctx, 1); err != nil {
		return EngineInfo{}, fmt.Errorf("ask the engine at %s what it is: %w", c.DaemonHost(), engineError(err))
	}
	defer d.asking.Release(1)
	if d.info != nil {
		return *d.info, nil
	}
	said, err := c.Info(ctx)
	if err != nil {
		return EngineInfo{}, fmt.Errorf("ask the engine at %s what it is: %w", c.DaemonHost(), engineError(err))
	}
	d.info = &EngineInfo{
		ID: said.ID, Name: "Docker", Version: said.ServerVersion, API: c.ClientVersion(),
		Endpoint: c.DaemonHost(), LiveRestore: said.LiveRestoreEnabled,
	}
	return *d.info, nil
}

// List gives all containers. A list tells no container's health, so those that
// are not healthy are asked for by two more lists, at the same time.
func (d *Docker) List(ctx context.Context) ([]Container, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return nil, err
	}
	asked := [...]filters.Args{filters.NewArgs(), filters.NewArgs(filters.Arg("health", "unhealthy")), filters.NewArgs(filters.Arg("health", "starting"))}
	var answers [len(asked)][]container.Summary
	group, listing := errgroup.WithContext(ctx)
	for i, filter := range asked {
		group.Go(func() (err error) {
			answers[i], err = c.ContainerList(listing, container.ListOptions{All: true, Filters: filter})
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("list the containers of the engine at %s: %w", c.DaemonHost(), engineError(err))
	}
	own, err := d.own()
	if err != nil {
		return nil, err
	}
	listed := make([]Container, 0, len(answers[0]))
	for _, said := range answers[0] {
		one := summary(said)
		one.Self = own.is(one.ID)
		switch {
		case among(answers[1], one.ID):
			one.Health = "unhealthy"
		case among(answers[2], one.ID):
			one.Health = "starting"
		}
		listed = append(listed, one)
	}
	return listed, nil
}

func among(listed []container.Summary, id string) bool {
	for _, one := range listed {
		if one.ID == id {
			return true
		}
	}
	return false
}

func summary(said container.Summary) Container {
	one := Container{
		ID: said.ID, Name: mainName(said.Names), Image: said.Image, Labels: said.Labels,
		State: said.State, NetworkMode: said.HostConfig.NetworkMode,
	}
	one.readLabels()
	return one
}

// mainName is the name without a slash in it; the others are links from elsewhere.
func mainName(names []string) string {
	for _, name := range names {
		if bare := strings.TrimPrefix(name, "/"); !strings.Contains(bare, "/") {
			return bare
		}
	}
	return ""
}

func (c *Container) readLabels() {
	c.Project = c.Labels["com.docker.compose.project"]
	c.Service = c.Labels["com.docker.compose.service"]
	c.OneOff = strings.EqualFold(c.Labels["com.docker.compose.oneoff"], "true")
}

// Inspect gives one container in full.
func (d *Docker) Inspect(ctx context.Context, id string) (Container, error) {
	one, _, err := d.inspect(ctx, id)
	return one, err
}

// inspect also tells in which pid namespace the container was put.
func (d *Docker) inspect(ctx context.Context, id string) (Container, container.PidMode, error) {
	c, err := d.connect(ctx)
	if err != nil {
		return Container{}, "", err
	}
	if err := d.inspects.Acquire(ctx, 1); err != nil {
		return Container{}, "", fmt.Errorf("inspect container %s: %w", short(id), err)
	}
	defer d.inspects.Release(1)
	said, err := c.ContainerInspect(ctx, id)
	if err != nil {
		return Container{}, "", fmt.Errorf("inspect container %s: %w", short(id), engineError(err))
	}
	if said.ContainerJSONBase == nil || said.State == nil || said.Config == nil || said.HostConfig == nil {
		return Container{}, "", fmt.Errorf("inspect container %s: the engine at %s left half of the answer out", short(id), c.DaemonHost())
	}
	own, err := d.own()
	one := inspected(said)
	one.Self = own.is(one.ID)
	return one, said.HostConfig.PidMode, err
}

func inspected(said container.InspectResponse) Container {
	one := Container{
		ID: said.ID, Name: strings.TrimPrefix(said.Name, "/"), Image: said.Config.Image, Labels: said.Config.Labels,
		State: said.State.Status, Health: "none", PID: said.State.Pid,
		StartedAt: said.State.StartedAt, FinishedAt: said.State.FinishedAt,
		RestartCount: said.RestartCount, RestartPolicy: string(said.HostConfig.RestartPolicy.Name),
		ExitCode: said.State.ExitCode, AutoRemove: said.HostConfig.AutoRemove,
		NetworkMode: string(said.HostConfig.NetworkMode), StopGrace: engineGrace,
	}
	if said.State.Health != nil {
		one.Health = said.State.Health.Status
	}
	if one.RestartPolicy == "" {
		one.RestartPolicy = "no"
	}
	if said.Config.StopTimeout != nil {
		one.StopGrace = time.Duration(*said.Config.StopTimeout) * time.Second
	}
	one.readLabels()
	return one
}

// awaitEvery is how often Await looks: the engine's events would be quicker, but
// a daemon that restarts loses them.
const awaitEvery = 50 * time.Millisecond

// Await looks until `until` is true of the container.
func (d *Docker) Await(ctx context.Context, id string, until func(Container) bool) (Container, error) {
	ticker := time.NewTicker(awaitEvery)
	defer ticker.Stop()
	for {
		one, err := d.Inspect(context.WithoutCancel(ctx), id)
		if err != nil || until(one) {
			return one, err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return one, fmt.Errorf("wait for container %s: %w", short(id), context.Cause(ctx))
		}
	}
}

// Kill sends a signal through the engine. The engine takes that for a manual
// stop: the container's restart policy does not bring it back.
func (d *Docker) Kill(ctx context.Context, id, signal string) error {
	return d.tell(ctx, "kill", id, func(c *client.Client) error { return c.ContainerKill(ctx, id, signal) })
}

// Stop asks the container to end, and kills it after grace. No signal means the container's own.
func (d *Docker) Stop(ctx context.Context, id string, grace time.Duration, signal string) error {
	return d.tell(ctx, "stop", id, func(c *client.Client) error {
		options := container.StopOptions{Timeout: seconds(grace), Signal: signal}
		if signal != "" && versions.LessThan(c.ClientVersion(), "1.42") {
			return stopWithSignal(ctx, c, id, grace, options)
		}
		return c.ContainerStop(ctx, id, options)
	})
}

// stopWithSignal is for engines that know no signal on stop and would leave it
// out without a word: the signal first, the stop when the grace is over.
func stopWithSignal(ctx context.Context, c *client.Client, id string, grace time.Duration, options container.StopOptions) error {
	if err := c.ContainerKill(ctx, id, options.Signal); err != nil && !errdefs.IsConflict(err) { // conflict: it is not running
		return err
	}
	waiting, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	ended, failed := c.ContainerWait(waiting, id, container.WaitConditionNotRunning)
	select {
	case <-ended:
	case err := <-failed:
		if ctx.Err() != nil || waiting.Err() == nil {
			return err
		}
	}
	return c.ContainerStop(ctx, id, container.StopOptions{Timeout: seconds(0)})
}

func seconds(d time.Duration) *int {
	whole := int(d.Round(time.Second) / time.Second)
	return &whole
}

// Start starts a container; one that runs already is left alone.
func (d *Docker) Start(ctx context.Context, id string) error {
	err := d.tell(ctx, "start", id, func(c *client.Client) error { return c.ContainerStart(ctx, id, container.StartOptions{}) })
	if !errors.Is(err, ErrGone) {
		return err
	}
	// "Not found" may be said of its network or its volume too.
	if _, looked := d.Inspect(ctx, id); looked == nil {
		return fmt.Errorf("start container %s: something that it needs is not there any more: %s", short(id), errors.Unwrap(err)) //nolint:errorlint // it is not ErrGone that is said here
	}
	return err
}

// Restart stops a container, within grace, and starts it again.
func (d *Docker) Restart(ctx context.Context, id string, grace time.Duration) error {
	return d.tell(ctx, "restart", id, func(c *client.Client) error {
		return c.ContainerRestart(ctx, id, container.StopOptions{Timeout: seconds(grace)})
	})
}

// Pause freezes every process of a container.
func (d *Docker) Pause(ctx context.Context, id string) error {
	return d.tell(ctx, "pause", id, func(c *client.Client) error { return c.ContainerPause(ctx, id) })
}

// Unpause thaws a container.
func (d *Docker) Unpause(ctx context.Context, id string) error {
	return d.tell(ctx, "unpause", id, func(c *client.Client) error { return c.ContainerUnpause(ctx, id) })
}

// Remove kills and removes a container, and its anonymous volumes when asked to.
func (d *Docker) Remove(ctx context.Context, id string, volumes bool) error {
	return d.tell(ctx, "remove", id, func(c *client.Client) error {
		return c.ContainerRemove(ctx, id, container.RemoveOptions{Force: true, RemoveVolumes: volumes})
	})
}

func (d *Docker) tell(ctx context.Context, what, id string, call func(*client.Client) error) error {
	c, err := d.connect(ctx)
	if err != nil {
		return err
	}
	if err := call(c); err != nil {
		return fmt.Errorf("%s container %s: %w", what, short(id), engineError(err))
	}
	return nil
}

// Init proves that a container runs on this host's kernel and pins its init.
func (d *Docker) Init(ctx context.Context, c Container) (ProcessID, error) {
	if c.PID <= 0 {
		return ProcessID{}, fmt.Errorf("pin the init of container %s: it is %s and has none: %w", c.Name, c.State, ErrGone)
	}
	id, pinned := d.processes.Pin(ctx, c.PID)
	var proof error
	if pinned == nil {
		proof = initOf(c.PID, c.ID)
	}
	again, pidMode, err := d.inspect(ctx, c.ID)
	switch {
	case err != nil:
	case again.PID != c.PID || again.StartedAt != c.StartedAt:
		err = fmt.Errorf("it was restarted while it was looked at: %w", ErrNotOurs)
	case pinned != nil:
		err = pinned
		if errors.Is(pinned, ErrGone) || errors.Is(pinned, ErrNotOurs) { // the engine says it runs, and here it does not
			err = fmt.Errorf("the engine's pid %d is no process of this host (%w): %w", c.PID, pinned, ErrUnsupported)
		}
	case errors.Is(proof, errNotFirst) && !pidMode.IsPrivate():
	default:
		err = proof
	}
	if err != nil {
		if pinned == nil {
			d.processes.Release(id)
		}
		return ProcessID{}, fmt.Errorf("pin the init of container %s: %w", c.Name, err)
	}
	return id, nil
}

// engineError names the class of an engine's error, by its type and never by its text.
func engineError(err error) error {
	var class error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, context.DeadlineExceeded):
		class = ErrUnreachable
	case errdefs.IsPermissionDenied(err), errdefs.IsUnauthorized(err), errors.Is(err, fs.ErrPermission):
		class = ErrDenied
	case errdefs.IsNotFound(err):
		class = ErrGone
	case client.IsErrConnectionFailed(err), errdefs.IsUnavailable(err):
		class = ErrUnreachable
	default:
		return err
	}
	return fmt.Errorf("%w: %w", class, err)
}

// short is how people know a container's ID.
func short(id string) string { return id[:min(12, len(id))] }

var _ Engine = (*Docker)(nil)
