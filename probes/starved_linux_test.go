package probes

import (
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// starve leaves this process without a descriptor for as long as f runs.
func starve(t *testing.T, f func()) {
	t.Helper()
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	none := syscall.Rlimit{Cur: 0, Max: before.Max}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}

// A probe host that is itself in trouble must not blame the service.
func TestH70_OurOwnTroubleIsNoReading(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	for kind, settings := range map[string]map[string]any{
		"http": {"url": s.URL},
		"tcp":  {"address": strings.TrimPrefix(s.URL, "http://")},
		"exec": {"command": []string{"true"}},
	} {
		t.Run(kind, func(t *testing.T) {
			p := open(t, kind, settings)
			starve(t, func() {
				if r, err := p.Look(t.Context()); err == nil {
					t.Errorf("without a free descriptor it read %v", r)
				}
			})
			if r, err := p.Look(t.Context()); err != nil || r["error"] != "" {
				t.Errorf("with one it read %v, %v", r, err)
			}
		})
	}
}

// Without a descriptor the question to the name server fails, and not the name.
func TestH70_ANameThatWeCouldNotAskForIsNoReading(t *testing.T) {
	p := open(t, "tcp", map[string]any{"address": "nobody.invalid:80"})
	starve(t, func() {
		if r, err := p.Look(t.Context()); err == nil {
			t.Errorf("without a free descriptor it read %v", r)
		}
	})
}

func TestH70_AFullBacklogIsATimeout(t *testing.T) {
	address := full(t)
	for kind, settings := range map[string]map[string]any{
		"http": {"url": "http://" + address, "timeout": "100ms"},
		"tcp":  {"address": address, "timeout": "100ms"},
	} {
		r, err := look(t, kind, settings)
		if err != nil || r["error"] != "timeout: no answer from "+address+" within 100ms" {
			t.Errorf("%s read %v, %v", kind, r, err)
		}
	}
}

// full is an address whose queue of connections is full and never emptied.
func full(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for range 64 {
		conn, err := net.DialTimeout("tcp", address, 100*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("64 connections do not fill a queue of none")
	return ""
}
