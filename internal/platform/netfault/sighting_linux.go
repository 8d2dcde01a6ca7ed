package netfault

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// sighting tells whether a process lives in a namespace when its namespace file
// may not be looked at (its rights are above ours, as those of pid 1 often are).
// A socket with a random name is opened inside: the kernel lists unix sockets by
// network namespace, and /proc/PID/net shows anybody the list of the process's own.
type sighting struct {
	fd   int
	name []byte
}

// sight opens the socket and checks that it is seen from inside.
func (ns *Namespace) sight() (*sighting, error) {
	s := &sighting{name: fmt.Appendf(nil, "@faultline-%016x", rand.Uint64())}
	err := ns.Do(func() error {
		var err error
		if s.fd, err = unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return fmt.Errorf("open a socket in %s: %w", ns.path, err)
		}
		if err := unix.Bind(s.fd, &unix.SockaddrUnix{Name: string(s.name)}); err != nil {
			return errors.Join(fmt.Errorf("name a socket in %s: %w", ns.path, err), s.close())
		}
		seen, err := s.seenIn("/proc/thread-self/net/unix")
		if err == nil && !seen {
			err = errors.New("this kernel does not list it")
		}
		if err != nil {
			return errors.Join(fmt.Errorf("see our own socket in %s: %w", ns.path, err), s.close())
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (s *sighting) close() error { return unix.Close(s.fd) }

func (s *sighting) seenBy(pid int) (bool, error) {
	return s.seenIn(fmt.Sprintf("/proc/%d/net/unix", pid))
}

func (s *sighting) seenIn(path string) (bool, error) {
	list, err := os.ReadFile(path)
	if err != nil {
		return false, classify(err)
	}
	return bytes.Contains(list, s.name), nil
}
