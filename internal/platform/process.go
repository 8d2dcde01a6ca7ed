package platform

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// The identity of a process as text, so that a plan can hold it:
// PID-START-INODE-EXE@BOOT CGROUP.
const idForm = "pid-start-pidfd-exe@boot cgroup"

// String writes the identity so that ParseProcessID reads the same one.
func (id ProcessID) String() string {
	return strings.TrimSuffix(fmt.Sprintf("%d-%d-%d-%d@%s %s", id.PID, id.Start, id.PidfdInode, id.ExeInode, id.BootID, id.Cgroup), " ")
}

// ParseProcessID reads what String wrote.
func ParseProcessID(text string) (ProcessID, error) {
	bad := func(err error) (ProcessID, error) {
		return ProcessID{}, fmt.Errorf("read process identity %q: want %s: %w", text, idForm, err)
	}
	numbers, rest, ok := strings.Cut(text, "@")
	fields := strings.Split(numbers, "-")
	if !ok || len(fields) != 4 {
		return bad(errors.New("it has another form"))
	}
	var n [4]uint64
	for i, field := range fields {
		v, err := strconv.ParseUint(field, 10, 64)
		if err != nil {
			return bad(err)
		}
		n[i] = v
	}
	boot, cgroup, _ := strings.Cut(rest, " ")
	return ProcessID{BootID: boot, PID: int(n[0]), Start: n[1], PidfdInode: n[2], ExeInode: n[3], Cgroup: cgroup}, nil
}

// Verify says why got, just read of the pid in want, is not the process that
// was meant: ErrGone for another one, ErrDenied when that could not be told.
func (want ProcessID) Verify(got ProcessID) error {
	other := fmt.Errorf("pid %d is another process now: %w", want.PID, ErrGone)
	switch {
	case want.BootID != got.BootID:
		return fmt.Errorf("pid %d was of an earlier boot: %w", want.PID, ErrGone)
	case want.PID != got.PID:
		return other
	case want.PidfdInode != 0 && got.PidfdInode != 0:
		if want.PidfdInode != got.PidfdInode {
			return other
		}
		return nil
	case want.Start != got.Start:
		return other
	case want.ExeInode != 0 && got.ExeInode == 0:
		return fmt.Errorf("tell whether pid %d is still the same process: its executable cannot be read: run as root or as its user: %w", want.PID, ErrDenied)
	case want.ExeInode != got.ExeInode || want.Cgroup != got.Cgroup:
		return other
	}
	return nil
}
