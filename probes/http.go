package probes

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// DefaultTimeout is how long a probe waits for its answer when its author said nothing.
const DefaultTimeout = experiments.Duration(time.Second)

const (
	maxBody      = 64 << 10
	maxRedirects = 10
)

// HTTP asks a URL as a new visitor does: each question resolves the name,
// connects, verifies and asks again. A connection that is kept open would hide
// that nobody new gets in; Reuse asks for one all the same. Proxies named by the
// environment are not used: it is the service that is asked.
type HTTP struct {
	URL             string               `json:"url"`
	Method          string               `json:"method,omitempty"`
	Headers         map[string]string    `json:"headers,omitempty"`
	Body            string               `json:"body,omitempty"`
	Timeout         experiments.Duration `json:"timeout,omitempty"`
	TLS             *TLS                 `json:"tls,omitempty"`
	FollowRedirects bool                 `json:"follow_redirects"`
	Reuse           bool                 `json:"reuse,omitempty"`
}

// TLS says whom to believe. Certificates are verified unless Insecure.
type TLS struct {
	CA         string `json:"ca,omitempty"` // a file of PEM certificates, instead of the system's
	Insecure   bool   `json:"insecure,omitempty"`
	ServerName string `json:"server_name,omitempty"`
}

// Check gives every problem of the settings at once.
func (s HTTP) Check() []experiments.FieldProblem {
	var problems []experiments.FieldProblem
	add := func(field, problem string) {
		problems = append(problems, experiments.FieldProblem{Field: field, Problem: problem})
	}
	switch u, err := url.Parse(s.URL); {
	case s.URL == "":
		add("url", "no URL: write one as http://127.0.0.1:8080/health")
	case err != nil:
		add("url", fmt.Sprintf("%q is no URL: write one as http://127.0.0.1:8080/health", s.URL))
	case u.Scheme != "http" && u.Scheme != "https":
		add("url", fmt.Sprintf("%q is neither http:// nor https://", s.URL))
	case u.Hostname() == "":
		add("url", fmt.Sprintf("%q names no host", s.URL))
	default:
		if _, err := http.NewRequest(s.Method, s.URL, nil); err != nil {
			add("method", fmt.Sprintf("%q is no HTTP method: write GET, POST, HEAD …", s.Method))
		}
	}
	for name := range s.Headers {
		if name == "" || strings.ContainsAny(name, " \t\r\n:") {
			add("headers", fmt.Sprintf("%q is no header name", name))
		}
	}
	if s.TLS != nil && s.TLS.Insecure && s.TLS.CA != "" {
		add("tls.insecure", "nothing is verified with insecure: true, so ca has no use; leave one of them out")
	}
	return append(problems, checkTimeout(s.Timeout)...)
}

func checkTimeout(d experiments.Duration) []experiments.FieldProblem {
	if d > 0 {
		return nil
	}
	return []experiments.FieldProblem{{Field: "timeout", Problem: fmt.Sprintf("%s leaves no time to answer: write a length above 0, as 1s", d)}}
}

func httpKind() Kind {
	return Kind{
		ProbeKind: experiments.ProbeKind{
			Kind: "http", Summary: "asks a URL: status, latency, body, headers; TLS verified",
			Settings: func() any { return &HTTP{Timeout: DefaultTimeout, FollowRedirects: true} },
			Expect:   "200 <= status && status < 400",
			Reading: experiments.Reading{
				"status": int64(200), "latency": 12 * time.Millisecond, "body": "ok",
				"headers": map[string]string{"content-type": "text/plain"}, "error": "",
			},
		},
		Open: openHTTP,
		Example: `# Asks a URL as a new visitor does: a new connection each time, TLS verified, redirects followed.
- name: storefront answers
  http: {url: "http://127.0.0.1:8080/", timeout: 1s}
  # What a good answer is: CEL over status, latency, body, headers and error.
  expect: status == 200 && latency < duration("250ms")
  every: 100ms
  tolerate: {during: 99%, outage: 2s, recover: 10s}
`,
	}
}

type httpProbe struct {
	settings HTTP
	client   *http.Client
	asked    string
	header   http.Header
	host     string
	timeout  time.Duration
}

func openHTTP(_ *platform.World, raw json.RawMessage) (Probe, error) {
	s := HTTP{FollowRedirects: true}
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, fmt.Errorf("read the settings of an http probe: %w", err)
	}
	u, err := url.Parse(s.URL)
	if err != nil {
		return nil, fmt.Errorf("read the URL of an http probe: %w", err)
	}
	trust, err := s.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("open http probe of %s: %w", u.Redacted(), err)
	}
	p := &httpProbe{settings: s, asked: u.Host, header: http.Header{}, timeout: orDefault(s.Timeout)}
	for name, value := range s.Headers {
		p.header.Set(name, value)
	}
	p.host = p.header.Get("Host") // net/http takes it from the request, not from its headers
	p.header.Del("Host")
	p.client = &http.Client{
		Transport: &http.Transport{
			DialContext:        dial,
			TLSClientConfig:    trust,
			ForceAttemptHTTP2:  true,
			DisableKeepAlives:  !s.Reuse,
			DisableCompression: true, // body and headers are shown as the service sent them
			MaxIdleConns:       16,
			IdleConnTimeout:    90 * time.Second,
		},
	}
	if !s.FollowRedirects {
		p.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	} else {
		p.client.CheckRedirect = stopRedirects
	}
	return p, nil
}

var errRedirects = errors.New("too many redirects")

func stopRedirects(_ *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return errRedirects
	}
	return nil
}

func (t *TLS) config() (*tls.Config, error) {
	if t == nil {
		return &tls.Config{}, nil
	}
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.Insecure} //nolint:gosec // the author asked for it by name
	if t.CA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.CA)
	if err != nil {
		return nil, fmt.Errorf("read the certificates to trust (tls.ca): %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read the certificates to trust (tls.ca): no PEM certificate in %s", t.CA)
	}
	return c, nil
}

func orDefault(d experiments.Duration) time.Duration {
	if d <= 0 {
		return DefaultTimeout.Std()
	}
	return d.Std()
}

// Look asks once. Status stays 0 unless the whole answer came.
func (p *httpProbe) Look(parent context.Context) (experiments.Reading, error) {
	ctx, cancel := context.WithTimeout(parent, p.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, p.settings.Method, p.settings.URL, strings.NewReader(p.settings.Body))
	if err != nil {
		return nil, fmt.Errorf("make the request to %s: %w", p.asked, err)
	}
	request.Header, request.Host = p.header.Clone(), p.host
	start := time.Now()
	status, headers, body, err := p.ask(request)
	latency := time.Since(start)
	reading := experiments.Reading{
		"status": int64(status), "latency": latency, "body": body, "headers": headers, "error": "",
	}
	if err == nil {
		return reading, nil
	}
	asked, err := p.unnamed(err)
	if parent.Err() != nil || cannotLook(err) {
		return nil, fmt.Errorf("ask %s: %w", asked, err)
	}
	reading["status"], reading["error"] = int64(0), p.suffered(err, asked)
	return reading, nil
}

func (p *httpProbe) ask(request *http.Request) (status int, headers map[string]string, body string, err error) {
	headers = map[string]string{}
	response, err := p.client.Do(request)
	if err != nil {
		return 0, headers, "", err
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		headers[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	raw, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	return response.StatusCode, headers, strings.ToValidUTF8(string(raw), "\uFFFD"), err
}

func (p *httpProbe) suffered(err error, asked string) string {
	if errors.Is(err, errRedirects) {
		return fmt.Sprintf("failed: %s redirects more than %d times", p.asked, maxRedirects)
	}
	return suffered(err, asked, p.timeout)
}

// unnamed takes the wrapper with the URL off an error: there may be a secret in
// it. What stays of the URL is the host, after redirects not always the first one.
func (p *httpProbe) unnamed(err error) (asked string, inner error) {
	var named *url.Error
	if !errors.As(err, &named) {
		return p.asked, err
	}
	if u, bad := url.Parse(named.URL); bad == nil && u.Host != "" {
		return u.Host, named.Err
	}
	return p.asked, named.Err
}

// Close ends connections that were kept for reuse.
func (p *httpProbe) Close() error {
	p.client.CloseIdleConnections()
	return nil
}
