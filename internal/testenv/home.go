package testenv

import (
	"os"
	"path/filepath"
	"testing"
)

// Home returns the environment of a faultline that keeps all its records in
// folders of its own, and shares leases and halt with no other.
func Home(t testing.TB) []string {
	t.Helper()
	// Not t.TempDir: a test's long name would make the paths of sockets too long.
	dir, err := os.MkdirTemp("", "fl-")
	if err != nil {
		t.Fatalf("testenv: making a home: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("testenv: removing a home: %v", err)
		}
	})
	return []string{"FAULTLINE_HOME=" + filepath.Join(dir, "state"), "FAULTLINE_SHARED=" + filepath.Join(dir, "shared")}
}
