// Command vuln asks govulncheck which known vulnerabilities faultline calls,
// and holds the answer against known.txt, the list of those that nothing can
// be done about, each with its reason. It refuses to call "could not look" a
// pass: it exits 3 then, or 0 with the same words under -may-not-look.
package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

//go:embed known.txt
var knownList string

func main() {
	mayNotLook := flag.Bool("may-not-look", false, "exit 0, and say so, where the database cannot be reached")
	flag.Parse()
	if flag.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "usage: vuln [-may-not-look] GOVULNCHECK FOLDER")
		os.Exit(2)
	}
	known, err := parseKnown(knownList)
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln:", err)
		os.Exit(2)
	}
	if err := reachable(); err != nil && *mayNotLook {
		fmt.Println("NOT LOOKED for vulnerabilities, which is no pass:", err)
		return
	}
	called, err := look(flag.Arg(0), flag.Arg(1))
	if err != nil {
		fmt.Fprintln(os.Stderr, "vuln: could not look for vulnerabilities:", err)
		os.Exit(3)
	}
	os.Exit(judge(os.Stdout, called, known))
}

// reachable asks the database for its version, as govulncheck will. A database
// that is down and code that does not compile are both exit 1 of govulncheck.
func reachable() error {
	database := os.Getenv("GOVULNDB")
	if database == "" {
		database = "https://vuln.go.dev"
	}
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Get(database + "/index/db.json")
	if err != nil {
		return fmt.Errorf("asking the vulnerability database: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("asking the vulnerability database %s: %s", database, response.Status)
	}
	return nil
}

// parseKnown reads lines of an ID and the reason why it stays.
func parseKnown(text string) (map[string]string, error) {
	known := map[string]string{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		id, reason, _ := strings.Cut(line, " ")
		if reason = strings.TrimSpace(reason); reason == "" {
			return nil, fmt.Errorf("known.txt lists %s without a reason", id)
		}
		known[id] = reason
	}
	return known, nil
}

// look runs govulncheck, which exits 0 in its JSON mode whatever it finds.
func look(govulncheck, folder string) ([]string, error) {
	cmd := exec.Command(govulncheck, "-format", "json", "./...")
	cmd.Dir = folder
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%s: %w: %s", govulncheck, err, strings.TrimSpace(stderr.String()))
	}
	return calledIn(&stdout)
}

// A message is one of govulncheck's stream, with what is read of it.
type message struct {
	OSV *struct {
		ID       string
		Affected []struct {
			Package           struct{ Name string }
			EcosystemSpecific struct{ Imports []any } `json:"ecosystem_specific"`
		}
	}
	Finding *struct {
		OSV   string
		Trace []struct{ Module, Function string }
	}
}

// calledIn returns the vulnerabilities that the code calls. An entry that names
// no packages says nothing finer than "this module"; it counts as called.
func calledIn(stream io.Reader) ([]string, error) {
	wholeModule := map[string]bool{}
	var called []string
	for decoder := json.NewDecoder(stream); ; {
		var m message
		switch err := decoder.Decode(&m); {
		case errors.Is(err, io.EOF):
			slices.Sort(called)
			return slices.Compact(called), nil
		case err != nil:
			return nil, fmt.Errorf("reading govulncheck's answer: %w", err)
		}
		if m.OSV != nil {
			for _, affected := range m.OSV.Affected {
				if len(affected.EcosystemSpecific.Imports) == 0 {
					wholeModule[m.OSV.ID+" "+affected.Package.Name] = true
				}
			}
		}
		if f := m.Finding; f != nil && len(f.Trace) > 0 {
			if f.Trace[0].Function != "" || wholeModule[f.OSV+" "+f.Trace[0].Module] {
				called = append(called, f.OSV)
			}
		}
	}
}

// judge prints what is called and returns the exit code.
func judge(out io.Writer, called []string, known map[string]string) int {
	code := 0
	for _, id := range called {
		if reason := known[id]; reason != "" {
			fmt.Fprintf(out, "%s stays: %s\n", id, reason)
			continue
		}
		fmt.Fprintf(out, "%s is called, and tools/vuln/known.txt does not list it: https://pkg.go.dev/vuln/%s\n", id, id)
		code = 1
	}
	for id := range known {
		if !slices.Contains(called, id) {
			fmt.Fprintf(out, "%s is not called any more: take it out of tools/vuln/known.txt\n", id)
			code = 1
		}
	}
	if len(called) == 0 {
		fmt.Fprintln(out, "no known vulnerability is called")
	}
	return code
}
