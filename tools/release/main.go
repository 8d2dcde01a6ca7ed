// Command release makes what a user downloads: for each platform an archive
// with the binary, its man pages, completions and everybody's licences, a bill
// of materials read from the binary itself, and one file of checksums. The same
// commit gives the same bytes. It refuses a module without a licence.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

type platform struct{ os, arch string }

var platforms = []platform{
	{"linux", "amd64"}, {"linux", "arm64"},
	{"darwin", "amd64"}, {"darwin", "arm64"},
	{"windows", "amd64"}, {"windows", "arm64"},
}

// A release is what is made, and where.
type release struct {
	version, tree, out string
	scratch            string
	when               time.Time // of the commit: the files' time in the archives
}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "what the binaries call themselves")
	flag.StringVar(&r.tree, "tree", ".", "the project's root")
	flag.StringVar(&r.out, "out", "dist", "the folder to fill; what is in it goes")
	flag.Parse()
	if err := r.make(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) make() (err error) {
	if r.version == "" {
		return errors.New("say -version")
	}
	if err := os.RemoveAll(r.out); err != nil {
		return err
	}
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	if r.scratch, err = os.MkdirTemp("", "faultline-release-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.scratch)) }()
	if r.when, err = r.commitTime(); err != nil {
		return err
	}
	common, err := r.common()
	if err != nil {
		return err
	}
	for _, p := range platforms {
		if err := r.platform(p, common); err != nil {
			return fmt.Errorf("%s/%s: %w", p.os, p.arch, err)
		}
	}
	return writeChecksums(r.out)
}

// commitTime is SOURCE_DATE_EPOCH, or else when the tree was committed.
func (r *release) commitTime() (time.Time, error) {
	seconds := os.Getenv("SOURCE_DATE_EPOCH")
	if seconds == "" {
		out, err := r.run(nil, "git", "log", "-1", "--format=%ct")
		if err != nil {
			return time.Time{}, err
		}
		seconds = strings.TrimSpace(out)
	}
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the commit's time: %w", err)
	}
	return time.Unix(unix, 0).UTC(), nil
}

// A file is one member of an archive.
type file struct {
	name    string
	content []byte
	mode    os.FileMode
}

// common returns what every archive holds whatever the platform.
func (r *release) common() ([]file, error) {
	var files []file
	for _, name := range []string{"LICENSE", "README.md", "CHANGELOG.md", "SECURITY.md"} {
		content, err := os.ReadFile(filepath.Join(r.tree, name))
		if err != nil {
			return nil, err
		}
		files = append(files, file{name, content, 0o644})
	}
	manuals, err := r.manuals()
	if err != nil {
		return nil, fmt.Errorf("writing the man pages: %w", err)
	}
	completions, err := r.completions()
	return slices.Concat(files, manuals, completions), err
}

// manuals asks the command's own tests for them: they know the tree of
// commands, and the binary need not carry a man page writer.
func (r *release) manuals() ([]file, error) {
	folder := filepath.Join(r.scratch, "man1")
	if err := os.Mkdir(folder, 0o755); err != nil {
		return nil, err
	}
	env := []string{"FAULTLINE_MAN_DIR=" + folder, "SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.when.Unix(), 10)}
	if _, err := r.run(env, "go", "test", "-count=1", "-run", "^TestManPages$", "./cmd/faultline"); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	if len(entries) == 0 {
		return nil, errors.New("TestManPages of ./cmd/faultline wrote none")
	}
	var files []file
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, file{"man/man1/" + entry.Name(), content, 0o644})
	}
	return files, nil
}

func (r *release) completions() ([]file, error) {
	host, err := r.build(platform{runtime.GOOS, runtime.GOARCH})
	if err != nil {
		return nil, err
	}
	var files []file
	for shell, name := range map[string]string{
		"bash": "faultline.bash", "fish": "faultline.fish", "powershell": "faultline.ps1", "zsh": "_faultline",
	} {
		script, err := r.run(nil, host, "completion", shell)
		if err != nil {
			return nil, err
		}
		files = append(files, file{"completions/" + name, []byte(script), 0o644})
	}
	return files, nil
}

// build makes the static binary of one platform, with its version stamped.
func (r *release) build(p platform) (string, error) {
	binary := filepath.Join(r.scratch, p.os+"_"+p.arch, "faultline"+p.suffix())
	env := []string{"CGO_ENABLED=0", "GOOS=" + p.os, "GOARCH=" + p.arch, "GOFLAGS=-buildvcs=false"}
	_, err := r.run(env, "go", "build", "-trimpath", "-ldflags", "-s -w -X main.version="+r.version, "-o", binary, "./cmd/faultline")
	return binary, err
}

func (p platform) suffix() string {
	if p.os == "windows" {
		return ".exe"
	}
	return ""
}

func (r *release) platform(p platform, common []file) error {
	binary, err := r.build(p)
	if err != nil {
		return err
	}
	content, err := os.ReadFile(binary)
	if err != nil {
		return err
	}
	parts, err := modulesOf(binary)
	if err != nil {
		return err
	}
	licences, err := r.licences(parts)
	if err != nil {
		return err
	}
	name := fmt.Sprintf("faultline_%s_%s_%s", strings.TrimPrefix(r.version, "v"), p.os, p.arch)
	if err := r.writeBill(filepath.Join(r.out, name+".cdx.json"), parts); err != nil {
		return err
	}
	files := slices.Concat([]file{{"faultline" + p.suffix(), content, 0o755}}, common, licences)
	slices.SortFunc(files, func(a, b file) int { return strings.Compare(a.name, b.name) })
	fmt.Println(name, len(files), "files")
	if p.os == "windows" {
		return r.writeZip(filepath.Join(r.out, name+".zip"), name, files)
	}
	return r.writeTar(filepath.Join(r.out, name+".tar.gz"), name, files)
}

// run runs a program in the tree and returns its stdout.
func (r *release) run(env []string, name string, args ...string) (string, error) {
	cmd := exec.Command(name, args...)
	cmd.Dir = r.tree
	cmd.Env = append(os.Environ(), env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s%s", strings.Join(cmd.Args, " "), err, &stdout, &stderr)
	}
	return stdout.String(), nil
}
