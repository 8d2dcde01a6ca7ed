package main

import (
	"bytes"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

// modulesOf reads from a binary what it was made of, which is less than what go.mod asks for.
func modulesOf(binary string) (*debug.BuildInfo, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading what %s is made of: %w", binary, err)
	}
	return info, nil
}

// module is what was linked: a replacement, where there is one.
func module(m *debug.Module) *debug.Module {
	if m.Replace != nil {
		return m.Replace
	}
	return m
}

// writeBill writes the bill of materials in CycloneDX's JSON.
func (r *release) writeBill(path string, parts *debug.BuildInfo) error {
	bill := cdx.NewBOM()
	bill.Metadata = &cdx.Metadata{
		Timestamp: r.when.Format("2006-01-02T15:04:05Z"),
		Component: component(cdx.ComponentTypeApplication, parts.Main.Path, r.version),
	}
	components := []cdx.Component{*component(cdx.ComponentTypeLibrary, "std", strings.TrimPrefix(parts.GoVersion, "go"))}
	for _, dep := range parts.Deps {
		dep = module(dep)
		components = append(components, *component(cdx.ComponentTypeLibrary, dep.Path, dep.Version))
	}
	bill.Components = &components
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).Encode(bill); err != nil {
		return fmt.Errorf("writing the bill of materials: %w", err)
	}
	return os.WriteFile(path, out.Bytes(), 0o644)
}

func component(kind cdx.ComponentType, path, version string) *cdx.Component {
	url := "pkg:golang/" + strings.ReplaceAll(path, "+", "%2B") + "@" + strings.ReplaceAll(version, "+", "%2B")
	return &cdx.Component{BOMRef: url, Type: kind, Name: path, Version: version, PackageURL: url}
}

// licenceName is how modules call the files that must go along with their code.
var licenceName = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice|patents)([._-].*)?$`)

// licences returns the licence files of every module in the binary, and Go's own.
func (r *release) licences(parts *debug.BuildInfo) ([]file, error) {
	root, err := r.run(nil, "go", "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	files, err := licencesIn(strings.TrimSpace(root), "go")
	if err != nil {
		return nil, err
	}
	for _, dep := range parts.Deps {
		dep = module(dep)
		folder, err := r.moduleFolder(dep)
		if err != nil {
			return nil, err
		}
		found, err := licencesIn(folder, dep.Path)
		if err != nil {
			return nil, err
		}
		files = append(files, found...)
	}
	return files, nil
}

func (r *release) moduleFolder(m *debug.Module) (string, error) {
	answer, err := r.run(nil, "go", "mod", "download", "-json", m.Path+"@"+m.Version)
	if err != nil {
		return "", err
	}
	var downloaded struct{ Dir string }
	if err := json.Unmarshal([]byte(answer), &downloaded); err != nil {
		return "", fmt.Errorf("finding the module %s: %w", m.Path, err)
	}
	return downloaded.Dir, nil
}

func licencesIn(folder, path string) ([]file, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("looking for the licence of %s: %w", path, err)
	}
	var files []file
	for _, entry := range entries {
		if entry.IsDir() || !licenceName.MatchString(entry.Name()) {
			continue
		}
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return nil, fmt.Errorf("reading the licence of %s: %w", path, err)
		}
		files = append(files, file{"third-party-licences/" + path + "/" + entry.Name(), content, 0o644})
	}
	if len(files) == 0 {
		return nil, errors.New("the module " + path + " has no licence file: it cannot be given to anybody")
	}
	return files, nil
}
