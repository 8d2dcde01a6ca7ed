package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Command is the command below which the parts of the service are hidden.
const Command = "demo"

const (
	replicaPart  = "__replica"
	balancerPart = "__balancer"
)

const (
	replicas   = 3
	restartGap = 800 * time.Millisecond // how long the supervisor waits before it starts a replica again
	startLimit = 10 * time.Second
	stopLimit  = 3 * time.Second
)

// Service is the running service and its supervisor, which starts a replica again when it ends.
type Service struct {
	URL string // the balancer's
	Tag string // an argument that every replica of this service has, and nobody else

	exe  string
	log  io.Writer
	stop context.CancelFunc
	all  sync.WaitGroup
}

// Start starts replicas and balancer and returns when the service answers.
// exe is this binary. Stop must be called whatever happens after it.
func Start(ctx context.Context, exe string, log io.Writer) (*Service, error) {
	addresses, err := freeAddresses(replicas + 1)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.Background())
	s := &Service{URL: "http://" + addresses[replicas], Tag: "faultline-demo-" + strings.ToLower(rand.Text()[:8]), exe: exe, log: log, stop: stop}
	var backends []string
	for i, address := range addresses[:replicas] {
		name := fmt.Sprintf("kv-%d", i+1)
		backends = append(backends, name+"="+address)
		peers := append(append([]string{}, addresses[:i]...), addresses[i+1:replicas]...)
		s.supervise(running, name, append([]string{Command, replicaPart, s.Tag, name, address}, peers...))
	}
	s.supervise(running, "balancer", append([]string{Command, balancerPart, addresses[replicas]}, backends...))
	if err := s.wait(ctx); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// Stop ends everything that Start started, and waits for it.
func (s *Service) Stop() {
	s.stop()
	s.all.Wait()
}

// supervise keeps one process running until the service is stopped.
func (s *Service) supervise(ctx context.Context, name string, args []string) {
	s.all.Go(func() {
		for ctx.Err() == nil {
			if err := s.once(ctx, name, args); err != nil && ctx.Err() == nil {
				fmt.Fprintf(s.log, "demo: %s ended: %v; starting it again in %s\n", name, err, restartGap)
			}
			select {
			case <-ctx.Done():
			case <-time.After(restartGap):
			}
		}
	})
}

// once runs a process to its end. It lives on a pipe from us: it ends with us,
// however we do.
func (s *Service) once(ctx context.Context, name string, args []string) error {
	cmd := exec.Command(s.exe, args...)
	cmd.Args[0] = name
	cmd.Stderr = s.log
	lifeline, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", name, errors.Join(err, lifeline.Close()))
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	closed := lifeline.Close()
	select {
	case err := <-ended:
		return err
	case <-time.After(stopLimit): // it does not run (frozen), so it does not see the end of the pipe
		return errors.Join(closed, cmd.Process.Kill(), <-ended)
	}
}

// wait asks until the balancer gives the greeting and every replica has had its turn.
func (s *Service) wait(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("no answer from %s within %s", s.URL, startLimit))
	defer cancel()
	seen := map[string]bool{}
	for len(seen) < replicas {
		if replica, err := s.ask(ctx); err == nil {
			seen[replica] = true
			continue
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("start the demo's service: %w", context.Cause(ctx))
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

func (s *Service) ask(ctx context.Context) (replica string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/kv/"+GreetingKey, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("the balancer says %s", response.Status)
	}
	return response.Header.Get("Replica"), nil
}

// freeAddresses finds loopback addresses that nobody listens on. All are held
// at the same time, so that they differ.
func freeAddresses(n int) ([]string, error) {
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	var addresses []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fmt.Errorf("find a free port: %w", err)
		}
		held = append(held, l)
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}

// Parts are the hidden commands below `faultline demo`: each is one process of
// the service, and ends when its standard input does.
func Parts() map[string]func(args []string) error {
	return map[string]func([]string) error{
		replicaPart: func(args []string) error {
			if len(args) < 3 {
				return errByHand
			}
			return Replica{Name: args[1], Listen: args[2], Peers: args[3:]}.Serve(lifeline())
		},
		balancerPart: func(args []string) error {
			if len(args) < 2 {
				return errByHand
			}
			return Balancer{Listen: args[0], Backends: args[1:]}.Serve(lifeline())
		},
	}
}

var errByHand = errors.New("start a part of the demo's service: `faultline demo` does that, nobody else")

// lifeline is the pipe from the supervisor. A Ctrl-C reaches the whole terminal;
// the supervisor heals first and then ends its parts.
func lifeline() io.Reader {
	signal.Ignore(os.Interrupt, syscall.SIGHUP)
	return os.Stdin
}
