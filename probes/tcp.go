package probes

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// TCP asks whether an address accepts a connection. Nothing is sent.
type TCP struct {
	Address string               `json:"address"`
	Timeout experiments.Duration `json:"timeout,omitempty"`
}

// Check gives every problem of the settings at once.
func (s TCP) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	host, port, err := net.SplitHostPort(s.Address)
	number, notNumber := strconv.ParseUint(port, 10, 16)
	switch {
	case err != nil || host == "":
		problems = append(problems, experiments.FieldProblem{Field: "address", Problem: fmt.Sprintf("%q is no host:port: write one as 127.0.0.1:5432, db.internal:5432 or [::1]:5432", s.Address)})
	case notNumber != nil || number == 0:
		problems = append(problems, experiments.FieldProblem{Field: "address", Problem: fmt.Sprintf("%q is no port: write a number from 1 to 65535", port)})
	}
	return append(problems, checkTimeout(s.Timeout)...)
}

func tcpKind() Kind {
	return Kind{
		ProbeKind: experiments.ProbeKind{
			Kind: "tcp", Summary: "connects to an address: connected, latency",
			Settings: func() any { return &TCP{Timeout: DefaultTimeout} },
			Expect:   "connected",
			Reading:  experiments.Reading{"connected": true, "latency": time.Millisecond, "error": ""},
		},
		Open: openTCP,
		Example: `# Connects and hangs up: does the address accept connections, and how fast?
- name: database accepts connections
  tcp: {address: "127.0.0.1:5432", timeout: 1s}
  # What a good answer is: CEL over connected, latency and error.
  expect: connected && latency < duration("100ms")
  every: 500ms
  tolerate: {during: 95%, outage: 5s}
`,
	}
}

type tcpProbe struct {
	address string
	timeout time.Duration
}

func openTCP(_ *platform.World, raw json.RawMessage) (Probe, error) {
	var s TCP
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of a tcp probe: %w", err)
	}
	return tcpProbe{s.Address, orDefault(s.Timeout)}, nil
}

// Look connects once and closes the connection in the usual way.
func (p tcpProbe) Look(parent context.Context) (experiments.Reading, error) {
	ctx, cancel := context.WithTimeout(parent, p.timeout)
	defer cancel()
	start := time.Now()
	conn, err := dial(ctx, "tcp", p.address)
	latency := time.Since(start)
	if err == nil {
		// It did connect; how the hang-up goes is no part of the question.
		_ = conn.Close()
		return experiments.Reading{"connected": true, "latency": latency, "error": ""}, nil
	}
	if parent.Err() != nil || cannotLook(err) {
		return nil, fmt.Errorf("connect to %s: %w", p.address, err)
	}
	return experiments.Reading{"connected": false, "latency": latency, "error": suffered(err, p.address, p.timeout)}, nil
}

func (tcpProbe) Close() error { return nil }
