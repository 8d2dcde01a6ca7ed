//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// path is a network namespace at the other end of a veth pair, and the
// programs that run there.
type path struct {
	name, outside       string
	here, there         string // addresses
	ns                  *netfault.Namespace
	sinkAddr, proxyAddr string
	echoAddr            string
	running             []*exec.Cmd
	work                string
}

func newPath() (*path, error) {
	id := fmt.Sprintf("%06x", rand.Uint32()&0xffffff)
	subnet := fmt.Sprintf("198.19.%d.%d", rand.IntN(256), rand.IntN(64)*4)
	base := subnet[:strings.LastIndexByte(subnet, '.')+1]
	var last int
	fmt.Sscan(subnet[len(base):], &last)
	p := &path{name: "flbench-" + id, outside: "flb" + id, here: fmt.Sprint(base, last+1), there: fmt.Sprint(base, last+2)}
	for _, args := range [][]string{
		{"netns", "add", p.name},
		{"link", "add", p.outside, "type", "veth", "peer", "name", "inside0", "netns", p.name},
		{"address", "add", p.here + "/30", "dev", p.outside},
		{"link", "set", p.outside, "up"},
		{"-netns", p.name, "link", "set", "lo", "up"},
		{"-netns", p.name, "address", "add", p.there + "/30", "dev", "inside0"},
		{"-netns", p.name, "link", "set", "inside0", "up"},
	} {
		if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
			p.remove()
			return nil, fmt.Errorf("ip %s: %w: %s(run as root)", strings.Join(args, " "), err, out)
		}
	}
	var err error
	if p.ns, err = netfault.OpenName(p.name); err == nil {
		p.work, err = os.MkdirTemp("", "flbench-")
	}
	if err != nil {
		p.remove()
	}
	return p, err
}

// remove takes away whatever is there; what is not was never made.
func (p *path) remove() {
	for _, cmd := range p.running {
		cmd.Process.Kill()
		cmd.Wait()
	}
	if p.ns != nil {
		p.ns.Close()
	}
	exec.Command("ip", "link", "delete", p.outside).Run()
	exec.Command("ip", "netns", "delete", p.name).Run()
	if p.work != "" {
		os.RemoveAll(p.work)
	}
}

// start runs this program at the other end, as a part of the measurement.
func (p *path) start(role, addr string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := exec.Command("ip", "netns", "exec", p.name, self, "-role", role, addr)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running = append(p.running, cmd)
	return nil
}

func (p *path) startSink() error {
	p.sinkAddr = p.there + ":5001"
	return errors.Join(p.start("sink", p.sinkAddr), awaitTCP(p.sinkAddr))
}

func (p *path) startEcho() error {
	p.echoAddr = p.there + ":5002"
	if err := p.start("echo", p.echoAddr); err != nil {
		return err
	}
	end := time.Now().Add(5 * time.Second)
	for time.Now().Before(end) {
		if _, err := p.trips(1); err == nil {
			return nil
		}
	}
	return errors.New("nobody echoes")
}

// startProxy builds toxiproxy, which is a tool of this module, and lets it
// delay what is sent through it.
func (p *path) startProxy() error {
	server := filepath.Join(p.work, "toxiproxy")
	build := exec.Command("go", "build", "-o", server, "github.com/Shopify/toxiproxy/v2/cmd/server")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build toxiproxy (run in the folder of bench's go.mod): %w", err)
	}
	api := p.there + ":8474"
	p.proxyAddr = p.there + ":5003"
	cmd := exec.Command("ip", "netns", "exec", p.name, server, "-host", p.there)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=error")
	if err := cmd.Start(); err != nil {
		return err
	}
	p.running = append(p.running, cmd)
	return errors.Join(awaitTCP(api),
		post("http://"+api+"/proxies", fmt.Sprintf(`{"name": "bench", "listen": %q, "upstream": %q, "enabled": true}`, p.proxyAddr, p.sinkAddr)),
		post("http://"+api+"/proxies/bench/toxics", fmt.Sprintf(`{"type": "latency", "stream": "upstream", "attributes": {"latency": %d}}`, delay.Milliseconds())))
}

func post(url, body string) error {
	answer, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= 300 {
		said, _ := io.ReadAll(answer.Body)
		return fmt.Errorf("%s: %s: %s", url, answer.Status, said)
	}
	return nil
}

func awaitTCP(addr string) error {
	end := time.Now().Add(10 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return conn.Close()
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody answers at %s: %w", addr, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// delayed measures while the fault is on, and refuses a figure of packets that
// the fault did not meet.
func (p *path) delayed(way netfault.Direction, measure func() error) (netfault.Measured, error) {
	peer, err := netfault.ParsePeer(p.here)
	if err != nil {
		return netfault.Measured{}, err
	}
	hold, err := p.ns.Hold("faultline-bench", netfault.Delay{Direction: way, Delay: delay, Peers: []netfault.Peer{peer}},
		func() time.Duration { return time.Hour })
	if err != nil {
		return netfault.Measured{}, err
	}
	err = measure()
	m, look := hold.Measure()
	err = errors.Join(err, look, hold.Close())
	if err == nil && (m.Packets == 0 || m.Dropped > 0 || m.Least < delay) {
		err = fmt.Errorf("the fault was not what was asked for: %+v", m)
	}
	return m, err
}

func (p *path) rateDelayed(way netfault.Direction, measure func() (float64, error)) (rate float64, err error) {
	_, err = p.delayed(way, func() (err error) {
		rate, err = measure()
		return err
	})
	return rate, err
}

// Each connection to the sink begins with what it is for.
const (
	toSink   = 's'
	fromSink = 'r'
)

func (p *path) send(addr string, streams int, length time.Duration) (float64, error) {
	return move(addr, toSink, streams, length, func(c net.Conn, b []byte) (int, error) { return c.Write(b) })
}

func (p *path) receive(addr string, streams int, length time.Duration) (float64, error) {
	return move(addr, fromSink, streams, length, func(c net.Conn, b []byte) (int, error) { return c.Read(b) })
}

// move counts bits a second over all streams. The first quarter is for TCP to
// open its windows and is not counted, for anybody.
func move(addr string, what byte, streams int, length time.Duration, step func(net.Conn, []byte) (int, error)) (float64, error) {
	var bytes atomic.Int64
	var wait sync.WaitGroup
	failed := make(chan error, streams)
	end := time.Now().Add(length + length/4)
	for range streams {
		wait.Go(func() {
			conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
			if err != nil {
				failed <- err
				return
			}
			defer conn.Close()
			conn.SetDeadline(end.Add(5 * time.Second))
			if _, err := conn.Write([]byte{what}); err != nil {
				failed <- err
				return
			}
			for b := make([]byte, 256<<10); time.Now().Before(end); {
				n, err := step(conn, b)
				bytes.Add(int64(n))
				if err != nil {
					failed <- err
					return
				}
			}
		})
	}
	time.Sleep(length / 4)
	before, start := bytes.Load(), time.Now()
	wait.Wait()
	rate := float64(bytes.Load()-before) * 8 / time.Since(start).Seconds()
	select {
	case err := <-failed:
		return 0, err
	default:
		return rate, nil
	}
}

// sink takes what it is sent, or sends what is asked for.
func sink(addr string) error {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer conn.Close()
			b := make([]byte, 256<<10)
			if _, err := conn.Read(b[:1]); err != nil {
				return
			}
			step := conn.Read
			if b[0] == fromSink {
				step = conn.Write
			}
			for {
				if _, err := step(b); err != nil {
					return
				}
			}
		}()
	}
}

func echo(addr string) error {
	conn, err := net.ListenPacket("udp", addr)
	if err != nil {
		return err
	}
	b := make([]byte, 2048)
	for {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return err
		}
		if _, err := conn.WriteTo(b[:n], from); err != nil {
			return err
		}
	}
}

// trips gives n round trips, sorted.
func (p *path) trips(n int) ([]time.Duration, error) {
	conn, err := net.Dial("udp", p.echoAddr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	var all []time.Duration
	for b := make([]byte, 64); len(all) < n; {
		conn.SetDeadline(time.Now().Add(time.Second))
		start := time.Now()
		if _, err := conn.Write(b); err != nil {
			return nil, err
		}
		if _, err := conn.Read(b); err != nil {
			return nil, err
		}
		all = append(all, time.Since(start))
	}
	slices.Sort(all)
	return all, nil
}
