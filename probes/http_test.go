package probes

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

func TestMain(m *testing.M) {
	if command, ok := commands[os.Getenv(commandVariable)]; ok {
		os.Exit(command())
	}
	goleak.VerifyTestMain(m)
}

// look opens a probe of the kind and asks once.
func look(t *testing.T, kind string, settings map[string]any) (experiments.Reading, error) {
	t.Helper()
	return open(t, kind, settings).Look(t.Context())
}

// open makes a probe of settings as the parser hands them over: defaults filled in.
func open(t *testing.T, kind string, settings map[string]any) Probe {
	t.Helper()
	return openIn(t, &platform.World{Commands: platform.NewCommands()}, kind, settings)
}

func openIn(t *testing.T, w *platform.World, kind string, settings map[string]any) Probe {
	t.Helper()
	k, ok := Find(kind)
	if !ok {
		t.Fatalf("there is no probe %q", kind)
	}
	written, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	whole := k.Settings()
	if err := json.Unmarshal(written, whole); err != nil {
		t.Fatal(err)
	}
	if problems := whole.(experiments.Checker).Check(); len(problems) > 0 {
		t.Fatalf("settings %s: %v", written, problems)
	}
	canonical, err := json.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	p, err := k.Open(w, canonical)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return p
}

func serve(t *testing.T, answer http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(answer)
	t.Cleanup(s.Close)
	return s
}

func TestHTTPSaysWhatTheServiceSaid(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Asked", fmt.Sprintf("%s %s %s %s", r.Method, r.Host, r.Header.Get("X-Key"), r.Header.Get("Accept-Encoding")))
		w.WriteHeader(http.StatusTeapot)
		fmt.Fprint(w, "short and stout")
	})
	r, err := look(t, "http", map[string]any{
		"url": s.URL + "/", "method": "POST", "body": "x", "headers": map[string]string{"Host": "shop.example", "X-Key": "v"},
	})
	if err != nil {
		t.Fatal(err)
	}
	headers := r["headers"].(map[string]string)
	if r["status"] != int64(418) || r["body"] != "short and stout" || r["error"] != "" || headers["x-asked"] != "POST shop.example v" {
		t.Errorf("read %v", r)
	}
	if l := r["latency"].(time.Duration); l <= 0 || l > time.Second {
		t.Errorf("latency is %s", l)
	}
}

func TestHTTPAsksAsANewVisitorUnlessToldToReuse(t *testing.T) {
	for _, row := range []struct {
		name   string
		reuse  bool
		visits int
	}{
		{"each question connects anew by default", false, 3},
		{"reuse keeps the connection", true, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			from := map[string]bool{}
			s := serve(t, func(_ http.ResponseWriter, r *http.Request) { from[r.RemoteAddr] = true })
			p := open(t, "http", map[string]any{"url": s.URL, "reuse": row.reuse})
			for range 3 {
				if r, err := p.Look(t.Context()); err != nil || r["status"] != int64(200) {
					t.Fatalf("look: %v, %v", r, err)
				}
			}
			if len(from) != row.visits {
				t.Errorf("3 questions came over %d connections, want %d", len(from), row.visits)
			}
		})
	}
}

func TestHTTPKeepsTheFirst64KiBOfABody(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		for range 1000 {
			fmt.Fprint(w, strings.Repeat("x", 1024))
		}
	})
	r, err := look(t, "http", map[string]any{"url": s.URL})
	if err != nil || r["status"] != int64(200) || len(r["body"].(string)) != 64<<10 {
		t.Errorf("status %v, %d bytes of body, %v", r["status"], len(r["body"].(string)), err)
	}
}

func TestHTTPFollowsRedirectsUnlessToldNotTo(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/old":
			http.Redirect(w, r, "/new", http.StatusFound)
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		}
	})
	nowhere := deaf(t)
	away := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://"+nowhere, http.StatusFound) })
	if r, err := look(t, "http", map[string]any{"url": away.URL}); err != nil || !strings.HasPrefix(r["error"].(string), "refused: "+nowhere) {
		t.Errorf("the place that refused is not named: %v, %v", r, err)
	}
	for _, row := range []struct {
		name, path string
		follow     bool
		status     int64
		problem    string
	}{
		{"a redirect is followed", "/old", true, 200, ""},
		{"a redirect is shown", "/old", false, 302, ""},
		{"a loop ends", "/loop", true, 0, "redirects more than 10 times"},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := look(t, "http", map[string]any{"url": s.URL + row.path, "follow_redirects": row.follow})
			if err != nil || r["status"] != row.status || !strings.Contains(r["error"].(string), row.problem) {
				t.Errorf("read %v, %v", r, err)
			}
		})
	}
}

// What the service's user would have suffered is a reading; its status is 0 and it says what happened.
func TestH70_WhatAUserSuffersIsAReading(t *testing.T) {
	released := make(chan struct{})
	slow := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-released:
		}
	})
	t.Cleanup(func() { close(released) }) // before the server is closed
	half := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		fmt.Fprint(w, "half")
		panic(http.ErrAbortHandler)
	})
	plain := serve(t, func(http.ResponseWriter, *http.Request) {})
	for _, row := range []struct {
		name     string
		settings map[string]any
		want     string
	}{
		{"nobody listens", map[string]any{"url": "http://" + deaf(t)}, "refused: 127.0.0.1:"},
		{"the connection is reset", map[string]any{"url": "http://" + resetting(t)}, "reset: 127.0.0.1:"},
		{"the answer breaks off", map[string]any{"url": half.URL}, "reset: 127.0.0.1:"},
		{"the answer takes too long", map[string]any{"url": slow.URL, "timeout": "50ms"}, "timeout: no answer from 127.0.0.1:"},
		{"the name is not known", map[string]any{"url": "http://nobody.invalid/"}, "name not resolved: "},
		{"the certificate has expired", map[string]any{"url": expired(t)}, "TLS failed: the certificate is valid from 2001-01-01T00:00:00Z to 2002-01-01T00:00:00Z only"},
		{"nobody vouches for the certificate", map[string]any{"url": secure(t).URL}, "TLS failed: x509: certificate signed by unknown authority"},
		{"the certificate is another server's", map[string]any{"url": secure(t).URL, "tls": map[string]any{"ca": caOf(t, secure(t)), "server_name": "other.example.org"}}, "TLS failed: x509: certificate is valid for"},
		{"the server speaks no TLS", map[string]any{"url": strings.Replace(plain.URL, "http:", "https:", 1)}, "TLS failed: "},
	} {
		t.Run(row.name, func(t *testing.T) {
			r, err := look(t, "http", row.settings)
			if err != nil {
				t.Fatalf("taken for our own inability: %v", err)
			}
			if said := r["error"].(string); !strings.HasPrefix(said, row.want) || r["status"] != int64(0) {
				t.Errorf("said %q with status %v, want %q…", said, r["status"], row.want)
			}
		})
	}
}

func TestHTTPTrustsWhomItsAuthorTrusts(t *testing.T) {
	s := secure(t)
	for name, trust := range map[string]map[string]any{
		"a certificate of the author's": {"ca": caOf(t, s)},
		"anybody, if told so":           {"insecure": true},
		"a name of the author's":        {"ca": caOf(t, s), "server_name": "example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			if r, err := look(t, "http", map[string]any{"url": s.URL, "tls": trust}); err != nil || r["status"] != int64(200) {
				t.Errorf("read %v, %v", r, err)
			}
		})
	}
}

func TestHTTPTellsTheEndOfTheRunFromAFailure(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if r, err := open(t, "http", map[string]any{"url": s.URL}).Look(ctx); err == nil {
		t.Errorf("a question that we cut off ourselves became an answer: %v", r)
	}
}

func TestHTTPNeverRepeatsTheSecretsOfAURL(t *testing.T) {
	r, err := look(t, "http", map[string]any{"url": "http://user:hunter2@" + deaf(t) + "/?token=hunter2"})
	if err != nil || r["error"] == "" || strings.Contains(r["error"].(string), "hunter2") {
		t.Errorf("read %v, %v", r, err)
	}
}

func TestHTTPSettingsAreChecked(t *testing.T) {
	for _, row := range []struct {
		name  string
		s     HTTP
		field string
	}{
		{"no URL", HTTP{Timeout: 1}, "url"},
		{"another scheme", HTTP{URL: "ftp://x/", Timeout: 1}, "url"},
		{"no scheme", HTTP{URL: "localhost:8080", Timeout: 1}, "url"},
		{"no host", HTTP{URL: "http:///health", Timeout: 1}, "url"},
		{"a broken URL", HTTP{URL: "http://[::1", Timeout: 1}, "url"},
		{"a broken method", HTTP{URL: "http://x/", Method: "GET IT", Timeout: 1}, "method"},
		{"a broken header", HTTP{URL: "http://x/", Headers: map[string]string{"a b": ""}, Timeout: 1}, "headers"},
		{"no time", HTTP{URL: "http://x/"}, "timeout"},
		{"a CA that nobody looks at", HTTP{URL: "https://x/", TLS: &TLS{CA: "a", Insecure: true}, Timeout: 1}, "tls.insecure"},
	} {
		t.Run(row.name, func(t *testing.T) {
			if problems := row.s.Check(); len(problems) != 1 || problems[0].Field != row.field {
				t.Errorf("found %v, want one problem of %s", problems, row.field)
			}
		})
	}
}

// deaf is an address that nobody listens on, nor will: a connection of our own has the port.
func deaf(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn.LocalAddr().String()
}

// resetting is an address that answers every connection by a reset.
func resetting(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			// Only after the question is here: a reset before it could also be a refusal to some clients.
			_, _ = conn.Read(make([]byte, 1))
			_ = conn.(*net.TCPConn).SetLinger(0)
			conn.Close()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return l.Addr().String()
}

func secure(t *testing.T) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func caOf(t *testing.T, s *httptest.Server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// expired is the URL of a server whose certificate was good twenty years ago.
func expired(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2002, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	raw, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}
