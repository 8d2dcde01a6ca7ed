package reports

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/faultline-sh/faultline/experiments"
)

// junitSuites is the document as Jenkins, GitLab and GitHub read it.
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Hostname   string          `xml:"hostname,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
	Out        string          `xml:"system-out"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure,omitempty"`
	Error   *junitMessage `xml:"error,omitempty"`
	Skipped *junitMessage `xml:"skipped,omitempty"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"`
	Text    string `xml:",chardata"`
}

// JUnit writes junit.xml: a test case for each check. What failed is a failure,
// what could not be told is an error, what was not asked is skipped.
func JUnit(w io.Writer, s Summary) error {
	text, err := xml.MarshalIndent(junitOf(s), "", "  ")
	if err != nil {
		return fmt.Errorf("write the report as JUnit XML: %w", err)
	}
	if _, err := fmt.Fprintf(w, "%s%s\n", xml.Header, text); err != nil {
		return fmt.Errorf("write the report as JUnit XML: %w", err)
	}
	return nil
}

func junitOf(s Summary) junitSuites {
	h := s.Header
	suite := junitSuite{
		Name: xmlText(short(h.Plan.Experiment.Name, longestName)), Time: seconds(max(s.Ended.Sub(h.Started), 0)),
		Timestamp: h.Started.UTC().Format("2006-01-02T15:04:05"), Hostname: xmlText(short(h.Host, longestName)),
		Properties: []junitProperty{
			{"run", xmlText(short(h.Run, longestName))}, {"verdict", s.Verdict.String()}, {"exit_code", fmt.Sprint(int(s.Exit))},
			{"undone", string(s.Undone)}, {"seed", fmt.Sprint(h.Plan.Seed)}, {"version", xmlText(short(h.Version, longestName))},
		},
		Out: xmlText(short(s.Headline, 2*longestLine)),
	}
	for _, c := range s.Checks {
		suite.add(c, suite.Name)
	}
	if s.Exit != experiments.ExitPassed && suite.Failures+suite.Errors == 0 {
		// No check may be green beside an exit code that is not.
		suite.add(Check{Axis: AxisValid, Name: "exit code", Verdict: experiments.Inconclusive, Why: fmt.Sprintf("The run ended with exit code %d.", s.Exit)}, suite.Name)
	}
	return junitSuites{
		Name: "faultline", Tests: suite.Tests, Failures: suite.Failures, Errors: suite.Errors, Skipped: suite.Skipped,
		Time: suite.Time, Suites: []junitSuite{suite},
	}
}

func (u *junitSuite) add(c Check, experiment string) {
	j := junitCase{Class: experiment + "." + string(c.Axis), Name: xmlText(short(c.Name, longestName+40)), Time: seconds(max(c.Took, time.Duration(0)))}
	why := xmlText(short(c.Why, 4*longestLine))
	m := &junitMessage{Message: why, Type: c.Verdict.String()}
	u.Tests++
	switch {
	case c.Skipped:
		u.Skipped++
		m.Type = ""
		j.Skipped = m
	case c.Verdict == experiments.Failed:
		u.Failures++
		m.Text, j.Failure = why, m
	case c.Verdict == experiments.Inconclusive:
		u.Errors++
		m.Text, j.Error = why, m
	default:
		j.Out = why
	}
	u.Cases = append(u.Cases, j)
}

// xmlText drops what XML 1.0 has no way to write; everything else is escaped by the encoder.
func xmlText(text string) string {
	return strings.Map(func(r rune) rune {
		legal := r == '\t' || r == '\n' || r >= 0x20 && r <= 0xd7ff || r >= 0xe000 && r <= 0xfffd || r >= 0x10000 && r <= 0x10ffff
		if !legal {
			return utf8.RuneError
		}
		return r
	}, text)
}
