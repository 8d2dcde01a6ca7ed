package platform

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
)

// errNotFirst says that a process is in the right container and is not pid 1 there.
var errNotFirst = fmt.Errorf("it is not pid 1 of its pid namespace: the engine counts pids in another one: %w", ErrUnsupported)

// initOf says why process pid of this host is not the init of a container; nil
// when the kernel itself names the full ID in its cgroup. It must be pinned.
func initOf(pid int, containerID string) error {
	cgroups, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cgroup")
	if err != nil {
		return unproven(fmt.Errorf("read the cgroups of pid %d: %w", pid, err))
	}
	if !inContainer(cgroups, containerID) {
		return fmt.Errorf("pid %d of this host is not in that container: the engine runs on another kernel or in a pid namespace of its own: %w", pid, ErrUnsupported)
	}
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return unproven(fmt.Errorf("read the status of pid %d: %w", pid, err))
	}
	if !firstInNamespace(status) {
		return errNotFirst
	}
	return nil
}

// unproven: what cannot be read proves nothing, and unproven is remote.
func unproven(err error) error { return fmt.Errorf("%w: %w", err, ErrUnsupported) }

// inContainer looks for the full ID as a path component in /proc/PID/cgroup:
// bare (cgroupfs driver, any nesting) or in a systemd scope, as docker-ID.scope.
func inContainer(cgroups []byte, id string) bool {
	if len(id) < fullID {
		return false
	}
	for line := range strings.Lines(string(cgroups)) {
		_, rest, _ := strings.Cut(line, ":")
		_, path, _ := strings.Cut(strings.TrimSpace(rest), ":")
		for component := range strings.SplitSeq(path, "/") {
			if containerName(component) == id {
				return true
			}
		}
	}
	return false
}

// containerName is the container ID that a cgroup's name stands for.
func containerName(component string) string {
	name, scope := strings.CutSuffix(component, ".scope")
	if scope {
		name = name[strings.LastIndexByte(name, '-')+1:]
	}
	return name
}

// firstInNamespace reads NSpid: the process's number in each pid namespace, innermost last.
func firstInNamespace(status []byte) bool {
	for line := range bytes.Lines(status) {
		if rest, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			numbers := bytes.Fields(rest)
			return len(numbers) > 0 && string(numbers[len(numbers)-1]) == "1"
		}
	}
	return true // kernels before 4.1 do not say
}

// fullID is the length of a container's full ID.
const fullID = 64

// containers are the IDs of the containers that this process may be in.
type containers []string

func (c containers) is(id string) bool { return slices.Contains(c, id) }

// ownContainer finds the container in which this process runs, if any: by its
// cgroup, and by the files that an engine mounts into every container, since a
// private cgroup namespace hides the first.
func ownContainer() (containers, error) {
	var own containers
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // there is none outside Linux
		return nil, fmt.Errorf("see whether this process runs in a container: %w", err)
	}
	for line := range strings.Lines(string(cgroups)) {
		own = append(own, idsIn(strings.TrimSpace(line))...)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("see whether this process runs in a container: %w", err)
	}
	return append(own, mountedFrom(mounts)...), nil
}

// engineFiles are mounted from a folder named for the container.
var engineFiles = []string{"/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/.containerenv"}

// mountedFrom reads mountinfo: the fourth field is the mount's root, the fifth where it stands.
func mountedFrom(mountinfo []byte) containers {
	var found containers
	lines := bufio.NewScanner(bytes.NewReader(mountinfo))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) > 4 && slices.Contains(engineFiles, fields[4]) {
			found = append(found, idsIn(fields[3])...)
		}
	}
	return found
}

func idsIn(path string) containers {
	var found containers
	for component := range strings.SplitSeq(path, "/") {
		if name := containerName(component); len(name) == fullID && strings.Trim(name, "0123456789abcdef") == "" {
			found = append(found, name)
		}
	}
	return found
}
