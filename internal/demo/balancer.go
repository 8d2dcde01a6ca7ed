package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// How the balancer finds out that a replica is ill. The second experiment of the
// demo is about these figures: a hang is noticed after CheckEvery*CheckFall only.
const (
	CheckEvery = 2 * time.Second
	CheckFall  = 2 // failed checks in a row that take a replica out
	checkLimit = time.Second
	checkFirst = 50 * time.Millisecond // until a replica was well for the first time
	replyLimit = time.Second
)

// Balancer hands requests to replicas in turn. One that refuses connections is
// left out at once and the next one is asked; one that takes a request and does
// not answer is trusted until enough health checks have failed.
type Balancer struct {
	Listen   string
	Backends []string // NAME=host:port
}

type balancer struct {
	client http.Client

	mu       sync.Mutex
	next     int
	backends []*backend
}

// backend is one replica as the balancer sees it; its fields are the balancer's mutex's.
type backend struct {
	name, addr string
	failed     int // checks in a row
	out        bool
}

// Serve balances until the lifeline ends.
func (b Balancer) Serve(lifeline io.Reader) error {
	listener, err := net.Listen("tcp", b.Listen)
	if err != nil {
		return fmt.Errorf("start the balancer: %w", err)
	}
	// No connection is kept: that a replica is gone shows at once.
	l := &balancer{client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	for _, entry := range b.Backends {
		name, addr, ok := strings.Cut(entry, "=")
		if !ok {
			return fmt.Errorf("start the balancer: backend %q is not NAME=ADDRESS", entry)
		}
		l.backends = append(l.backends, &backend{name: name, addr: addr, out: true})
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, one := range l.backends {
		go l.watch(ctx, one)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", l.read)
	mux.HandleFunc("PUT /kv/{key}", l.write)
	mux.HandleFunc("GET /status", l.status)
	return serve(listener, mux, lifeline)
}

// watch asks one replica for its health again and again.
func (l *balancer) watch(ctx context.Context, b *backend) {
	tick := time.NewTicker(checkFirst)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		status, _, err := l.ask(ctx, checkLimit, b, http.MethodGet, "/healthz", nil)
		healthy := err == nil && status == http.StatusOK
		if healthy {
			tick.Reset(CheckEvery)
		}
		l.checked(b, healthy)
	}
}

func (l *balancer) checked(b *backend, healthy bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if healthy {
		b.failed, b.out = 0, false
		return
	}
	b.failed++
	b.out = b.out || b.failed >= CheckFall
}

// inRotation gives the replicas that are trusted, the one whose turn it is first.
func (l *balancer) inRotation() []*backend {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next++
	var trusted []*backend
	for i := range l.backends {
		if b := l.backends[(l.next+i)%len(l.backends)]; !b.out {
			trusted = append(trusted, b)
		}
	}
	return trusted
}

func (l *balancer) read(w http.ResponseWriter, r *http.Request) {
	for _, b := range l.inRotation() {
		status, body, err := l.ask(r.Context(), replyLimit, b, http.MethodGet, r.URL.EscapedPath(), nil)
		if err == nil {
			w.Header().Set("Replica", b.name)
			answer(w, status, string(body))
			return
		}
		if hangs(err) {
			answer(w, http.StatusGatewayTimeout, tooSlow(b.name))
			return
		}
		l.leaveOut(b) // refused or broken off: the next one may answer
	}
	answer(w, http.StatusServiceUnavailable, "no replica is left")
}

// tooSlow is what the balancer says of a replica that took a request and did
// not answer; a report quotes it.
func tooSlow(name string) string {
	return name + " hangs, and the health check is too slow to notice it"
}

// hangs says that the replica took the request and gave no answer in time.
func hangs(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (l *balancer) leaveOut(b *backend) {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.out = true // until a health check is good
}

// write stores on every replica in rotation; one is enough to have it stored.
func (l *balancer) write(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostValue))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	stored := 0
	for _, b := range l.inRotation() {
		status, _, err := l.ask(r.Context(), replyLimit, b, http.MethodPut, r.URL.EscapedPath(), value)
		switch {
		case err == nil && status == http.StatusOK:
			stored++
		case err != nil && !hangs(err):
			l.leaveOut(b)
		}
	}
	if stored == 0 {
		answer(w, http.StatusServiceUnavailable, "no replica has stored it")
		return
	}
	answer(w, http.StatusOK, fmt.Sprintf("stored on %d", stored))
}

func (l *balancer) ask(ctx context.Context, limit time.Duration, b *backend, method, path string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://"+b.addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	response, err := l.client.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, mostValue))
	return response.StatusCode, content, err
}

func (l *balancer) status(w http.ResponseWriter, _ *http.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var text strings.Builder
	for _, b := range l.backends {
		state := "in rotation"
		if b.out {
			state = "left out"
		}
		fmt.Fprintf(&text, "%s %s %s\n", b.name, b.addr, state)
	}
	answer(w, http.StatusOK, text.String())
}
