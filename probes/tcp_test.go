package probes

import (
	"net"
	"strings"
	"testing"
	"time"
)

func TestTCPConnectsAndHangsUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	r, err := look(t, "tcp", map[string]any{"address": l.Addr().String()})
	if err != nil || r["connected"] != true || r["error"] != "" || r["latency"].(time.Duration) <= 0 {
		t.Errorf("read %v, %v", r, err)
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || err.Error() != "EOF" {
		t.Errorf("the server saw %d bytes and %v, want a clean end", n, err)
	}
}

func TestTCPTellsWhatAUserSuffers(t *testing.T) {
	for name, row := range map[string]struct{ address, want string }{
		"nobody listens":        {deaf(t), "refused: 127.0.0.1:"},
		"the name is not known": {"nobody.invalid:80", "name not resolved: "},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := look(t, "tcp", map[string]any{"address": row.address})
			if err != nil || r["connected"] != false || !strings.HasPrefix(r["error"].(string), row.want) {
				t.Errorf("read %v, %v", r, err)
			}
		})
	}
}

func TestTCPSettingsAreChecked(t *testing.T) {
	for _, address := range []string{"", "localhost", ":80", "localhost:", "localhost:http", "localhost:0", "localhost:65536", "::1:80"} {
		if problems := (TCP{Address: address, Timeout: 1}).Check(); len(problems) != 1 || problems[0].Field != "address" {
			t.Errorf("%q: found %v, want one problem of address", address, problems)
		}
	}
	if problems := (TCP{Address: "[::1]:80", Timeout: -1}).Check(); len(problems) != 1 || problems[0].Field != "timeout" {
		t.Errorf("found %v, want one problem of timeout", problems)
	}
}
