package netfault

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Peer is the other end of a connection: addresses, a port, or both. It is
// always the peer's side, whichever way the packets go.
type Peer struct {
	Prefix netip.Prefix // not valid: any address
	Port   uint16       // 0: any port
}

// ParsePeer reads ADDRESS, CIDR, [V6]:PORT, ADDRESS:PORT, CIDR:PORT or :PORT.
// A name is not a peer: its addresses are (see Named).
func ParsePeer(text string) (Peer, error) {
	host, port, err := splitPort(text)
	if err != nil {
		return Peer{}, err
	}
	if host == "" {
		return Peer{Port: port}, nil
	}
	prefix, err := parsePrefix(host)
	if err != nil {
		return Peer{}, fmt.Errorf("read peer %q: %w", text, err)
	}
	return Peer{Prefix: prefix, Port: port}, nil
}

// Named says whether the text is a host name with an optional port, and gives both.
func Named(text string) (name string, port uint16, ok bool) {
	host, port, err := splitPort(text)
	if err != nil || host == "" {
		return "", 0, false
	}
	if _, err := parsePrefix(host); err == nil || strings.ContainsAny(host, "/:%[] ") {
		return "", 0, false
	}
	if strings.Trim(host, "0123456789.") == "" {
		return "", 0, false // a mistyped address, not a name
	}
	return host, port, validName(host)
}

func validName(host string) bool {
	if len(host) > 253 {
		return false
	}
	for _, label := range strings.Split(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for _, c := range label {
			if !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_", c) {
				return false
			}
		}
	}
	return true
}

// splitPort takes the port off; a bare IPv6 address has none.
func splitPort(text string) (host string, port uint16, err error) {
	digits, has := "", false
	switch {
	case strings.HasPrefix(text, "["):
		inside, rest, closed := strings.Cut(text[1:], "]")
		if !closed || (rest != "" && !strings.HasPrefix(rest, ":") && !strings.HasPrefix(rest, "/")) {
			return "", 0, fmt.Errorf("read peer %q: write [v6]:port", text)
		}
		length, behind, _ := strings.Cut(rest, ":")
		host, digits, has = inside+length, behind, strings.Contains(rest, ":")
	case strings.Count(text, ":") == 1:
		host, digits, has = cutLast(text)
	default:
		host = text
	}
	if !has {
		if host == "" {
			return "", 0, fmt.Errorf("read peer %q: it is empty", text)
		}
		return host, 0, nil
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || n == 0 {
		return "", 0, fmt.Errorf("read peer %q: the port must be 1 to 65535", text)
	}
	return host, uint16(n), nil
}

func cutLast(text string) (before, after string, ok bool) {
	i := strings.LastIndexByte(text, ':')
	return text[:i], text[i+1:], true
}

func parsePrefix(host string) (netip.Prefix, error) {
	if strings.Contains(host, "%") {
		return netip.Prefix{}, fmt.Errorf("address %q has a zone: write it without, it is matched on every interface", host)
	}
	if !strings.Contains(host, "/") {
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("address %q: write an IPv4 or IPv6 address, a CIDR or a name", host)
		}
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	prefix, err := netip.ParsePrefix(host)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("range %q: write a CIDR as 10.0.3.0/24", host)
	}
	if prefix.Masked() != prefix {
		return netip.Prefix{}, fmt.Errorf("range %q has host bits set: did you mean %s?", host, prefix.Masked())
	}
	return unmapPrefix(prefix)
}

// unmapPrefix turns ::ffff:10.0.0.0/104 into 10.0.0.0/8: on the wire it is IPv4.
func unmapPrefix(p netip.Prefix) (netip.Prefix, error) {
	if !p.Addr().Is4In6() {
		return p, nil
	}
	if p.Bits() < 96 {
		return netip.Prefix{}, fmt.Errorf("range %q covers more than the mapped IPv4 addresses: write the IPv4 range", p)
	}
	return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96), nil
}

// String writes the peer so that ParsePeer reads it again.
func (p Peer) String() string {
	host := ""
	if p.Prefix.IsValid() {
		host = p.Prefix.Addr().String()
		if p.Port != 0 && p.Prefix.Addr().Is6() {
			host = "[" + host + "]"
		}
		if !p.Prefix.IsSingleIP() {
			host += "/" + strconv.Itoa(p.Prefix.Bits())
		}
	}
	if p.Port == 0 {
		return host
	}
	return host + ":" + strconv.Itoa(int(p.Port))
}

// MarshalJSON writes the peer as its author would.
func (p Peer) MarshalJSON() ([]byte, error) { return json.Marshal(p.String()) }

// UnmarshalJSON reads what MarshalJSON wrote.
func (p *Peer) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("read peer %s: %w", b, err)
	}
	peer, err := ParsePeer(text)
	*p = peer
	return err
}

// portGroup is the peers that share a port: one rule for each family.
type portGroup struct {
	port     uint16 // 0: any
	anywhere bool   // any address of both families
	v4, v6   []netip.Prefix
}

// byPort groups peers; ranges inside other ranges are left out, for interval
// sets refuse overlaps.
func byPort(peers []Peer) []portGroup {
	groups := map[uint16]*portGroup{}
	for _, p := range peers {
		g := groups[p.Port]
		if g == nil {
			g = &portGroup{port: p.Port}
			groups[p.Port] = g
		}
		switch {
		case !p.Prefix.IsValid():
			g.anywhere = true
		case p.Prefix.Addr().Is4():
			g.v4 = append(g.v4, p.Prefix)
		default:
			g.v6 = append(g.v6, p.Prefix)
		}
	}
	sorted := make([]portGroup, 0, len(groups))
	for _, g := range groups {
		g.v4, g.v6 = disjoint(g.v4), disjoint(g.v6)
		sorted = append(sorted, *g)
	}
	slices.SortFunc(sorted, func(a, b portGroup) int { return cmp.Compare(a.port, b.port) })
	return sorted
}

// disjoint sorts and drops what another prefix contains: prefixes never overlap otherwise.
func disjoint(prefixes []netip.Prefix) []netip.Prefix {
	slices.SortFunc(prefixes, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var kept []netip.Prefix
	for _, p := range prefixes {
		if n := len(kept); n > 0 && kept[n-1].Overlaps(p) {
			continue
		}
		kept = append(kept, p)
	}
	return kept
}
