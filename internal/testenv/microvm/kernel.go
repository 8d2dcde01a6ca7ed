package microvm

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// debian is an unpacked kernel package.
type debian struct {
	kernel  string
	modules map[string]string // name to file
}

// metaPackage names the newest cloud kernel of the release.
const metaPackage = "linux-image-cloud-amd64"

// unpackKernel downloads the kernel once; the folder is named for the package.
func unpackKernel(ctx context.Context) (debian, error) {
	out, err := exec.CommandContext(ctx, "apt-cache", "depends", "--important", metaPackage).Output()
	if err != nil {
		return debian{}, fmt.Errorf("ask apt for %s: %w", metaPackage, err)
	}
	found := regexp.MustCompile(`Depends: (linux-image-\S+-cloud-amd64)\b`).FindSubmatch(out)
	if found == nil {
		return debian{}, fmt.Errorf("ask apt for %s: no kernel in its answer %q", metaPackage, out)
	}
	name := string(found[1])
	cache := filepath.Join(os.TempDir(), "faultline-microvm-"+strconv.Itoa(os.Getuid()))
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return debian{}, err
	}
	unpacked := filepath.Join(cache, name)
	if _, err := os.Stat(unpacked); errors.Is(err, fs.ErrNotExist) {
		err = download(ctx, cache, name, unpacked)
		if err != nil {
			return debian{}, err
		}
	}
	return readUnpacked(unpacked)
}

// download unpacks beside and renames: a folder of the right name is complete.
func download(ctx context.Context, cache, name, unpacked string) error {
	work, err := os.MkdirTemp(cache, "unpack-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	get := exec.CommandContext(ctx, "apt-get", "download", name)
	get.Dir = work
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("download %s: %w\n%s", name, err, out)
	}
	packages, err := filepath.Glob(filepath.Join(work, "*.deb"))
	if err != nil || len(packages) != 1 {
		return fmt.Errorf("download %s: %d packages came", name, len(packages))
	}
	tree := filepath.Join(work, "tree")
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "-x", packages[0], tree).CombinedOutput(); err != nil {
		return fmt.Errorf("unpack %s: %w\n%s", name, err, out)
	}
	if err := os.Rename(tree, unpacked); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func readUnpacked(dir string) (debian, error) {
	d := debian{modules: map[string]string{}}
	kernels, err := filepath.Glob(filepath.Join(dir, "boot", "vmlinuz-*"))
	if err != nil || len(kernels) != 1 {
		return d, fmt.Errorf("read the kernel in %s: %d found", dir, len(kernels))
	}
	d.kernel = kernels[0]
	err = filepath.WalkDir(filepath.Join(dir, "lib", "modules"), func(path string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(filepath.Base(path), ".ko"); ok {
			d.modules[strings.ReplaceAll(name, "-", "_")] = path
		}
		return err
	})
	return d, err
}

// withNeeded gives the files of the modules in an order in which they load.
func (d debian) withNeeded(names []string) ([]string, error) {
	var order []string
	var visit func(name string) error
	visit = func(name string) error {
		path, ok := d.modules[strings.ReplaceAll(name, "-", "_")]
		if !ok {
			return fmt.Errorf("kernel module %s is not in the package", name)
		}
		if slices.Contains(order, path) {
			return nil
		}
		needs, err := needsOf(path)
		if err != nil {
			return err
		}
		for _, n := range needs {
			if err := visit(n); err != nil {
				return fmt.Errorf("for %s: %w", name, err)
			}
		}
		order = append(order, path)
		return nil
	}
	for _, name := range names {
		if err := visit(name); err != nil {
			return nil, err
		}
	}
	return order, nil
}

// needsOf reads what the module itself says it needs.
func needsOf(path string) ([]string, error) {
	object, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	defer object.Close()
	section := object.Section(".modinfo")
	if section == nil {
		return nil, fmt.Errorf("read module %s: it has no .modinfo", path)
	}
	info, err := section.Data()
	if err != nil {
		return nil, fmt.Errorf("read module %s: %w", path, err)
	}
	for _, entry := range bytes.Split(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(entry), "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
