package platform

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// portReader finds what processes listen on: the sockets of each one's own
// network namespace, joined with its open files.
type portReader struct {
	spaces map[string]map[string]int // namespace link to (socket inode to port)
}

func newPortReader() *portReader { return &portReader{spaces: map[string]map[string]int{}} }

func (r *reader) listening(p *Process) error {
	if r.ports == nil || p.Kernel {
		return nil
	}
	ports, err := r.ports.of(p.PID)
	p.Ports = ports
	return err
}

func (r *portReader) of(pid int) ([]int, error) {
	space, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	sockets, known := r.spaces[space]
	if !known {
		if sockets, err = listeners(pid); err != nil {
			return nil, err
		}
		r.spaces[space] = sockets
	}
	return openPorts(pid, sockets)
}

func openPorts(pid int, sockets map[string]int) ([]int, error) {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ports []int
	for _, e := range entries {
		link, err := os.Readlink(dir + "/" + e.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // closed since
		}
		if err != nil {
			return nil, err
		}
		inode, ok := strings.CutPrefix(link, "socket:[")
		if port, listens := sockets[strings.TrimSuffix(inode, "]")]; ok && listens {
			ports = append(ports, port)
		}
	}
	slices.Sort(ports)
	return slices.Compact(ports), nil
}

// tables are the files of /proc/PID/net and the state in which a socket waits for anybody.
var tables = []struct {
	name, waiting string
	optional      bool
}{
	{"tcp", "0A", false}, {"udp", "07", false},
	{"tcp6", "0A", true}, {"udp6", "07", true}, // missing where IPv6 is off
}

func listeners(pid int) (map[string]int, error) {
	sockets := map[string]int{}
	for _, table := range tables {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", pid, table.name))
		if table.optional && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(string(raw)) {
			if inode, port, ok := parseSocket(line, table.waiting); ok {
				sockets[inode] = port
			}
		}
	}
	return sockets, nil
}

// parseSocket reads a line of /proc/net/tcp: "sl local remote state … inode".
func parseSocket(line, waiting string) (inode string, port int, ok bool) {
	f := strings.Fields(line)
	if len(f) < 10 || f[3] != waiting || strings.Trim(f[2], "0:") != "" {
		return "", 0, false
	}
	_, hex, _ := strings.Cut(f[1], ":")
	n, err := strconv.ParseUint(hex, 16, 16)
	if err != nil {
		return "", 0, false
	}
	return f[9], int(n), true
}
