package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// The variables that move a home.
const (
	EnvHome   = "FAULTLINE_HOME"   // State
	EnvShared = "FAULTLINE_SHARED" // Shared: for tests, and for containers that mount the host's
)

// Home is where records live. State is this user's own; Shared is one place for
// all users of the host, with leases, halt and the names of active runs.
type Home struct{ State, Shared string }

// ErrUnsafe says that a directory or file can be written by somebody else, or
// belongs to somebody else: nothing in it is believed.
var ErrUnsafe = errors.New("not safe")

// OpenHome finds both places, creates State where it is missing and checks it.
// Shared is opened by what needs it, so that `undo` heals even where that fails.
func OpenHome(getenv func(string) string) (Home, error) {
	state, err := statePath(getenv)
	if err != nil {
		return Home{}, err
	}
	shared, err := sharedPath(getenv)
	if err != nil {
		return Home{}, err
	}
	h := Home{State: state, Shared: shared}
	if err := h.makeState(); err != nil {
		return Home{}, fmt.Errorf("open the state directory: %w (another place: set %s)", err, EnvHome)
	}
	return h, nil
}

func statePath(getenv func(string) string) (string, error) {
	if dir := getenv(EnvHome); dir != "" {
		return filepath.Abs(dir)
	}
	if os.Geteuid() == 0 {
		return "/var/lib/faultline", nil
	}
	if dir := getenv("XDG_STATE_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "faultline"), nil
	}
	if dir := getenv("LocalAppData"); runtime.GOOS == "windows" && filepath.IsAbs(dir) {
		return filepath.Join(dir, "faultline"), nil
	}
	if dir := getenv("HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, ".local", "state", "faultline"), nil
	}
	return "", fmt.Errorf("find the state directory: neither %s, XDG_STATE_HOME nor HOME is set: set %s to a directory of your own", EnvHome, EnvHome)
}

func (h Home) runs() string { return filepath.Join(h.State, "runs") }

func (h Home) makeState() error {
	if err := os.MkdirAll(h.State, 0o700); err != nil {
		return err
	}
	if err := checkOurs(h.State); err != nil {
		return err
	}
	if err := os.Mkdir(h.runs(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return checkOurs(h.runs())
}

// CheckWritable says, for preflight, whether a run can be recorded here. It only
// asks: `undo` heals also where nothing can be written any more.
func (h Home) CheckWritable() error {
	if err := mayWrite(h.runs()); err != nil {
		return fmt.Errorf("write records to %s: %w: set %s to a directory of your own on another disk", h.runs(), err, EnvHome)
	}
	return nil
}

// checkOurs refuses a directory that is not this user's own, or that others can write.
func checkOurs(dir string) error {
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	switch owner, known := ownerOf(info); {
	case !info.IsDir():
		return fmt.Errorf("%s: %w: it is no directory", dir, ErrUnsafe)
	case known && owner != userID():
		return fmt.Errorf("%s: %w: it belongs to uid %s, and this is uid %s", dir, ErrUnsafe, owner, userID())
	case known && info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w: others can write it (mode %#o): run chmod go-w %s", dir, ErrUnsafe, info.Mode().Perm(), dir)
	}
	return nil
}
