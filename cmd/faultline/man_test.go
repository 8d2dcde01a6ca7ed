package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// TestManPages writes a man page for every command; `make release` keeps them
// by naming a folder, so that the binary itself need not carry a man page writer.
func TestManPages(t *testing.T) {
	folder := os.Getenv("FAULTLINE_MAN_DIR")
	if folder == "" {
		folder = t.TempDir()
	}
	date := time.Unix(0, 0)
	if seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		date = time.Unix(seconds, 0).UTC()
	}
	root := (&app{getenv: func(string) string { return "" }}).root()
	root.DisableAutoGenTag = true
	header := doc.GenManHeader{Title: "FAULTLINE", Section: "1", Source: "faultline", Date: &date}
	if err := doc.GenManTree(root, &header, folder); err != nil {
		t.Fatal(err)
	}
	for _, path := range commandPaths(root) {
		page, err := os.ReadFile(filepath.Join(folder, strings.ReplaceAll(path, " ", "-")+".1"))
		if err != nil {
			t.Errorf("%s has no man page: %v", path, err)
		} else if !strings.Contains(string(page), "SYNOPSIS") {
			t.Errorf("the man page of %s has no synopsis", path)
		}
	}
}

func commandPaths(cmd *cobra.Command) []string {
	paths := []string{cmd.CommandPath()}
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() {
			paths = append(paths, commandPaths(child)...)
		}
	}
	return paths
}
