package scheduler

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// passing are file systems that go with the machine's boot or the container; statfs(2).
var passing = map[int64]string{unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs", unix.OVERLAYFS_SUPER_MAGIC: "a container's own layer (overlayfs)"}

// outlives says why the state directory would not outlive the holder.
func outlives(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("look at the file system of %s: %w", dir, err)
	}
	if name, ok := passing[int64(fs.Type)]; ok {
		return fmt.Errorf("%s is on %s, which does not outlive its holder", dir, name)
	}
	return nil
}
