package house_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

const module = "github.com/faultline-sh/faultline"

// platforms are those whose files the rules look at; each has some of its own.
var platforms = []string{"linux", "darwin", "windows"}

// A listed package is what `go list -json` says of one package.
type listed struct {
	ImportPath   string
	Name         string
	Dir          string
	Doc          string
	GoFiles      []string
	Imports      []string
	TestImports  []string
	XTestImports []string
}

// path is the package's folder as people name it.
func (l listed) path() string {
	return strings.TrimPrefix(strings.TrimPrefix(l.ImportPath, module), "/")
}

// goList lists this module's packages as one platform sees them.
func goList(t *testing.T, goos string) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Dir,Doc,GoFiles,Imports,TestImports,XTestImports", "./...")
	cmd.Dir = testenv.Root(t)
	cmd.Env = append(os.Environ(), "GOOS="+goos, "CGO_ENABLED=0")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list for %s: %v\n%s", goos, err, &stderr)
	}
	var packages []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		switch err := decoder.Decode(&l); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatalf("reading go list: %v", err)
		}
		packages = append(packages, l)
	}
}

// A source is one parsed Go file of the main module.
type source struct {
	path string // from the root, with slashes
	fset *token.FileSet
	file *ast.File
}

func (s source) isTest() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) line(pos token.Pos) int { return s.fset.Position(pos).Line }

// sources parses every Go file of the module, whatever platform it is for.
// Folders with a go.mod of their own are other modules.
func sources(t *testing.T) []source {
	t.Helper()
	root := testenv.Root(t)
	var found []source
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(root, path)
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		s := source{fset: token.NewFileSet()}
		s.file, err = parser.ParseFile(s.fset, path, nil, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		s.path = filepath.ToSlash(rel)
		found = append(found, s)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func skipFolder(root, path string) error {
	name := filepath.Base(path)
	_, err := os.Stat(filepath.Join(path, "go.mod"))
	if path != root && (err == nil || strings.HasPrefix(name, ".") || name == "testdata" || name == "dist" || name == "bin") {
		return fs.SkipDir
	}
	return nil
}

// importName returns the name under which the file knows a package, or "".
func (s source) importName(path string) string {
	for _, spec := range s.file.Imports {
		if strings.Trim(spec.Path.Value, `"`) != path {
			continue
		}
		if spec.Name != nil {
			return spec.Name.Name
		}
		return filepath.Base(path)
	}
	return ""
}

// testNames returns the names of the file's test functions.
func testNames(s source) []string {
	var names []string
	for _, decl := range s.file.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Recv == nil && strings.HasPrefix(f.Name.Name, "Test") {
			names = append(names, f.Name.Name)
		}
	}
	return names
}
