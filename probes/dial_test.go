package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"testing"
	"time"
)

func TestDialAnyFindsTheAddressThatAnswers(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for name, addresses := range map[string][]string{
		"the only one":              {l.Addr().String()},
		"after one that refuses":    {deaf(t), l.Addr().String()},
		"before one that refuses":   {l.Addr().String(), deaf(t)},
		"after one without a route": {"[2001:db8::1]:80", l.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := dialAny(t.Context(), "tcp", addresses)
			if err != nil {
				t.Fatal(err)
			}
			if conn.RemoteAddr().String() != l.Addr().String() {
				t.Errorf("connected to %s", conn.RemoteAddr())
			}
			if err := conn.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestDialByNameTriesAllItsAddresses(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0") // localhost is ::1 as well on most hosts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn, err := dial(t.Context(), "tcp", net.JoinHostPort("localhost", port))
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.Close(); err != nil {
		t.Error(err)
	}
}

func TestTheDecisiveFailureTellsMost(t *testing.T) {
	failed := func(errno syscall.Errno) error { return &net.OpError{Op: "dial", Net: "tcp", Err: errno} }
	over, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	for _, row := range []struct {
		name   string
		ctx    context.Context
		failed []error
		want   error
		own    bool
	}{
		{"one address refused, and this host has no IPv6", t.Context(), []error{failed(syscall.EADDRNOTAVAIL), failed(syscall.ECONNREFUSED)}, syscall.ECONNREFUSED, false},
		{"this host can use no address at all", t.Context(), []error{failed(syscall.EADDRNOTAVAIL), failed(syscall.EAFNOSUPPORT)}, syscall.EADDRNOTAVAIL, true},
		{"one refused, and we had no descriptor for the other", t.Context(), []error{failed(syscall.ECONNREFUSED), failed(syscall.EMFILE)}, syscall.EMFILE, true},
		{"one refused, and time was over for the other", over, []error{failed(syscall.ECONNREFUSED), context.DeadlineExceeded}, context.DeadlineExceeded, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			err := decisive(row.ctx, row.failed)
			if !errors.Is(err, row.want) || cannotLook(err) != row.own {
				t.Errorf("got %v (our own: %v), want %v (%v)", err, cannotLook(err), row.want, row.own)
			}
		})
	}
}

func TestFailuresAreToldInTheUsersWords(t *testing.T) {
	for _, row := range []struct {
		err  error
		want string
	}{
		{syscall.ECONNREFUSED, "refused: shop:80 does not accept connections"},
		{syscall.ECONNRESET, "reset: shop:80 broke the connection"},
		{syscall.EPIPE, "reset: shop:80 broke the connection"},
		{syscall.EHOSTUNREACH, "unreachable: there is no way to shop:80"},
		{syscall.ENETUNREACH, "unreachable: there is no way to shop:80"},
		{syscall.ETIMEDOUT, "timeout: no answer from shop:80 within 1s"},
		{context.DeadlineExceeded, "timeout: no answer from shop:80 within 1s"},
		{&net.DNSError{Name: "shop", IsNotFound: true}, "name not resolved: there is no shop"},
		{&net.DNSError{Name: "shop", IsTimeout: true}, "name not resolved: no answer for shop"},
	} {
		wrapped := fmt.Errorf("ask: %w", &net.OpError{Op: "dial", Net: "tcp", Source: &net.TCPAddr{Port: 43210}, Err: row.err})
		if got := suffered(wrapped, "shop:80", time.Second); got != row.want {
			t.Errorf("%v is told as %q, want %q", row.err, got, row.want)
		}
		if cannotLook(wrapped) {
			t.Errorf("%v is taken for our own inability", row.err)
		}
	}
}
