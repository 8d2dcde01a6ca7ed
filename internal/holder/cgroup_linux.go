package holder

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// holdersGroup is the cgroup of all holders, below the root of the hierarchy by
// which service managers end a job with everything in it.
const holdersGroup = "faultline-holders"

// leaveCgroup moves this process out of its parent's subtree, so that ending
// the parent's job does not end the healing. It needs rights that most users do
// not have, and is then skipped: the pipe and the journal still hold.
func leaveCgroup() error {
	own, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return fmt.Errorf("read the own cgroup: %w", err)
	}
	var errs []error
	for _, root := range managedRoots(own) {
		dir := filepath.Join(root, holdersGroup)
		err := os.Mkdir(dir, 0o755)
		if err == nil || errors.Is(err, os.ErrExist) {
			err = os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(os.Getpid())), 0)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("leave the parent's cgroup: %w", err))
		}
	}
	return errors.Join(errs...)
}

// managedRoots are the mount points of the hierarchies in which this process is
// in a group: version 2, and version 1's name=systemd; cgroups(7).
func managedRoots(own []byte) []string {
	var roots []string
	lines := bufio.NewScanner(bytes.NewReader(own))
	for lines.Scan() {
		parts := strings.SplitN(lines.Text(), ":", 3)
		if len(parts) != 3 || parts[2] == "/" {
			continue
		}
		switch parts[1] {
		case "":
			roots = append(roots, firstWith("cgroup.procs", "/sys/fs/cgroup/unified", "/sys/fs/cgroup")...)
		case "name=systemd":
			roots = append(roots, firstWith("cgroup.procs", "/sys/fs/cgroup/systemd")...)
		}
	}
	return roots
}

func firstWith(file string, dirs ...string) []string {
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			return []string{dir}
		}
	}
	return nil
}

// tidyCgroup removes the holders' group when the last of them has gone; it
// stays, empty or not, when the kernel says that it is in use.
func tidyCgroup() {
	for _, root := range []string{"/sys/fs/cgroup/unified", "/sys/fs/cgroup", "/sys/fs/cgroup/systemd"} {
		_ = os.Remove(filepath.Join(root, holdersGroup)) // EBUSY: another holder is in it
	}
}
