package testenv

import (
	"errors"
	"fmt"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

func tryRoot() error {
	if euid := os.Geteuid(); euid != 0 {
		return fmt.Errorf("running as uid %d", euid)
	}
	return nil
}

func tryPidfd() error {
	fd, err := unix.PidfdOpen(os.Getpid(), 0)
	if err != nil {
		return fmt.Errorf("opening a pidfd of this process: %w", err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, 0, nil, 0); err != nil {
		return fmt.Errorf("signalling this process through its pidfd: %w", err)
	}
	return nil
}

// tryNetns makes what Netns makes, and a table of nftables inside.
func tryNetns() (err error) {
	link := newLink()
	defer func() { err = errors.Join(err, link.remove()) }()
	if err := link.make(); err != nil {
		return err
	}
	_, err = output("ip", "netns", "exec", link.Name, "nft", "add", "table", "inet", "faultline_test")
	return err
}

// tryMicroVM looks for the emulator and for a kernel package, here or to be had.
func tryMicroVM() error {
	if err := runs("qemu-system-x86_64", "--version"); err != nil {
		return err
	}
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		return fmt.Errorf("unpacking a kernel package: %w", err)
	}
	return runs("apt-get", "download", "--print-uris", "linux-image-cloud-amd64")
}
