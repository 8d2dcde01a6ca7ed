package scheduler

import (
	"slices"
	"testing"
)

func TestTheControlPathIsTheSSHSessionAndAnEngineOverTCP(t *testing.T) {
	for _, c := range []struct {
		name, ssh, engine string
		want              []string
	}{
		{"neither", "", "unix:///var/run/docker.sock", nil},
		{"an ssh session", "203.0.113.5 51234 10.0.0.1 22", "", []string{"203.0.113.5:51234"}},
		{"an ssh session over IPv6", "2001:db8::1 51234 2001:db8::2 22", "", []string{"[2001:db8::1]:51234"}},
		{"an engine over TCP", "", "tcp://10.0.0.9:2376", []string{"10.0.0.9:2376"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ControlPath(c.ssh, c.engine); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}
