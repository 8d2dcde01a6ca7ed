package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"time"
)

// The host-wide place is a sticky directory like /tmp: everybody can add to it,
// nobody can remove what another one put there. Each user has a directory of
// his own in it, readable by all:
//
//	lock                 one short mutual exclusion of all faultline processes
//	u1000-4711/          who it belongs to is what the file system says, not its name
//	  20260102-….run     an active run: who, where, its leases, one JSON line each
//	  halt.json
const (
	sharedMode = 0o777 | fs.ModeSticky
	mutexName  = "lock"
	runSuffix  = ".run"
	haltName   = "halt.json"
	// mutexTime is how long a process waits for another one's few file operations.
	mutexTime = 5 * time.Second
	// maxShared bounds what is read of a file that another user wrote.
	maxShared = 4 << 20
)

// openShared creates the host-wide place where it is missing, and checks it.
func (h Home) openShared() error {
	// Sticky from the first moment, as nobody makes his own directory: so that one
	// whose maker died before it was open to all is known, and opened.
	err := os.Mkdir(h.Shared, sharedMode)
	if err == nil || errors.Is(err, fs.ErrExist) {
		err = openToAll(h.Shared)
	}
	if err != nil {
		return fmt.Errorf("open the host-wide place for leases: %w (another place: set %s, the same for all users)", err, EnvShared)
	}
	return h.checkShared()
}

// openToAll takes back what the umask took away when this user made the directory.
func openToAll(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	owner, known := ownerOf(info)
	if !known || owner != userID() || !info.IsDir() || info.Mode()&fs.ModeSticky == 0 || info.Mode().Perm() == 0o777 {
		return nil
	}
	return os.Chmod(dir, sharedMode)
}

// checkShared refuses a host-wide place in which users could remove each other's files.
func (h Home) checkShared() error {
	for end := time.Now().Add(probeTime); ; {
		err := checkSticky(h.Shared)
		if !errors.Is(err, errNotSticky) || !time.Now().Before(end) {
			return err
		}
		<-time.After(lockPoll) // another process may be between its mkdir and its chmod
	}
}

var errNotSticky = fmt.Errorf("%w: not open to all and sticky", ErrUnsafe)

func checkSticky(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return fmt.Errorf("open the host-wide place for leases: %w", err)
	}
	owner, known := ownerOf(info)
	switch {
	case !info.IsDir():
		return fmt.Errorf("open the host-wide place for leases: %s: %w: it is no directory: remove it", dir, ErrUnsafe)
	case !known || owner == userID() && info.Mode().Perm()&0o022 == 0:
		return nil // only ours: nobody else can remove anything in it
	case info.Mode()&(fs.ModeSticky|0o777) != sharedMode:
		return fmt.Errorf("open the host-wide place for leases: %s (mode %s): %w: run chmod 1777 %s", dir, info.Mode(), errNotSticky, dir)
	}
	return nil
}

// exclusively runs do while no other faultline process of this host is in it.
func (h Home) exclusively(do func() error) error {
	if err := h.openShared(); err != nil {
		return err
	}
	f, err := openOrCreate(filepath.Join(h.Shared, mutexName), 0o644)
	if err != nil {
		return fmt.Errorf("lock the host-wide place for leases: %w", err)
	}
	defer f.Close() // unlocks
	if err := lockWithin(f, lockExclusive, mutexTime); err != nil {
		return fmt.Errorf("lock the host-wide place for leases: %s: %w for more than %s: `fuser %s` names the process", f.Name(), err, mutexTime, f.Name())
	}
	return do()
}

// openOrCreate opens to read, which is enough to lock. A file of another user
// in a sticky directory may not be opened for creation (fs.protected_regular).
func openOrCreate(path string, mode fs.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
		if errors.Is(err, fs.ErrNotExist) {
			f, err = os.OpenFile(path, os.O_RDONLY|os.O_CREATE|os.O_EXCL|openNoFollow, mode)
		}
		switch {
		case errors.Is(err, fs.ErrExist):
			continue // another process was faster
		case err != nil:
			return nil, err
		}
		if err := showToAll(f, mode); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return f, nil
	}
}

// showToAll takes back what the umask took away when this user made the file.
func showToAll(f *os.File, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	owner, known := ownerOf(info)
	if !known || owner != userID() || info.Mode().Perm() == mode {
		return nil
	}
	return f.Chmod(mode)
}

// ownShared gives this user's own directory in the host-wide place, made where it is missing.
// The caller holds the mutex.
func (h Home) ownShared() (string, error) {
	mine, err := h.ownSharedDirs()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(h.Shared, fmt.Sprintf("u%s-%08x", userID(), rand.Uint32()))
	if len(mine) > 0 {
		dir = mine[0]
	} else if err := os.Mkdir(dir, 0o755); err != nil {
		return "", fmt.Errorf("make a directory in the host-wide place for leases: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // the umask may hide it from the others
		return "", fmt.Errorf("show a directory in the host-wide place for leases to all users: %w", err)
	}
	return dir, nil
}

func (h Home) ownSharedDirs() ([]string, error) {
	dirs, err := h.sharedDirs()
	if err != nil {
		return nil, err
	}
	var mine []string
	for _, d := range dirs {
		if d.uid == userID() {
			mine = append(mine, d.path)
		}
	}
	return mine, nil
}

// userDir is one user's directory in the host-wide place.
type userDir struct{ path, uid string }

// sharedDirs lists all users' directories; none where the place does not exist yet.
func (h Home) sharedDirs() ([]userDir, error) {
	entries, err := os.ReadDir(h.Shared)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = h.checkShared()
	}
	if err != nil {
		return nil, fmt.Errorf("read the host-wide place for leases: %w", err)
	}
	var dirs []userDir
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the host-wide place for leases: %w", err)
		}
		owner, known := ownerOf(info)
		if !known {
			owner, _, _ = strings.Cut(strings.TrimPrefix(e.Name(), "u"), "-")
			if strings.HasPrefix(e.Name(), "u"+userID()+"-") {
				owner = userID()
			}
		}
		if known && info.Mode().Perm()&0o022 != 0 {
			continue // anybody could have written what is in there: it says nothing
		}
		dirs = append(dirs, userDir{filepath.Join(h.Shared, e.Name()), owner})
	}
	return dirs, nil
}

// readShared reads a small file that another user may have written.
func readShared(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxShared {
		return nil, fmt.Errorf("%s: %w: no plain file of at most %d bytes", path, ErrUnsafe, maxShared)
	}
	return io.ReadAll(io.LimitReader(f, maxShared))
}

// writeWhole puts content under a name at once: readers see all of it or nothing.
func writeWhole(path string, content any, mode fs.FileMode) error {
	raw, err := json.Marshal(content)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return err
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

// userName is who runs this, for people: "name (uid)".
func userName() string {
	name := "user"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + " (" + userID() + ")"
}

// plainText keeps another user's words from writing anything but text to a terminal.
func plainText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
