package journal

import (
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
)

// userID is the SID, or the name where there is none.
func userID() string {
	if u, err := user.Current(); err == nil {
		return u.Uid
	}
	return os.Getenv("USERNAME")
}

// ownerOf is not known here: the directory's access list decides, which Windows
// sets to its creator under the user's profile.
func ownerOf(fs.FileInfo) (uid string, known bool) { return "", false }

func sharedPath(getenv func(string) string) (string, error) {
	if dir := getenv(EnvShared); dir != "" {
		return filepath.Abs(dir)
	}
	if dir := getenv("ProgramData"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "faultline"), nil
	}
	return `C:\ProgramData\faultline`, nil
}

const openNoFollow = 0

// mayWrite cannot be asked here without writing; making the run's directory shows it.
func mayWrite(string) error { return nil }

// syncDir has nothing to do: directories cannot be flushed here, names are kept by the file system.
func syncDir(string) error { return nil }
