package platform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// noTable is a process table that must not be asked.
type noTable struct{ Processes }

// fakeEngine answers the engine's API over TCP, as one of API 1.41 would.
func fakeEngine(t *testing.T, answer http.HandlerFunc) *Docker {
	t.Helper()
	return fakeEngineOf(t, "1.41", answer)
}

func fakeEngineOf(t *testing.T, version string, answer http.HandlerFunc) *Docker {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", version)
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/_ping" {
			return
		}
		if !strings.HasPrefix(r.URL.Path, "/v"+version+"/") {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"message":"client version is too new"}`)
			return
		}
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/v"+version)
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	engine := NewDockerAt("tcp://"+server.Listener.Addr().String(), noTable{})
	t.Cleanup(func() {
		if err := engine.Close(); err != nil {
			t.Error(err)
		}
	})
	return engine
}

func TestEngineErrorsHaveClasses(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		want   error
	}{
		{"not found is gone", http.StatusNotFound, ErrGone},
		{"forbidden is denied", http.StatusForbidden, ErrDenied},
		{"unauthorized is denied", http.StatusUnauthorized, ErrDenied},
		{"unavailable is unreachable", http.StatusServiceUnavailable, ErrUnreachable},
		{"a conflict is none of these", http.StatusConflict, nil},
		{"an error of its own is none of these", http.StatusInternalServerError, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			engine := fakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				fmt.Fprint(w, `{"message":"no such container, permission denied, cannot connect"}`)
			})
			err := engine.Pause(t.Context(), oneID)
			if err == nil {
				t.Fatal("no error")
			}
			for _, class := range []error{ErrGone, ErrDenied, ErrUnreachable, ErrUnsupported, ErrNotOurs} {
				if errors.Is(err, class) != (class == row.want) { //nolint:errorlint // these two are the very same value or not
					t.Errorf("%v: is %q %v", err, class, errors.Is(err, class))
				}
			}
		})
	}
}

func TestEngineThatIsNotThere(t *testing.T) {
	engine := NewDockerAt("unix://"+filepath.Join(t.TempDir(), "no.sock"), noTable{})
	if _, err := engine.List(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no socket: %v, want %v", err, ErrUnreachable)
	}
	if _, err := engine.Info(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("no socket: %v, want %v", err, ErrUnreachable)
	}
}

func TestEngineThatHangsUp(t *testing.T) {
	engine := fakeEngine(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if _, err := engine.Inspect(t.Context(), oneID); !errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want %v", err, ErrUnreachable)
	}
}

func TestEngineThatDoesNotAnswer(t *testing.T) {
	stop := make(chan struct{})
	engine := fakeEngine(t, func(http.ResponseWriter, *http.Request) { <-stop })
	t.Cleanup(func() { close(stop) })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := engine.Inspect(ctx, oneID); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want that it could not be reached in time", err)
	}
	cut, abort := context.WithCancel(t.Context())
	abort()
	if _, err := engine.Inspect(cut, oneID); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("%v, want that it was cut short, and nothing about the engine", err)
	}
}

// Engines before API 1.42 leave a stop's signal out without a word.
func TestStopWithASignal(t *testing.T) {
	for _, row := range []struct {
		name, version, signal string
		want                  []string
	}{
		{"a new engine is asked once", "1.43", "SIGQUIT", []string{"/stop?signal=SIGQUIT&t=3"}},
		{"an old one is told the signal first", "1.41", "SIGQUIT", []string{"/kill?signal=SIGQUIT", "/wait?condition=not-running", "/stop?t=0"}},
		{"without a signal an old one is asked once", "1.41", "", []string{"/stop?t=3"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			var mu sync.Mutex
			var asked []string
			engine := fakeEngineOf(t, row.version, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost {
					return
				}
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, strings.TrimPrefix(r.URL.Path, "/containers/"+oneID)+"?"+r.URL.RawQuery)
				io.WriteString(w, `{"StatusCode":0}`)
			})
			if err := engine.Stop(t.Context(), oneID, 3*time.Second, row.signal); err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(asked, row.want) {
				t.Errorf("asked %v, want %v", asked, row.want)
			}
		})
	}
}

// Who waits for the same answer as another does not wait longer than it may.
func TestInfoOfAnEngineThatHangs(t *testing.T) {
	stop := make(chan struct{})
	engine := fakeEngine(t, func(http.ResponseWriter, *http.Request) { <-stop })
	t.Cleanup(func() { close(stop) })
	for range 3 {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		if _, err := engine.Info(ctx); !errors.Is(err, ErrUnreachable) {
			t.Errorf("%v, want %v", err, ErrUnreachable)
		}
		cancel()
	}
}

// An engine says "not found" of a network that a start needs, too.
func TestStartThatLacksItsNetworkIsNotGone(t *testing.T) {
	engine := fakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"network 123 not found"}`)
			return
		}
		io.WriteString(w, `{"Id":"`+oneID+`","Name":"/web","State":{"Status":"exited"},"Config":{},"HostConfig":{}}`)
	})
	err := engine.Start(t.Context(), oneID)
	if err == nil || errors.Is(err, ErrGone) || !strings.Contains(err.Error(), "network 123 not found") {
		t.Errorf("%v, want the reason, and not that the container is gone", err)
	}
}

// What connecting started ends with Close, though the engine never answers it.
func TestCloseLeavesNothingRunning(t *testing.T) {
	before := goleak.IgnoreCurrent()
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		if strings.HasSuffix(r.URL.Path, "/info") {
			<-stop
		}
		io.WriteString(w, "[]")
	}))
	engine := NewDockerAt("tcp://"+server.Listener.Addr().String(), noTable{})
	if _, err := engine.List(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := engine.Close(); err != nil {
		t.Fatal(err)
	}
	close(stop)
	server.Close()
	goleak.VerifyNone(t, before)
}

func TestHalfAnAnswerIsAnError(t *testing.T) {
	engine := fakeEngine(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"Id":"`+oneID+`","Name":"/web"}`) })
	if _, err := engine.Inspect(t.Context(), oneID); err == nil {
		t.Error("an answer without a state was taken for one")
	}
}

func TestListAsksThreeTimesWhateverThereIs(t *testing.T) {
	var asked atomic.Int32
	engine := fakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/containers/json" {
			return
		}
		asked.Add(1)
		switch filter := r.URL.Query().Get("filters"); {
		case filter == "":
			io.WriteString(w, `[{"Id":"a","Names":["/other/alias","/web"],"State":"running","HostConfig":{"NetworkMode":"host"},
				"Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web","com.docker.compose.oneoff":"True"}},{"Id":"b","Names":["/sick"]},{"Id":"c","Names":["/young"]}]`)
		case strings.Contains(filter, "unhealthy"):
			io.WriteString(w, `[{"Id":"b"}]`)
		default:
			io.WriteString(w, `[{"Id":"c"}]`)
		}
	})
	all, err := engine.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if asked.Load() != 3 {
		t.Errorf("asked %d times, want 3", asked.Load())
	}
	if c := all[0]; c.Name != "web" || c.NetworkMode != "host" || c.Project != "shop" || c.Service != "web" || !c.OneOff || c.Health != "" {
		t.Errorf("listed %+v", c)
	}
	if all[1].Health != "unhealthy" || all[2].Health != "starting" {
		t.Errorf("health %q and %q, want unhealthy and starting", all[1].Health, all[2].Health)
	}
}

func TestInspectsAreBounded(t *testing.T) {
	var now, most atomic.Int32
	all := make(chan struct{})
	engine := fakeEngine(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/info" {
			return
		}
		if n := now.Add(1); n > most.Load() {
			most.Store(n)
		}
		<-all
		now.Add(-1)
		w.WriteHeader(http.StatusNotFound)
	})
	answers := make(chan error)
	for range 2 * inspectsAtOnce {
		go func() {
			_, err := engine.Inspect(t.Context(), oneID)
			answers <- err
		}()
	}
	deadline := time.After(10 * time.Second)
	for now.Load() < inspectsAtOnce {
		select {
		case <-deadline:
			t.Fatalf("only %d at once", now.Load())
		case <-time.After(time.Millisecond):
		}
	}
	close(all)
	for range 2 * inspectsAtOnce {
		if err := <-answers; !errors.Is(err, ErrGone) {
			t.Error(err)
		}
	}
	if most.Load() > inspectsAtOnce {
		t.Errorf("%d at once, want at most %d", most.Load(), inspectsAtOnce)
	}
}

func TestAwaitEndsWithItsContext(t *testing.T) {
	engine := fakeEngine(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"Id":"`+oneID+`","Name":"/web","State":{"Status":"running"},"Config":{},"HostConfig":{}}`)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 120*time.Millisecond)
	defer cancel()
	c, err := engine.Await(ctx, oneID, func(c Container) bool { return c.State == "exited" })
	if !errors.Is(err, context.DeadlineExceeded) || c.State != "running" {
		t.Errorf("gave %q and %v, want what was seen last and why it gave up", c.State, err)
	}
}
