package demo

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// startStore runs a replica in this process.
func startStore(t *testing.T, name string, peers ...string) *httptest.Server {
	t.Helper()
	s := &store{name: name, values: map[string]string{GreetingKey: Greeting}}
	s.catchUp(peers)
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	return server
}

func address(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// startBalancer trusts every backend, and asks none for its health.
func startBalancer(t *testing.T, backends ...*backend) (*balancer, string) {
	t.Helper()
	l := &balancer{client: http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, backends: backends}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", l.read)
	mux.HandleFunc("PUT /kv/{key}", l.write)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return l, server.URL
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func put(t *testing.T, url, value string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url, strings.NewReader(value))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	return string(body)
}

func TestDeadReplicaCostsNothing(t *testing.T) {
	dead, well := startStore(t, "a"), startStore(t, "b")
	l, url := startBalancer(t, &backend{name: "a", addr: address(dead)}, &backend{name: "b", addr: address(well)})
	dead.Close()
	for range 4 {
		if status, body := get(t, url+"/kv/greeting"); status != http.StatusOK || body != Greeting {
			t.Errorf("got %d %q, want the greeting", status, body)
		}
	}
	if n := len(l.inRotation()); n != 1 {
		t.Errorf("%d replicas in rotation, want the dead one left out", n)
	}
}

func TestHangingReplicaCostsItsTurns(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hanging.Close()
	defer close(release)
	one := &backend{name: "kv-9", addr: address(hanging)}
	l, url := startBalancer(t, one)
	status, body := get(t, url+"/kv/greeting")
	if status != http.StatusGatewayTimeout || body != "kv-9 hangs, and the health check is too slow to notice it" {
		t.Errorf("got %d %q", status, body)
	}
	if len([]rune(body)) > 60 {
		t.Errorf("%q is longer than what a report quotes", body)
	}
	for n := 1; n <= CheckFall; n++ {
		if one.out {
			t.Errorf("left out after %d failed checks, want %d", n-1, CheckFall)
		}
		l.checked(one, false)
	}
	if status, _ := get(t, url+"/kv/greeting"); status != http.StatusServiceUnavailable {
		t.Errorf("got %d with no replica in rotation, want 503", status)
	}
	l.checked(one, true)
	if n := len(l.inRotation()); n != 1 {
		t.Errorf("%d in rotation after a good check, want it back", n)
	}
}

func TestRestartedReplicaKnowsWhatItMissed(t *testing.T) {
	first, second := startStore(t, "a"), startStore(t, "b")
	_, url := startBalancer(t, &backend{name: "a", addr: address(first)}, &backend{name: "b", addr: address(second)})
	if said := put(t, url+"/kv/colour", "blue"); said != "stored on 2" {
		t.Errorf("the write says %q", said)
	}
	again := startStore(t, "a", "127.0.0.1:1", address(second)) // one neighbour is down
	if status, body := get(t, again.URL+"/kv/colour"); status != http.StatusOK || body != "blue" {
		t.Errorf("got %d %q, want blue", status, body)
	}
	if status, _ := get(t, again.URL+"/kv/nothing"); status != http.StatusNotFound {
		t.Errorf("got %d for a key that is not there", status)
	}
}

func TestPartEndsWithItsLifeline(t *testing.T) {
	read, write := io.Pipe()
	ended := make(chan error, 1)
	addresses, err := freeAddresses(1)
	if err != nil {
		t.Fatal(err)
	}
	go func() { ended <- Replica{Name: "a", Listen: addresses[0]}.Serve(read) }()
	testenv.Eventually(t, 5*time.Second, "it answers", func() bool {
		response, err := http.Get("http://" + addresses[0] + "/healthz")
		if err == nil {
			response.Body.Close()
		}
		return err == nil
	})
	write.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(5 * time.Second):
		t.Error("it goes on without its supervisor")
	}
}
