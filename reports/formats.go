package reports

import "io"

// Render writes a summary.
type Render func(io.Writer, Summary) error

// Format is one way of writing a summary down.
type Format struct {
	Name    string // as after --format
	File    string // in a run's folder; "" where it is only shown
	Summary string // one line for `report --help`
	Render  Render
}

// Formats is every format of this build, one line each.
func Formats() []Format {
	return []Format{
		{"html", "report.html", "one self-contained file for people", HTML},
		{"md", "report.md", "Markdown for a pull request", Markdown},
		{"json", "report.json", "for programs; `faultline schema report` describes it", JSON},
		{"junit", "junit.xml", "JUnit XML for CI", JUnit},
		{"table", "", "tables for a terminal", Terminal},
	}
}

// FindFormat gives the format of a name.
func FindFormat(name string) (Format, bool) {
	for _, f := range Formats() {
		if f.Name == name {
			return f, true
		}
	}
	return Format{}, false
}
