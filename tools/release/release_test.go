package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestSameFilesGiveTheSameArchive(t *testing.T) {
	r := release{when: time.Unix(1_700_000_000, 0).UTC()}
	files := []file{{"faultline", []byte("binary"), 0o755}, {"LICENSE", []byte("text"), 0o644}}
	for name, write := range map[string]func(string, string, []file) error{"tar": r.writeTar, "zip": r.writeZip} {
		t.Run(name, func(t *testing.T) {
			one, other := filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "other")
			if err := errors.Join(write(one, "f", files), write(other, "f", files)); err != nil {
				t.Fatal(err)
			}
			a, errA := os.ReadFile(one)
			b, errB := os.ReadFile(other)
			if errA != nil || errB != nil || !bytes.Equal(a, b) {
				t.Errorf("two archives of the same files differ (%v, %v)", errA, errB)
			}
		})
	}
}

func TestArchiveKeepsContentAndMode(t *testing.T) {
	r := release{when: time.Unix(1_700_000_000, 0).UTC()}
	path := filepath.Join(t.TempDir(), "a.tar.gz")
	if err := r.writeTar(path, "folder", []file{{"faultline", []byte("binary"), 0o755}}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	plain, err := gzip.NewReader(raw)
	if err != nil {
		t.Fatal(err)
	}
	archive := tar.NewReader(plain)
	header, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(archive)
	if err != nil || header.Name != "folder/faultline" || header.Mode != 0o755 || string(content) != "binary" || !header.ModTime.Equal(r.when) {
		t.Errorf("%+v, %q, %v", header, content, err)
	}
}

func TestLicencesAreFound(t *testing.T) {
	for _, row := range []struct {
		name, file string
		found      bool
	}{
		{"American", "LICENSE", true},
		{"British, with an ending", "licence.md", true},
		{"one of several", "LICENSE-APACHE", true},
		{"GNU's", "COPYING", true},
		{"a program about licences", "licenses.go", false},
		{"none", "README.md", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			folder := t.TempDir()
			if err := os.WriteFile(filepath.Join(folder, row.file), []byte("text"), 0o600); err != nil {
				t.Fatal(err)
			}
			files, err := licencesIn(folder, "example.org/m")
			if (err == nil) != row.found {
				t.Errorf("%s: %v, %v", row.file, files, err)
			}
			if row.found && files[0].name != "third-party-licences/example.org/m/"+row.file {
				t.Errorf("it goes to %s", files[0].name)
			}
		})
	}
}

func TestChecksums(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "a"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeChecksums(folder); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(folder, "checksums.txt"))
	if want := fmt.Sprintf("%x  a\n", sha256.Sum256([]byte("x"))); err != nil || string(got) != want {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
}

func TestBillOfMaterialsNamesWhatIsInTheBinary(t *testing.T) {
	binary, err := os.Executable() // a Go binary with known modules: this test
	if err != nil {
		t.Fatal(err)
	}
	parts, err := modulesOf(binary)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bill.json")
	r := release{version: "v1.2.3", when: time.Unix(1_700_000_000, 0).UTC()}
	if err := r.writeBill(path, parts); err != nil {
		t.Fatal(err)
	}
	bill, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"bomFormat": "CycloneDX"`, "pkg:golang/github.com/CycloneDX/cyclonedx-go@v0.12.0", "2023-11-14T22:13:20Z", "pkg:golang/std@"} {
		if !strings.Contains(string(bill), want) {
			t.Errorf("it has no %s:\n%s", want, bill)
		}
	}
}
