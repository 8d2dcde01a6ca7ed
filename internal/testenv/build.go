package testenv

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Binary returns the path of a static ./cmd/faultline built from this tree. Its
// folder is named for its content and shared by all test processes, so an
// unchanged tree is linked once.
func Binary(t testing.TB) string {
	t.Helper()
	return need(t, faultlineBinary)
}

// Server returns the path of the static test server; see its package for what it can do.
func Server(t testing.TB) string {
	t.Helper()
	return need(t, serverBinary)
}

// Root returns the folder that holds this module's go.mod.
func Root(t testing.TB) string {
	t.Helper()
	return need(t, moduleRoot)
}

var (
	faultlineBinary = sync.OnceValues(func() (string, error) { return build("./cmd/faultline") })
	serverBinary    = sync.OnceValues(func() (string, error) { return build("./internal/testenv/testserver") })
	moduleRoot      = sync.OnceValues(findRoot)
)

func need[V any](t testing.TB, get func() (V, error)) V {
	t.Helper()
	v, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func findRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the module's root: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		switch _, err := os.Stat(filepath.Join(dir, "go.mod")); {
		case err == nil:
			return dir, nil
		case dir == filepath.Dir(dir):
			return "", errors.New("looking for the module's root: no folder above the tests has a go.mod")
		}
	}
}

// build links one main package and files the result under its content. The
// link is skipped by the go command itself when nothing changed; the lock keeps
// one test process from running a file that another is replacing.
func build(pkg string) (string, error) {
	root, err := moduleRoot()
	if err != nil {
		return "", err
	}
	name := filepath.Base(pkg)
	if runtime.GOOS == "windows" {
		name += ".exe"
	}
	cache, err := cacheFolder(root)
	if err != nil {
		return "", err
	}
	unlock, err := lockFile(filepath.Join(cache, name+".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	linked := filepath.Join(cache, name)
	cmd := exec.Command("go", "build", "-trimpath", "-o", linked, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if _, err := outputOf(cmd); err != nil {
		return "", fmt.Errorf("building %s for a test: %w", pkg, err)
	}
	return fileByContent(cache, linked)
}

// cacheFolder is private to this user and this work tree: a folder that others
// could write is no place to execute from.
func cacheFolder(root string) (string, error) {
	tree := sha256.Sum256([]byte(root))
	dir := filepath.Join(os.TempDir(), "faultline-test-"+strconv.Itoa(os.Getuid())+"-"+hex.EncodeToString(tree[:4]))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making a folder for test binaries: %w", err)
	}
	return dir, ownFolder(dir)
}

// keepBinaries is how long a test binary that is no longer the newest stays: a
// test that started before the tree changed may still be running it.
const keepBinaries = 2 * time.Hour

func fileByContent(cache, linked string) (string, error) {
	sum, err := hashFile(linked)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "by-content", sum)
	filed := filepath.Join(dir, filepath.Base(linked))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("filing a test binary: %w", err)
	}
	if err := os.Link(linked, filed); err != nil && !errors.Is(err, os.ErrExist) {
		return "", fmt.Errorf("filing a test binary: %w", err)
	}
	if err := os.Chtimes(dir, time.Time{}, time.Now()); err != nil {
		return "", fmt.Errorf("filing a test binary: %w", err)
	}
	return filed, dropOld(filepath.Join(cache, "by-content"))
}

func dropOld(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking for old test binaries: %w", err)
	}
	for _, entry := range entries {
		info, err := entry.Info()
		if errors.Is(err, os.ErrNotExist) || (err == nil && time.Since(info.ModTime()) < keepBinaries) {
			continue
		}
		if err := errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name()))); err != nil {
			return fmt.Errorf("removing an old test binary: %w", err)
		}
	}
	return nil
}

func hashFile(path string) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("hashing a test binary: %w", err)
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, file); err != nil {
		return "", fmt.Errorf("hashing a test binary: %w", err)
	}
	return hex.EncodeToString(hash.Sum(nil)[:12]), nil
}

// writeExecutable creates path and closes it before anybody can fork: a child
// that inherits a writable descriptor makes the file "busy" to execute.
func writeExecutable(path string, content []byte) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, content, 0o755)
}
