//go:build !linux

package holder

import "os"

// takePipes keeps the standard files: these systems mark them close-on-exec for children started by os/exec.
func takePipes() (in, out *os.File, err error) { return os.Stdin, os.Stdout, nil }

func harden() []string {
	return []string{"memory is not locked and the out-of-memory score is not lowered: not supported on this system"}
}
