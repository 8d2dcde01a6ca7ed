package reports_test

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	unsafehtml "github.com/yuin/goldmark/renderer/html"
	"golang.org/x/net/html"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

// everywhere is a run in which everything that anybody can name says the same.
func everywhere(t testing.TB, text string) reports.Summary {
	t.Helper()
	events, samples := record(experiments.Tolerance{}, letters{"ggg", "gbu", "ggg"})
	events = slices.Clone(events)
	h := *events[0].Header
	plan := h.Plan
	e := plan.Experiment
	e.Name, e.Hypothesis, e.Labels = text, text, map[string]string{text: text}
	e.Probes = []experiments.Probe{{Name: text, Kind: text, Expect: text, Every: seconds(1)}}
	f := plan.Faults[0]
	f.Name, f.Kind = text, text
	f.Victims = []experiments.Candidate{{Kind: text, ID: text, Name: text, Detail: text}}
	f.Skipped = []experiments.Skipped{{Name: text, Why: text}}
	plan.Experiment, plan.Faults, plan.Notes, plan.Exempt = e, []experiments.PlannedFault{f}, []string{text}, []string{text}
	h.Plan, h.Run, h.Version, h.Host, h.User, h.OS, h.Engine, h.Document = plan, text, text, text, text, text, text, text
	h.Command, h.Secrets = []string{text, text}, []string{text}
	events[0].Header = &h
	for n := range events {
		e := &events[n]
		e.Why, e.By = text, text
		switch e.Type {
		case experiments.EventAimed:
			d := e.Injection.Description
			d.Name, d.ID, d.Mechanism, d.Undo, d.Asked = text, text, text, text, map[string]string{text: text}
			d.Notes, d.Hits, d.Restart = []string{text}, []string{text}, text
			e.Injection = &experiments.Injection{ID: "1.1", Fault: 1, Kind: text, Description: d}
		case experiments.EventConfirmed:
			e.Effect = &experiments.Effect{State: experiments.EffectUnknown, Why: text, Measured: map[string]string{text: text}}
		case experiments.EventUndone:
			e.Error = text + "!"
		}
	}
	events = also(experiments.Event{Type: experiments.EventType("x" + text), Why: text})(events)
	events = also(experiments.Event{Type: experiments.EventReturned, Fault: 1, Target: "1.1", Return: &experiments.Return{State: experiments.ReturnUp, By: text, As: text, Why: text}})(events)
	samples = slices.Clone(samples)
	for n := range samples {
		if samples[n].Why != "" {
			samples[n].Why = text
		}
	}
	return fold(t, canned.Run{Events: events, Every: samples})
}

var hostile = []string{
	canned.Hostile, "", " ", "\x00", "\x1b[2J", "\xff\xfe", "\u202e\u2066", "a\nb", "\r\n\r\n# x", "</style><script>", "]]>", "&lt;&#0;", "{{.}}", "${x}", "`", "```\n", "|", "||||",
	"[a](b)", "![a](b)", "http://e.example", "www.e.example", "a@e.example", "@all", "#1", "1. x", "- x", "    x", "> x", "<b>", "<!--", "\\", "\\|", "***", "~~x~~", "$x$", ":tada:",
	"\ufffe\uffff", "\U000e0041", strings.Repeat("\u0301", 400), strings.Repeat("x", 3000), "https://e.example/" + strings.Repeat("y", 200), "---", "=====", "+", "|---|\n|---|",
}

// shape is a document's tags without its texts.
func shape(t testing.TB, page []byte) []string {
	t.Helper()
	var tags []string
	tokens := html.NewTokenizer(bytes.NewReader(page))
	for {
		switch tokens.Next() {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatalf("read the page: %v", tokens.Err())
			}
			return tags
		case html.StartTagToken, html.SelfClosingTagToken:
			token := tokens.Token()
			tag := "<" + token.Data
			for _, a := range token.Attr {
				tag += " " + a.Key
				if a.Key == "href" || a.Key == "src" || strings.HasPrefix(a.Key, "on") {
					tag += "=" + a.Val
				}
			}
			tags = append(tags, tag+">")
		case html.EndTagToken:
			tags = append(tags, "</"+tokens.Token().Data+">")
		case html.CommentToken:
			tags = append(tags, "<!---->")
		case html.TextToken, html.DoctypeToken:
		}
	}
}

var github = goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithRendererOptions(unsafehtml.WithUnsafe()))

func checkHTML(t testing.TB, s, tame reports.Summary) {
	page := rendered(t, s, "html")
	if len(page) > 2<<20 {
		t.Errorf("the page has %d bytes, more than 2 MiB", len(page))
	}
	sameShape(t, "HTML", shape(t, page), shape(t, rendered(t, tame, "html")))
	checkLegible(t, "HTML", page)
}

func checkMarkdown(t testing.TB, s, tame reports.Summary) {
	convert := func(s reports.Summary) []string {
		var out bytes.Buffer
		if err := github.Convert(rendered(t, s, "md"), &out); err != nil {
			t.Fatal(err)
		}
		return shape(t, out.Bytes())
	}
	sameShape(t, "Markdown", convert(s), convert(tame))
	checkLegible(t, "Markdown", rendered(t, s, "md"))
}

func sameShape(t testing.TB, format string, got, want []string) {
	t.Helper()
	for n := range min(len(got), len(want)) {
		if got[n] != want[n] {
			t.Errorf("%s: a text became structure: tag %d is %s, want %s", format, n, got[n], want[n])
			return
		}
	}
	if len(got) != len(want) {
		t.Errorf("%s: a text became structure: %d tags, want %d", format, len(got), len(want))
	}
}

func checkJSON(t testing.TB, s reports.Summary) {
	text := rendered(t, s, "json")
	if !json.Valid(text) {
		t.Errorf("JSON: not valid")
	}
	checkLegible(t, "JSON", text)
}

func checkJUnit(t testing.TB, s reports.Summary) {
	text := rendered(t, s, "junit")
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("JUnit: not well-formed: %v", err)
			break
		}
	}
	checkLegible(t, "JUnit", text)
}

// checkLegible finds what could move a cursor, turn text around or hide.
func checkLegible(t testing.TB, format string, text []byte) {
	t.Helper()
	if !utf8.Valid(text) {
		t.Errorf("%s: not valid UTF-8", format)
	}
	for _, r := range string(text) {
		joiner := format == "Markdown" && r == 0x2060 // ours, after @ and #
		if r != '\n' && !joiner && (unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r) || r == 0x2028 || r == 0x2029) {
			t.Errorf("%s: has the character %U", format, r)
			return
		}
	}
}

func checkAll(t testing.TB, text string) {
	t.Helper()
	s := everywhere(t, text)
	// A text that is not there at all leaves its place out, so the tame twin is as empty.
	tame := everywhere(t, strings.Repeat("x", min(utf8.RuneCountInString(text), 1)))
	checkHTML(t, s, tame)
	checkMarkdown(t, s, tame)
	checkJSON(t, s)
	checkJUnit(t, s)
	checkLegible(t, "table", rendered(t, s, "table"))
}

func TestAMegabyteOfTextIsCutAndItsLengthSaid(t *testing.T) {
	s := everywhere(t, strings.Repeat("é<", 1<<19))
	checkHTML(t, s, everywhere(t, "x"))
	for _, format := range []string{"html", "md", "junit", "table"} {
		text := rendered(t, s, format)
		if len(text) > 1<<20 {
			t.Errorf("%s: %d bytes for a name of a megabyte", format, len(text))
		}
		if !bytes.Contains(text, []byte("1,048,576 characters in all")) {
			t.Errorf("%s does not say how long the text was", format)
		}
	}
}

func FuzzNoTextBecomesStructure(f *testing.F) {
	for _, text := range hostile {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) { checkAll(t, text) })
}

// junit is the part of a document that consumers read.
type junit struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
	Suites   []struct {
		Cases []struct {
			Class   string    `xml:"classname,attr"`
			Name    string    `xml:"name,attr"`
			Time    string    `xml:"time,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// H78: what Jenkins, GitLab and GitHub read: a case for each question, error,
// failure and skipped told apart, times with a dot, nothing green beside a bad exit.
func TestH78_JUnitTellsErrorFailureAndSkippedApart(t *testing.T) {
	want := map[string][3]bool{ // failures, errors, skipped
		"passed": {}, "failed": {true, false, false}, "inconclusive-baseline": {false, true, true}, "inconclusive-could-not-look": {false, true, false},
		"inconclusive-not-confirmed": {false, true, false}, "killed": {true, true, false}, "undo-not-verified": {true, false, false}, "no-probes": {false, true, false},
	}
	for name, kinds := range want {
		t.Run(name, func(t *testing.T) {
			r, _ := canned.Find(name)
			s := fold(t, r)
			var d junit
			if err := xml.Unmarshal(rendered(t, s, "junit"), &d); err != nil {
				t.Fatal(err)
			}
			if got := [3]bool{d.Failures > 0, d.Errors > 0, d.Skipped > 0}; got != kinds {
				t.Errorf("failures, errors, skipped: got %v, want %v", got, kinds)
			}
			if (s.Exit == 0) != (d.Failures+d.Errors == 0) {
				t.Errorf("exit code %d beside %d failures and %d errors", s.Exit, d.Failures, d.Errors)
			}
			checkCases(t, d, s)
		})
	}
}

func checkCases(t *testing.T, d junit, s reports.Summary) {
	t.Helper()
	classes := map[string]int{}
	counted := [4]int{}
	for _, c := range d.Suites[0].Cases {
		axis := c.Class[strings.LastIndex(c.Class, ".")+1:]
		classes[axis]++
		whole, fraction, dot := strings.Cut(c.Time, ".")
		if !dot || len(fraction) != 3 || strings.Trim(whole+fraction, "0123456789") != "" {
			t.Errorf("%s: time is %q, want seconds with a dot", c.Name, c.Time)
		}
		counted[0]++
		for n, there := range []bool{c.Failure != nil, c.Error != nil, c.Skipped != nil} {
			if there {
				counted[n+1]++
			}
		}
	}
	if got := [4]int{d.Tests, d.Failures, d.Errors, d.Skipped}; got != counted {
		t.Errorf("tests, failures, errors, skipped: the header says %v, the cases are %v", got, counted)
	}
	if len(s.Checks) != d.Tests {
		t.Errorf("%d cases for %d checks", d.Tests, len(s.Checks))
	}
	if axes := slices.Sorted(maps.Keys(classes)); !slices.Equal(axes, []string{"hypothesis", "recovery", "valid"}) {
		t.Errorf("cases are of %v, want each axis", axes)
	}
}

// The page shows a bounded part, whatever the run was, and says how much it left out.
func TestThePageStaysSmall(t *testing.T) {
	events, samples := record(experiments.Tolerance{During: share(0.1)}, letters{"ggg", strings.Repeat("gb", 60), strings.Repeat("bgu", 20)})
	events = header(func(h *experiments.Header) {
		probe := h.Plan.Experiment.Probes[0]
		h.Plan.Experiment.Probes = nil
		for range 1500 {
			probe.Name = strings.Repeat("<\u202e", 200)
			h.Plan.Experiment.Probes = append(h.Plan.Experiment.Probes, probe)
		}
		for range 5000 {
			h.Plan.Faults[0].Victims = append(h.Plan.Faults[0].Victims, experiments.Candidate{Name: strings.Repeat("&", 500), ID: strings.Repeat("'", 500)})
		}
	})(events)
	var all []experiments.Sample
	for _, s := range samples {
		for n := range 1500 {
			s.Probe = n
			all = append(all, s)
		}
	}
	page := rendered(t, folded(t, events, all), "html")
	if len(page) > 2<<20 {
		t.Errorf("1,500 flapping probes and 5,001 targets: %d bytes, more than 2 MiB", len(page))
	}
	for _, said := range []string{"more probes stand in report.json", "4801 more targets stand in report.json"} {
		if !bytes.Contains(page, []byte(said)) {
			t.Errorf("the page does not say %q", said)
		}
	}
	t.Logf("the page has %d KiB", len(page)>>10)
}
