package probes

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
)

// nextAddress is how long an address may take before the next one is tried as
// well (RFC 8305): a name with a dead IPv6 address is slow to users, not down.
const nextAddress = 250 * time.Millisecond

// dial connects as a user's program does: it asks for the name each time, and
// tries all its addresses. Unlike the standard one it keeps our own inability
// apart from the name server's and from the addresses' failures.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	ips, err := lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, 0, len(ips))
	for _, ip := range ips {
		addresses = append(addresses, net.JoinHostPort(ip.Unmap().String(), port))
	}
	return dialAny(ctx, network, addresses)
}

// lookup gives all addresses of a name. What kept us from asking would otherwise be told as "no such host".
func lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	var own atomic.Pointer[error]
	resolver := net.Resolver{Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil && cannotLook(err) {
			own.Store(&err)
		}
		return conn, err
	}}
	ips, err := resolver.LookupNetIP(ctx, "ip", host)
	if cause := own.Load(); err != nil && cause != nil {
		return nil, fmt.Errorf("ask for the address of %s: %w", host, *cause)
	}
	return ips, err
}

// dialAny tries the addresses in order, each a little after the one before it,
// or at once when that has failed. The first connection wins.
func dialAny(parent context.Context, network string, addresses []string) (net.Conn, error) {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	type attempt struct {
		conn net.Conn
		err  error
	}
	attempts := make(chan attempt, len(addresses)) // so that a late one never blocks
	started, open := 0, 0
	start := func() {
		address := addresses[started]
		started, open = started+1, open+1
		go func() {
			conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
			attempts <- attempt{conn, err}
		}()
	}
	next := time.NewTimer(nextAddress)
	defer next.Stop()
	defer func() {
		cancel()
		for range open { // a loser that connected all the same
			if late := <-attempts; late.conn != nil {
				_ = late.conn.Close() // nobody asked anything over it
			}
		}
	}()
	var failed []error
	for start(); ; {
		select {
		case a := <-attempts:
			open--
			if a.err == nil {
				return a.conn, nil
			}
			failed = append(failed, a.err)
		case <-next.C:
		}
		if started < len(addresses) {
			next.Reset(nextAddress)
			start()
		} else if open == 0 {
			return nil, decisive(parent, failed)
		}
	}
}

// decisive is the failure that tells most: our own trouble with any address
// leaves the question open; but that this host lacks an address family says
// nothing when the other family was refused.
func decisive(ctx context.Context, failed []error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("connect: %w", ctx.Err())
	}
	for _, err := range failed {
		if cannotLook(err) && !isAny(err, familyErrnos) {
			return err
		}
	}
	for _, err := range failed {
		if !cannotLook(err) {
			return err
		}
	}
	return errors.Join(failed...)
}
