package house_test

import (
	"archive/zip"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/faultline-sh/faultline/internal/testenv"
)

// published is the version under which this tree is installed by the tests here.
const published = "v0.9.0"

// installable returns the environment in which `go install …/faultline@latest`
// finds this tree as a published module, and no network.
func installable(t *testing.T) []string {
	t.Helper()
	testenv.Require(t, "git")
	modules, err := moduleProxy()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	gopath := t.TempDir()
	return []string{
		"GOPROXY=file://" + modules + ",file://" + filepath.Join(strings.TrimSpace(string(cache)), "cache", "download"),
		// What the cache holds was verified when it came there.
		"GOSUMDB=off", "GOFLAGS=-modcacherw -trimpath", "CGO_ENABLED=0", "GOTOOLCHAIN=local",
		"GOPATH=" + gopath, "GOMODCACHE=" + filepath.Join(gopath, "pkg", "mod"), "GOBIN=",
		"GOCACHE=" + goCache(t),
	}
}

func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

var (
	proxyOnce   sync.Once
	proxyFolder string
	errProxy    error
)

// moduleProxy lays this tree out as a file proxy does. It is made once; TestMain removes it.
func moduleProxy() (string, error) {
	proxyOnce.Do(func() {
		if proxyFolder, errProxy = os.MkdirTemp("", "fl-proxy-"); errProxy == nil {
			errProxy = fillProxy(proxyFolder)
		}
	})
	return proxyFolder, errProxy
}

func TestMain(m *testing.M) {
	code := m.Run()
	if proxyFolder != "" {
		if err := os.RemoveAll(proxyFolder); err != nil {
			println("removing the module proxy:", err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

func fillProxy(folder string) error {
	root, err := exec.Command("git", "rev-parse", "--show-toplevel").Output()
	if err != nil {
		return err
	}
	tree := strings.TrimSpace(string(root))
	mod, err := os.ReadFile(filepath.Join(tree, "go.mod"))
	if err != nil {
		return err
	}
	archive, err := moduleZip(tree)
	if err != nil {
		return err
	}
	versions := filepath.Join(folder, module, "@v")
	if err := os.MkdirAll(versions, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"list":              []byte(published + "\n"),
		published + ".info": []byte(`{"Version":"` + published + `","Time":"2026-01-01T00:00:00Z"}`),
		published + ".mod":  mod,
		published + ".zip":  archive,
	} {
		if err := os.WriteFile(filepath.Join(versions, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// moduleZip packs what git tracks or would track, less the modules inside.
func moduleZip(tree string) ([]byte, error) {
	list := exec.Command("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	list.Dir = tree
	names, err := list.Output()
	if err != nil {
		return nil, err
	}
	var packed bytes.Buffer
	archive := zip.NewWriter(&packed)
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(tree, name))
		if os.IsNotExist(err) || inNestedModule(tree, name) {
			continue // deleted and not yet committed, or no part of this module
		}
		if err != nil {
			return nil, err
		}
		member, err := archive.Create(module + "@" + published + "/" + name)
		if err != nil {
			return nil, err
		}
		if _, err := member.Write(content); err != nil {
			return nil, err
		}
	}
	err = archive.Close()
	return packed.Bytes(), err
}

func inNestedModule(tree, name string) bool {
	for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(tree, dir, "go.mod")); err == nil {
			return true
		}
	}
	return false
}

func TestGoInstallKnowsItsVersion(t *testing.T) {
	testenv.Require(t, "bash")
	s := &staging{tree: t.TempDir(), path: os.Getenv("PATH"), env: installable(t)}
	code, out := s.bash(t, `go install `+module+`/cmd/faultline@latest && "$GOPATH/bin/faultline" version`)
	if code != 0 || !strings.Contains(out, strings.TrimPrefix(published, "v")) {
		t.Errorf("exit code %d; installed from %s, it calls itself\n%s", code, published, out)
	}
}
