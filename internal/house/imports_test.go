package house_test

import (
	"slices"
	"strings"
	"testing"
)

// mayImport says which of our packages each folder may know; a folder's entry
// holds for the folders below it too, and every folder knows those below itself.
// It is section "who may know whom" of docs/architecture.md.
var mayImport = map[string][]string{
	"experiments":       {},
	"internal/platform": {"experiments"},
	"injectors":         {"experiments", "internal/platform"},
	"probes":            {"experiments", "internal/platform"},
	"internal/journal":  {"experiments"},
	"internal/holder":   {"experiments"},
	"scheduler":         {"experiments", "injectors", "probes", "internal/platform", "internal/journal", "internal/holder"},
	"reports":           {"experiments"},
	"internal/demo":     {"experiments", "examples"},
	"examples":          {},
	"internal/testenv":  {},
	"internal/house":    {},
}

// knowsAll are the folders that put the house together, and the tests of the whole.
var knowsAll = []string{"cmd", "internal/bench", "internal/screenshots", "test"}

// A guest is a module of others that only some folders, or so many files, may import.
type guest struct {
	path    string // of the module or package, and of all below it
	folders []string
	files   int // at most; 0 is any number
	why     string
}

var guests = []guest{
	{path: "github.com/spf13/cobra", folders: []string{"cmd"}, why: "flags belong to the command"},
	{path: "github.com/olekukonko/tablewriter", folders: []string{"reports"}, files: 1, why: "its interface moves; one file moves with it"},
	{path: "github.com/docker", folders: []string{"internal/platform"}, why: "one place knows the engine"},
	{path: "k8s.io/client-go", folders: []string{"internal/platform"}, why: "one place knows the cluster"},
	{path: "k8s.io/client-go/kubernetes", why: "the typed clientset costs every start 12 ms and 34 MiB"},
	{path: "testing", folders: []string{"internal/testenv"}, why: "production code has no test hooks"},
	{path: module + "/internal/testenv", folders: []string{"internal/testenv"}, why: "only tests need it"},
}

func within(path, folder string) bool { return path == folder || strings.HasPrefix(path, folder+"/") }

func withinAny(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(folder string) bool { return within(path, folder) })
}

// room is the longest folder of mayImport that holds the package.
func room(path string) (found string, ok bool) {
	for folder := range mayImport {
		if within(path, folder) && len(folder) >= len(found) {
			found, ok = folder, true
		}
	}
	return found, ok
}

func TestImportsPointTheRightWay(t *testing.T) {
	for _, goos := range platforms {
		for _, p := range goList(t, goos) {
			if withinAny(p.path(), knowsAll) {
				continue
			}
			folder, ok := room(p.path())
			if !ok {
				t.Errorf("%s has no row in mayImport: say whom it may know", p.path())
				continue
			}
			for _, imported := range p.Imports {
				ours, isOurs := strings.CutPrefix(imported, module+"/")
				if isOurs && !within(ours, folder) && !withinAny(ours, mayImport[folder]) {
					t.Errorf("%s imports %s (%s); %s may know only %v", p.path(), ours, goos, folder, mayImport[folder])
				}
			}
		}
	}
}

func TestGuestsStayInTheirRooms(t *testing.T) {
	files := map[string]map[string]bool{}
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, spec := range s.file.Imports {
			imported := strings.Trim(spec.Path.Value, `"`)
			for _, g := range guests {
				if !within(imported, g.path) {
					continue
				}
				if !withinAny(s.path, g.folders) {
					t.Errorf("%s:%d imports %s, which only %v may: %s", s.path, s.line(spec.Pos()), imported, g.folders, g.why)
				}
				if files[g.path] == nil {
					files[g.path] = map[string]bool{}
				}
				files[g.path][s.path] = true
			}
		}
	}
	for _, g := range guests {
		if g.files > 0 && len(files[g.path]) > g.files {
			t.Errorf("%d files import %s, where %d may: %s", len(files[g.path]), g.path, g.files, g.why)
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	seen := map[string]bool{}
	for _, goos := range platforms {
		for _, p := range goList(t, goos) {
			if seen[p.ImportPath] || len(p.GoFiles) == 0 {
				continue
			}
			seen[p.ImportPath] = true
			if len(p.Doc) < 20 {
				t.Errorf("package %s has no doc comment: say what it is for and what it refuses to do", p.path())
			}
		}
	}
}
