package reports_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

var update = flag.Bool("update", false, "write the golden files anew")

// fold is the summary of a canned run.
func fold(t testing.TB, r canned.Run) reports.Summary {
	t.Helper()
	s, err := reports.Fold(r.Events, r.Samples())
	if err != nil {
		t.Fatalf("fold the canned run %q: %v", r.Name, err)
	}
	return s
}

// rendered is a summary in one format.
func rendered(t testing.TB, s reports.Summary, format string) []byte {
	t.Helper()
	f, ok := reports.FindFormat(format)
	if !ok {
		t.Fatalf("there is no format %q", format)
	}
	var out bytes.Buffer
	if err := f.Render(&out, s); err != nil {
		t.Fatalf("render %s: %v", format, err)
	}
	return out.Bytes()
}

func TestEveryCannedRunRendersAsItsGoldenFiles(t *testing.T) {
	for _, r := range canned.Runs() {
		for _, f := range reports.Formats() {
			t.Run(r.Name+"/"+f.Name, func(t *testing.T) {
				got := rendered(t, fold(t, r), f.Name)
				path := filepath.Join("testdata", r.Name+"."+f.Name)
				if *update {
					if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, got, 0o644)); err != nil {
						t.Fatal(err)
					}
				}
				want, err := os.ReadFile(path)
				if err != nil {
					t.Fatalf("read the golden file (run with -update to write it): %v", err)
				}
				if !bytes.Equal(got, want) {
					t.Errorf("%s differs from %s at byte %d; look at it, and run with -update when it is right", f.Name, path, firstDifference(got, want))
				}
			})
		}
	}
}

func firstDifference(a, b []byte) int {
	for n := range min(len(a), len(b)) {
		if a[n] != b[n] {
			return n
		}
	}
	return min(len(a), len(b))
}
