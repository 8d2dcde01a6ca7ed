package house_test

import (
	"go/ast"
	"maps"
	"testing"
)

// longest is how many lines a function outside tests may have, as the closing brace counts.
const longest = 70

// longFunctions may be longer, each for its reason.
var longFunctions = map[string]string{}

// sleepers may call time.Sleep outside tests, each for its reason.
var sleepers = map[string]string{
	"internal/platform/netfault/netem_linux.go":   "the kernel's queue says how much waits in it, and not when it is empty",
	"internal/platform/netfault/nfqueue_linux.go": "the kernel's queue says how much waits in it, and not when it is empty",
}

// funcName is "path.Receiver.Name", the key of the tables above.
func funcName(s source, f *ast.FuncDecl) string {
	name := f.Name.Name
	if f.Recv == nil || len(f.Recv.List) == 0 {
		return s.path + ":" + name
	}
	receiver := f.Recv.List[0].Type
	for {
		switch r := receiver.(type) {
		case *ast.StarExpr:
			receiver = r.X
		case *ast.IndexExpr:
			receiver = r.X
		case *ast.IndexListExpr:
			receiver = r.X
		case *ast.Ident:
			return s.path + ":" + r.Name + "." + name
		default:
			return s.path + ":" + name
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	listed := unused(longFunctions)
	for _, s := range sources(t) {
		if s.isTest() {
			continue
		}
		for _, decl := range s.file.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok {
				continue
			}
			lines, name := s.line(f.End())-s.line(f.Pos()), funcName(s, f)
			if lines <= longest {
				continue
			}
			if longFunctions[name] == "" {
				t.Errorf("%s has %d lines; make it do one thing, or list it in longFunctions with the reason", name, lines)
			}
			delete(listed, name)
		}
	}
	for name := range listed {
		t.Errorf("longFunctions lists %s, which is not long any more: take it out", name)
	}
}

func TestNobodySleeps(t *testing.T) {
	listed := unused(sleepers)
	for _, s := range sources(t) {
		time := s.importName("time")
		if s.isTest() || time == "" {
			continue
		}
		ast.Inspect(s.file, func(node ast.Node) bool {
			call, ok := node.(*ast.SelectorExpr)
			if !ok || call.Sel.Name != "Sleep" {
				return true
			}
			if pkg, ok := call.X.(*ast.Ident); !ok || pkg.Name != time {
				return true
			}
			if sleepers[s.path] == "" {
				t.Errorf("%s:%d sleeps; wait for what it is waiting for, or list the file in sleepers with the reason", s.path, s.line(call.Pos()))
			}
			delete(listed, s.path)
			return true
		})
	}
	for path := range listed {
		t.Errorf("sleepers lists %s, which does not sleep any more: take it out", path)
	}
}

// unused copies an allow list, for crossing off what is still needed.
func unused(list map[string]string) map[string]string { return maps.Clone(list) }
