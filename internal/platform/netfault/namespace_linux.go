package netfault

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Namespace is one network namespace, held open: as long as it is, its number
// cannot go to another one.
type Namespace struct {
	file *os.File
	id   ID
	path string
}

// OpenName opens a named namespace (ip netns add NAME).
func OpenName(name string) (*Namespace, error) {
	if name == "" || name == "." || name == ".." || strings.ContainsRune(name, '/') {
		return nil, fmt.Errorf("open network namespace %q: that is not a name", name)
	}
	return OpenPath(filepath.Join("/run/netns", name))
}

// OpenPID opens the namespace of a process. still is asked after the opening
// whether the process is the one that was meant: its error is the answer then.
func OpenPID(pid int, still func() error) (*Namespace, error) {
	ns, err := OpenPath(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return nil, err
	}
	if err := still(); err != nil {
		return nil, errors.Join(err, ns.Close())
	}
	return ns, nil
}

// OpenPath opens the namespace that a file stands for.
func OpenPath(path string) (*Namespace, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open network namespace %s: %w", path, classify(err))
	}
	ns, err := openFile(file)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open network namespace %s: %w", path, err), file.Close())
	}
	return ns, nil
}

// classify adds what an error number means for a namespace.
func classify(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ESRCH):
		return fmt.Errorf("%w: %w", ErrGone, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w (run as root): %w", ErrUnknown, err)
	}
	return err
}

// errNotNamespace: a plain file, as a crashed `ip netns` leaves one behind.
var errNotNamespace = errors.New("it is not a network namespace")

func openFile(file *os.File) (*Namespace, error) {
	kind, err := unix.IoctlRetInt(int(file.Fd()), unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return nil, errNotNamespace
	}
	ns := &Namespace{file: file, path: file.Name()}
	if ns.id, err = ns.identify(); err != nil {
		return nil, err
	}
	return ns, nil
}

// identify reads the cookie by a socket that was made inside.
func (ns *Namespace) identify() (ID, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ID{}, fmt.Errorf("read the boot id: %w", err)
	}
	info, err := ns.file.Stat()
	if err != nil {
		return ID{}, fmt.Errorf("read its inode: %w", err)
	}
	id := ID{BootID: string(bytes.TrimSpace(boot)), Inode: inode(info)}
	err = ns.Do(func() error {
		id.Cookie, err = cookie()
		return err
	})
	return id, err
}

func cookie() (uint64, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("make a socket inside: %w", err)
	}
	defer unix.Close(fd)
	v, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	if errors.Is(err, unix.ENOPROTOOPT) {
		return 0, fmt.Errorf("read its cookie: %w: Linux 5.14 or later is needed: %w", ErrUnsupported, err)
	}
	if err != nil {
		return 0, fmt.Errorf("read its cookie: %w", err)
	}
	return v, nil
}

func inode(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

// ID is what the namespace is for certain.
func (ns *Namespace) ID() ID { return ns.id }

// Path is where it was found, for people.
func (ns *Namespace) Path() string { return ns.path }

// again opens the same namespace once more.
func (ns *Namespace) again() (*Namespace, error) {
	return OpenPath(fmt.Sprintf("/proc/self/fd/%d", ns.file.Fd()))
}

// Close lets the namespace go.
func (ns *Namespace) Close() error { return ns.file.Close() }

// Do calls f on a thread that is inside the namespace. The thread is thrown
// away afterwards: one that could not be brought back would be a trap.
func (ns *Namespace) Do(f func() error) error {
	return onSpareThread(func() error {
		if err := unix.Setns(int(ns.file.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter network namespace %s: %w", ns.path, classify(err))
		}
		return f()
	})
}

// onSpareThread calls f on a thread that ends with it. The process's first
// thread never ends and stands for the process in /proc, so it is not used.
func onSpareThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != unix.Getpid() {
			done <- f() // never unlocked: the runtime ends the thread
			return
		}
		defer runtime.UnlockOSThread()
		done <- onSpareThread(f) // on another thread, since this one is taken
	}()
	return <-done
}

// IsHost compares the namespace with that of pid 1. When neither its inode nor
// its sockets can be read the answer is an error that is ErrUnknown, never "no".
func (ns *Namespace) IsHost() (bool, error) {
	look := ns.looker()
	yes, err := look.livesHere(1)
	if err = errors.Join(err, look.close()); err != nil {
		return false, fmt.Errorf("%w: is it the host's network namespace? %w", ErrUnknown, err)
	}
	return yes, nil
}

// Members lists the processes that live in the namespace. complete is false
// when some process could not be looked at.
func (ns *Namespace) Members() (pids []int, complete bool, err error) {
	look := ns.looker()
	complete = true
	err = eachNamespaceFile(func(_ string, pid int) {
		if pid == 0 {
			return
		}
		switch here, err := look.livesHere(pid); {
		case here:
			pids = append(pids, pid)
		case err != nil && !errors.Is(err, ErrGone):
			complete = false
		}
	})
	slices.Sort(pids)
	return pids, complete, errors.Join(err, look.close())
}

// residents tells of processes whether they live in a namespace.
type residents struct {
	ns      *Namespace
	sockets *sighting // made when first needed
}

func (ns *Namespace) looker() *residents { return &residents{ns: ns} }

func (r *residents) livesHere(pid int) (bool, error) {
	mine, err := r.ns.file.Stat()
	if err != nil {
		return false, fmt.Errorf("look at %s: %w", r.ns.path, err)
	}
	theirs, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err == nil {
		return os.SameFile(mine, theirs), nil
	}
	if !errors.Is(err, fs.ErrPermission) {
		return false, classify(err)
	}
	if r.sockets == nil {
		if r.sockets, err = r.ns.sight(); err != nil {
			return false, err
		}
	}
	return r.sockets.seenBy(pid)
}

func (r *residents) close() error {
	if r.sockets == nil {
		return nil
	}
	return r.sockets.close()
}

// eachNamespaceFile names every file that stands for a network namespace:
// of processes, of `ip netns` and of Docker. pid is 0 for the latter.
func eachNamespaceFile(visit func(path string, pid int)) error {
	processes, err := os.ReadDir("/proc")
	if err != nil {
		return fmt.Errorf("list the processes: %w", err)
	}
	for _, p := range processes {
		if pid, err := strconv.Atoi(p.Name()); err == nil {
			visit(fmt.Sprintf("/proc/%d/ns/net", pid), pid)
		}
	}
	for _, dir := range []string{"/run/netns", "/run/docker/netns"} {
		names, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("list the network namespaces in %s: %w", dir, err)
		}
		for _, n := range names {
			visit(filepath.Join(dir, n.Name()), 0)
		}
	}
	return nil
}

// Find opens the namespace with this identity, wherever it is now. ErrGone is
// said only when every namespace was looked at; when one could not be, ErrUnknown.
func Find(id ID, hint Hint) (*Namespace, error) {
	if boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id"); err != nil {
		return nil, fmt.Errorf("find %s: %w: %w", id, ErrUnknown, err)
	} else if string(bytes.TrimSpace(boot)) != id.BootID {
		return nil, fmt.Errorf("find %s: %w: the machine was booted since", id, ErrGone)
	}
	for _, path := range hint.paths() {
		if ns, err := OpenPath(path); err == nil {
			if ns.ID().Same(id) {
				return ns, nil
			}
			ns.Close()
		}
	}
	return search(id)
}

func (h Hint) paths() []string {
	var paths []string
	if h.Path != "" {
		paths = append(paths, h.Path)
	}
	if h.PID != 0 {
		paths = append(paths, fmt.Sprintf("/proc/%d/ns/net", h.PID))
	}
	return paths
}

// search opens one file for each inode: those held open by us cannot be recycled meanwhile.
func search(id ID) (*Namespace, error) {
	var found *Namespace
	others := map[uint64]*Namespace{}
	unread := map[string]int{} // path to pid
	err := eachNamespaceFile(func(path string, pid int) {
		info, err := os.Stat(path)
		if found != nil || (err == nil && others[inode(info)] != nil) {
			return
		}
		ns, err := OpenPath(path)
		switch {
		case errors.Is(err, ErrGone), errors.Is(err, errNotNamespace):
		case err != nil:
			unread[path] = pid
		case ns.ID().Same(id):
			found = ns
		default:
			others[ns.ID().Inode] = ns
		}
	})
	defer func() {
		for _, ns := range others {
			ns.Close()
		}
	}()
	if found != nil {
		return found, nil
	}
	if err == nil {
		err = allElsewhere(unread, others)
	}
	if err != nil {
		return nil, fmt.Errorf("find %s: %w: %w", id, ErrUnknown, err)
	}
	return nil, fmt.Errorf("find %s: %w", id, ErrGone)
}

// allElsewhere is nil when each process whose namespace could not be opened is
// seen to live in one of the others.
func allElsewhere(unread map[string]int, others map[uint64]*Namespace) error {
	for path, pid := range unread {
		if pid == 0 || !slices.ContainsFunc(slices.Collect(maps.Values(others)), func(ns *Namespace) bool {
			look := ns.looker()
			here, err := look.livesHere(pid)
			return errors.Join(err, look.close()) == nil && here
		}) {
			return fmt.Errorf("%s could not be looked at (run as root)", path)
		}
	}
	return nil
}

// Interfaces lists the network interfaces inside.
func (ns *Namespace) Interfaces() ([]Interface, error) {
	var all []Interface
	err := ns.Do(func() error {
		list, err := net.Interfaces()
		if err != nil {
			return fmt.Errorf("list the interfaces of %s: %w", ns.path, err)
		}
		for _, i := range list {
			all = append(all, Interface{
				Name: i.Name, Index: i.Index,
				Loopback: i.Flags&net.FlagLoopback != 0, Up: i.Flags&net.FlagUp != 0,
			})
		}
		return nil
	})
	return all, err
}
