package netfault

import "fmt"

// ID is a network namespace for certain: its cookie is unique within a boot.
// The inode number is not (it is recycled at once) and is for display only.
type ID struct {
	BootID string `json:"boot_id"`
	Cookie uint64 `json:"cookie"`
	Inode  uint64 `json:"inode,omitempty"`
}

// Same says whether both are one namespace.
func (id ID) Same(other ID) bool {
	return id.Cookie != 0 && id.Cookie == other.Cookie && id.BootID == other.BootID
}

func (id ID) String() string { return fmt.Sprintf("netns %d", id.Cookie) }

// Hint is where a namespace was last seen. It only helps to find it: what is
// found there is compared with the ID.
type Hint struct {
	PID  int    `json:"pid,omitempty"`
	Path string `json:"path,omitempty"`
}

// Interface is a network interface inside a namespace.
type Interface struct {
	Name     string `json:"name"`
	Index    int    `json:"index"`
	Loopback bool   `json:"loopback,omitempty"`
	Up       bool   `json:"up"`
}
