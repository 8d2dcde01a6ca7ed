package injectors

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform/netfault"
)

// checkPeers refuses what is neither an address nor a name.
func checkPeers(to []string) []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	for i, text := range to {
		if _, _, ok := netfault.Named(text); ok {
			continue
		}
		if _, err := netfault.ParsePeer(text); err != nil {
			problems = append(problems, experiments.FieldProblem{Field: fmt.Sprintf("to[%d]", i), Problem: err.Error()})
		}
	}
	return problems
}

// resolvePeers gives the peers that are meant; of a name, all its IPv4 and IPv6
// addresses as this host sees them now. A name without an address is an error.
func resolvePeers(ctx context.Context, to []string) (peers []netfault.Peer, notes []string, err error) {
	for _, text := range to {
		name, port, named := netfault.Named(text)
		if !named {
			peer, err := netfault.ParsePeer(text)
			if err != nil {
				return nil, nil, err
			}
			peers = append(peers, peer)
			continue
		}
		found, err := lookUp(ctx, name, port)
		if err != nil {
			return nil, nil, err
		}
		peers = append(peers, found...)
		var shown []string
		for _, p := range found {
			shown = append(shown, p.Prefix.Addr().String())
		}
		notes = append(notes, name+" is "+strings.Join(shown, ", ")+" as this host resolves it")
	}
	return peers, notes, nil
}

func lookUp(ctx context.Context, name string, port uint16) ([]netfault.Peer, error) {
	addresses, err := net.DefaultResolver.LookupNetIP(ctx, "ip", name)
	var dns *net.DNSError
	if errors.As(err, &dns) && dns.IsNotFound {
		return nil, fmt.Errorf("find the peer %s: there is no such name here (a container's name is not one: write its address): %w: %w", name, ErrRefused, err)
	}
	if err != nil {
		return nil, fmt.Errorf("find the peer %s: %w", name, err)
	}
	var peers []netfault.Peer
	for _, a := range addresses {
		a = a.Unmap().WithZone("")
		prefix, err := a.Prefix(a.BitLen())
		if err != nil {
			return nil, fmt.Errorf("find the peer %s: %w", name, err)
		}
		peers = append(peers, netfault.Peer{Prefix: prefix, Port: port})
	}
	return peers, nil
}
