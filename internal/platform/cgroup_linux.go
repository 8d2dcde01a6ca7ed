package platform

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// cgroups are the lines of /proc/PID/cgroup: hierarchy (its controllers, "name=systemd", "" for v2) to path.
type cgroups map[string]string

func readCgroups(pid int) (cgroups, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return nil, gone(err, "read the cgroup", pid)
	}
	return parseCgroups(string(raw)), nil
}

func parseCgroups(text string) cgroups {
	lines := cgroups{}
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) == 3 {
			lines[parts[1]] = parts[2]
		}
	}
	return lines
}

// path is the one that says most: v2's, then systemd's own hierarchy, then the
// deepest of a v1 controller. On hybrid systems the first of them are often "/".
func (c cgroups) path() string {
	for _, hierarchy := range []string{"", "name=systemd"} {
		if path := c[hierarchy]; path != "" && path != "/" {
			return path
		}
	}
	deepest := "/"
	for _, hierarchy := range sortedKeys(c) {
		if path := c[hierarchy]; strings.Count(path, "/") > strings.Count(deepest, "/") || deepest == "/" && path != "" {
			deepest = path
		}
	}
	return deepest
}

// unitKinds are the systemd units that hold processes.
var unitKinds = []string{".service", ".scope", ".socket", ".mount", ".swap"}

// unit is the innermost systemd unit; "" when there is none.
func (c cgroups) unit() string {
	for _, hierarchy := range []string{"", "name=systemd"} {
		for _, part := range slices.Backward(strings.Split(c[hierarchy], "/")) {
			if slices.ContainsFunc(unitKinds, func(kind string) bool { return strings.HasSuffix(part, kind) }) {
				return part
			}
		}
	}
	return ""
}

func sortedKeys(c cgroups) []string {
	keys := make([]string, 0, len(c))
	for k := range c {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
