package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"time"
)

// Greeting is what every replica has under GreetingKey from the start.
const (
	GreetingKey = "greeting"
	Greeting    = "hello"
)

// most is how much of a value and of a neighbour's store is read.
const (
	mostValue = 64 << 10
	mostStore = 16 << 20
)

// Replica is one of several stores with the same content.
type Replica struct {
	Name   string
	Listen string   // host:port, on loopback
	Peers  []string // the others, whose content is taken over at the start
}

// store is a replica's content.
type store struct {
	name string

	mu     sync.RWMutex
	values map[string]string
}

// Serve answers until the lifeline ends.
func (r Replica) Serve(lifeline io.Reader) error {
	s := &store{name: r.Name, values: map[string]string{GreetingKey: Greeting}}
	listener, err := net.Listen("tcp", r.Listen)
	if err != nil {
		return fmt.Errorf("start replica %s: %w", r.Name, err)
	}
	s.catchUp(r.Peers)
	return serve(listener, s.handler(), lifeline)
}

// catchUp takes over what a neighbour knows: whoever was killed has missed
// writes. Without a neighbour it begins anew: then nobody has anything.
func (s *store) catchUp(peers []string) {
	client := http.Client{Timeout: 500 * time.Millisecond}
	for _, peer := range peers {
		response, err := client.Get("http://" + peer + "/snapshot")
		if err != nil {
			continue
		}
		values := map[string]string{}
		err = json.NewDecoder(io.LimitReader(response.Body, mostStore)).Decode(&values)
		response.Body.Close()
		if err == nil && response.StatusCode == http.StatusOK {
			maps.Copy(s.values, values) // nobody asks us yet
			return
		}
	}
}

func (s *store) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /kv/{key}", s.get)
	mux.HandleFunc("PUT /kv/{key}", s.put)
	mux.HandleFunc("GET /snapshot", s.snapshot)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	return mux
}

func (s *store) get(w http.ResponseWriter, r *http.Request) {
	s.mu.RLock()
	value, ok := s.values[r.PathValue("key")]
	s.mu.RUnlock()
	w.Header().Set("Replica", s.name)
	if !ok {
		answer(w, http.StatusNotFound, "no such key")
		return
	}
	answer(w, http.StatusOK, value)
}

func (s *store) put(w http.ResponseWriter, r *http.Request) {
	value, err := io.ReadAll(http.MaxBytesReader(w, r.Body, mostValue))
	if err != nil {
		answer(w, http.StatusBadRequest, err.Error())
		return
	}
	s.mu.Lock()
	s.values[r.PathValue("key")] = string(value)
	s.mu.Unlock()
	answer(w, http.StatusOK, "stored")
}

func (s *store) snapshot(w http.ResponseWriter, _ *http.Request) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	w.Header().Set("Content-Type", "application/json")
	// An error here is the neighbour's, who has gone.
	_ = json.NewEncoder(w).Encode(s.values)
}

// answer writes a short text. A client that has gone needs none.
func answer(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}

// serve answers until the lifeline ends: nothing of the demo outlives the demo,
// however that ends.
func serve(listener net.Listener, h http.Handler, lifeline io.Reader) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second}
	go func() {
		_, _ = io.Copy(io.Discard, lifeline) // an error is an end, too
		server.Close()
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve on %s: %w", listener.Addr(), err)
	}
	return nil
}
