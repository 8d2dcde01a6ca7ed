package netfault

import (
	"encoding/json"
	"net/netip"
	"testing"
)

func TestParsePeer(t *testing.T) {
	for _, row := range []struct{ name, text, want string }{
		{"an IPv4 address", "10.0.3.7", "10.0.3.7"},
		{"an IPv4 address with a port", "10.0.3.7:5432", "10.0.3.7:5432"},
		{"a port alone", ":5432", ":5432"},
		{"a range", "10.0.3.0/24", "10.0.3.0/24"},
		{"a range with a port", "10.0.3.0/24:80", "10.0.3.0/24:80"},
		{"a bare IPv6 address", "fd00::7", "fd00::7"},
		{"an IPv6 address with a port", "[fd00::7]:5432", "[fd00::7]:5432"},
		{"an IPv6 address in brackets", "[fd00::7]", "fd00::7"},
		{"an IPv6 range", "fd00::/64", "fd00::/64"},
		{"an IPv6 range with a port", "[fd00::]/64:53", "[fd00::]/64:53"},
		{"a link-local address", "fe80::1", "fe80::1"},
		{"a mapped address is IPv4 on the wire", "::ffff:10.0.3.7", "10.0.3.7"},
		{"a mapped range is IPv4 on the wire", "::ffff:10.0.0.0/104", "10.0.0.0/8"},
	} {
		t.Run(row.name, func(t *testing.T) {
			p, err := ParsePeer(row.text)
			if err != nil || p.String() != row.want {
				t.Fatalf("ParsePeer(%q) = %q, %v; want %q", row.text, p, err, row.want)
			}
			raw, err := json.Marshal(p)
			var again Peer
			if err != nil || json.Unmarshal(raw, &again) != nil || again != p {
				t.Fatalf("%s does not survive JSON: %s, %v", p, raw, err)
			}
		})
	}
}

func TestParsePeerRefuses(t *testing.T) {
	for _, text := range []string{"", ":", ":0", ":65536", ":http", "10.0.3", "10.0.3.7/33", "10.0.3.7/24", "fe80::1%eth0",
		"[fd00::7", "[fd00::7]5432", "::ffff:10.0.0.0/90", "10.0.3.7:-1", "a b", "10.0.3.0/24:"} {
		if p, err := ParsePeer(text); err == nil {
			t.Errorf("ParsePeer(%q) = %s, want a refusal", text, p)
		}
		if name, _, ok := Named(text); ok {
			t.Errorf("Named(%q) takes it for the name %q", text, name)
		}
	}
}

func TestNamed(t *testing.T) {
	for text, want := range map[string]string{"db": "db", "db:5432": "db", "db.example.test.": "db.example.test.", "my_db-1:1": "my_db-1"} {
		if name, _, ok := Named(text); !ok || name != want {
			t.Errorf("Named(%q) = %q, %v; want %q", text, name, ok, want)
		}
	}
}

func TestByPortDropsRangesInsideOthers(t *testing.T) {
	var peers []Peer
	for _, text := range []string{"10.1.2.3", "10.0.0.0/8", "10.0.0.0/8", "11.0.0.1", "fd00::1", "fd00::/16", ":80", "10.0.0.1:80"} {
		p, err := ParsePeer(text)
		if err != nil {
			t.Fatal(err)
		}
		peers = append(peers, p)
	}
	groups := byPort(peers)
	if len(groups) != 2 || groups[0].port != 0 || groups[0].anywhere || !groups[1].anywhere {
		t.Fatalf("groups %+v", groups)
	}
	if got := groups[0].v4; len(got) != 2 || got[0] != netip.MustParsePrefix("10.0.0.0/8") || got[1] != netip.MustParsePrefix("11.0.0.1/32") {
		t.Errorf("IPv4 ranges %v", got)
	}
	if got := groups[0].v6; len(got) != 1 {
		t.Errorf("IPv6 ranges %v", got)
	}
}

func FuzzParsePeer(f *testing.F) {
	for _, seed := range []string{"10.0.3.7:5432", "[fd00::]/64:53", ":1", "::ffff:1.2.3.4/96"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePeer(text)
		if err != nil {
			return
		}
		if again, err := ParsePeer(p.String()); err != nil || again != p {
			t.Fatalf("%q reads as %s, and that as %s, %v", text, p, again, err)
		}
	})
}
