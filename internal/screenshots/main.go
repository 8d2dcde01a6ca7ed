// Command screenshots renders reports with headless Chromium into docs/img, so
// that a change of the report is looked at: desktop, phone, dark, print and
// Markdown. It needs chromium and pdftoppm, and says so where they are missing.
//
// It refuses to reach the network: pages are read from files, and Chromium is
// started without its background connections.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"html"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	unsafehtml "github.com/yuin/goldmark/renderer/html"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

func main() {
	out := flag.String("out", filepath.Join("docs", "img"), "where the pictures go")
	name := flag.String("canned", "failed", "which canned run is shown, where no other is asked for")
	dir := flag.String("run", "", "a run's folder: its record is shown")
	demo := flag.String("demo", "", "a faultline binary: its demo is run, and the one of its runs that failed is shown")
	flag.Parse()
	if err := shoot(*out, *name, *dir, *demo); err != nil {
		fmt.Fprintln(os.Stderr, "screenshots:", err)
		os.Exit(1)
	}
}

// limit bounds one start of Chromium.
const limit = 2 * time.Minute

func shoot(out, name, dir, demo string) error {
	scratch, err := os.MkdirTemp("", "faultline-screenshots-")
	if err != nil {
		return fmt.Errorf("make a scratch folder: %w", err)
	}
	defer os.RemoveAll(scratch)
	if demo != "" {
		if dir, err = failedDemo(demo, filepath.Join(scratch, "home")); err != nil {
			return err
		}
	}
	summary, err := summaryOf(name, dir)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return fmt.Errorf("make %s: %w", out, err)
	}
	s := studio{scratch: scratch, out: out}
	page, err := s.write("report.html", reports.HTML, summary)
	if err != nil {
		return err
	}
	text, err := s.write("report.md", reports.Markdown, summary)
	if err != nil {
		return err
	}
	comment, err := s.comment(text)
	if err != nil {
		return err
	}
	phone, err := s.phone()
	if err != nil {
		return err
	}
	return errors.Join(
		s.picture("report.png", page, 1180, 5000, 0),
		s.picture("report-dark.png", page, 1180, 5000, 1500, "--blink-settings=preferredColorScheme=0"),
		s.picture("report-phone.png", phone, 390, 9000, 3000),
		s.picture("report-markdown.png", comment, 1000, 3000, 1900),
		s.print("report-print.png", page),
	)
}

// failedDemo runs the demo with a state directory of its own and finds the run that was meant to fail.
func failedDemo(binary, home string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	c := exec.CommandContext(ctx, binary, "demo")
	c.Env = append(os.Environ(), "FAULTLINE_HOME="+home)
	if said, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("run %s demo: %w: %s", binary, err, lastOf(string(said)))
	}
	dirs, err := filepath.Glob(filepath.Join(home, "runs", "*"))
	if err != nil {
		return "", fmt.Errorf("find the demo's runs: %w", err)
	}
	for _, dir := range dirs {
		summary, err := summaryOf("", dir)
		if err != nil {
			return "", err
		}
		if summary.Verdict == experiments.Failed {
			return dir, nil
		}
	}
	return "", fmt.Errorf("none of the demo's %d runs failed", len(dirs))
}

func summaryOf(name, dir string) (reports.Summary, error) {
	if dir != "" {
		run := journal.Run{ID: filepath.Base(dir), Dir: dir}
		record, err := run.Read()
		if err != nil {
			return reports.Summary{}, err
		}
		return reports.Fold(record.Events, journal.ReadSamples(run.Samples()))
	}
	r, ok := canned.Find(name)
	if !ok {
		return reports.Summary{}, fmt.Errorf("there is no canned run %q", name)
	}
	return reports.Fold(r.Events, r.Samples())
}

// studio makes pictures of pages.
type studio struct{ scratch, out string }

func (s studio) write(name string, render reports.Render, summary reports.Summary) (string, error) {
	var text bytes.Buffer
	if err := render(&text, summary); err != nil {
		return "", err
	}
	return s.file(name, text.Bytes())
}

func (s studio) file(name string, text []byte) (string, error) {
	path := filepath.Join(s.scratch, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return path, nil
}

// comment shows Markdown about as a pull request does.
func (s studio) comment(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read %s: %w", path, err)
	}
	var body bytes.Buffer
	github := goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(unsafehtml.WithUnsafe()))
	if err := github.Convert(text, &body); err != nil {
		return "", fmt.Errorf("render %s: %w", path, err)
	}
	return s.file("comment.html", []byte(`<!doctype html><meta charset="utf-8"><style>`+commentStyle+`</style><div class="comment">`+body.String()+`</div>`))
}

const commentStyle = `body{margin:0;padding:16px;background:#fff;color:#1f2328;font:14px/1.5 system-ui,"DejaVu Sans",sans-serif}
.comment{border:1px solid #d1d9e0;border-radius:6px;padding:16px}
table{border-collapse:collapse;display:block;max-width:100%;overflow:auto;margin:0 0 16px}th,td{border:1px solid #d1d9e0;padding:6px 13px}
tr:nth-child(2n){background:#f6f8fa}h2{border-bottom:1px solid #d1d9e0;padding-bottom:.3em}blockquote{margin:0 0 16px;padding:0 1em;color:#59636e;border-left:.25em solid #d1d9e0}
pre{background:#f6f8fa;padding:16px;border-radius:6px}summary{cursor:pointer}`

// phone frames the page at 390 px: Chromium's own window does not get that narrow.
func (s studio) phone() (string, error) {
	frame := fmt.Sprintf(`<!doctype html><style>body{margin:0;background:#fff}iframe{border:0;width:390px;height:8990px;display:block}</style><iframe src="%s"></iframe>`, html.EscapeString("report.html"))
	return s.file("phone.html", []byte(frame))
}

// chromium is started anew for each picture, with an empty profile.
func (s studio) chromium(args ...string) error {
	path, err := findChromium()
	if err != nil {
		return err
	}
	profile, err := os.MkdirTemp(s.scratch, "profile-")
	if err != nil {
		return fmt.Errorf("make a profile for Chromium: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	quiet := []string{
		"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + profile,
	}
	var said bytes.Buffer
	c := exec.CommandContext(ctx, path, append(quiet, args...)...)
	c.Stderr = &said
	if err := c.Run(); err != nil {
		return fmt.Errorf("run %s: %w: %s", path, err, lastOf(said.String()))
	}
	return nil
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("no Chromium was found: install Debian's package chromium")
}

func lastOf(text string) string { return text[max(len(text)-500, 0):] }

// narrowest is how narrow a window of Chromium gets.
const narrowest = 500

// picture takes a window of the page, cuts off what is empty below it, and
// keeps at most `keep` pixels of its height (0: all).
func (s studio) picture(name, page string, width, height, keep int, flags ...string) error {
	window := max(width, narrowest)
	raw := filepath.Join(s.scratch, name)
	flags = append(flags, "--screenshot="+raw, fmt.Sprintf("--window-size=%d,%d", window, height), "file://"+page)
	if err := s.chromium(flags...); err != nil {
		return err
	}
	return shrink(raw, filepath.Join(s.out, name), width, keep)
}

// print shows the first page as a printer would put it on paper.
func (s studio) print(name, page string) error {
	pdf := filepath.Join(s.scratch, "report.pdf")
	if err := s.chromium("--no-pdf-header-footer", "--print-to-pdf="+pdf, "file://"+page); err != nil {
		return err
	}
	raw := filepath.Join(s.scratch, "page")
	if said, err := exec.Command("pdftoppm", "-png", "-r", "80", "-f", "1", "-l", "1", "-singlefile", pdf, raw).CombinedOutput(); err != nil {
		return fmt.Errorf("turn the printed page into a picture (Debian's package poppler-utils has pdftoppm): %w: %s", err, said)
	}
	return shrink(raw+".png", filepath.Join(s.out, name), math.MaxInt32, 0)
}
