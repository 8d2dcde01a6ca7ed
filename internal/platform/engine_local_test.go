package platform

import (
	"slices"
	"strings"
	"testing"
)

const (
	oneID   = "45b78846677819c51aae22dc3dfe8a46274b87b96585556e2fc245fd58ab3396"
	otherID = "2ad3c1b3a1a64d8d8f0b8a1f3bb5b8f2f64e5e2b87e2b9a7a3a0d2a6b6f7c001"
)

func TestInContainer(t *testing.T) {
	for _, row := range []struct {
		name, cgroups string
		want          bool
	}{
		{"cgroup v2 with the systemd driver", "0::/system.slice/docker-" + oneID + ".scope\n", true},
		{"cgroup v2 with the cgroupfs driver", "0::/docker/" + oneID + "\n", true},
		{"cgroup v1 with the cgroupfs driver", "4:memory:/docker/" + oneID + "\n1:cpu:/docker/" + oneID + "\n", true},
		{"cgroup v1 with the systemd driver", "4:memory:/system.slice/docker-" + oneID + ".scope\n", true},
		{"hybrid, where only v1 knows", "4:memory:/docker/" + oneID + "\n0::/\n", true},
		{"docker in docker", "0::/docker/" + otherID + "/docker/" + oneID + "\n", true},
		{"an init that moved itself below its container", "0::/docker/" + oneID + "/init.scope\n", true},
		{"rootless, in a user slice", "0::/user.slice/user-1000.slice/user@1000.service/user.slice/docker-" + oneID + ".scope\n", true},
		{"seen from another cgroup namespace", "0::/../" + oneID + "\n", true},
		{"podman's scope", "0::/machine.slice/libpod-" + oneID + ".scope\n", true},
		{"another container", "0::/docker/" + otherID + "\n", false},
		{"a process of the host", "0::/system.slice/sshd.service\n", false},
		{"a private cgroup namespace that hides all", "0::/\n", false},
		{"an ID that only begins the same", "0::/docker/" + oneID[:12] + "\n", false},
		{"an ID inside a longer name", "0::/docker/x" + oneID + "\n", false},
		{"nothing to read", "", false},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := inContainer([]byte(row.cgroups), oneID); got != row.want {
				t.Errorf("inContainer = %v, want %v", got, row.want)
			}
		})
	}
	if inContainer([]byte("0::/docker/"+oneID+"\n"), oneID[:12]) {
		t.Error("a short ID was taken for proof")
	}
}

func TestFirstInNamespace(t *testing.T) {
	for _, row := range []struct {
		name, status string
		want         bool
	}{
		{"pid 1 of a container", "Name:\tx\nNSpid:\t4123\t1\n", true},
		{"pid 1 of a nested container", "NSpid:\t4123\t57\t1\n", true},
		{"another process of the container", "NSpid:\t4123\t7\n", false},
		{"a process of the host", "NSpid:\t4123\n", false},
		{"a kernel that does not say", "Name:\tx\n", true},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := firstInNamespace([]byte(row.status)); got != row.want {
				t.Errorf("firstInNamespace = %v, want %v", got, row.want)
			}
		})
	}
}

func TestMountedFrom(t *testing.T) {
	const folder = "/var/lib/docker/containers/"
	for _, row := range []struct {
		name, mountinfo string
		want            []string
	}{
		{"inside a container", "92 74 254:0 " + folder + oneID + "/hostname /etc/hostname rw,relatime - ext4 /dev/vda rw", []string{oneID}},
		{"with a host name of its own", "91 74 254:0 " + folder + oneID + "/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw", []string{oneID}},
		{"on the host, where containers keep their shared memory", "60 27 0:47 / " + folder + oneID + "/mounts/shm rw - tmpfs shm rw", nil},
		{"a file of another container mounted elsewhere", "92 74 254:0 " + folder + oneID + "/hostname /mnt/hostname rw - ext4 /dev/vda rw", nil},
		{"a host whose resolv.conf is a mount of its own", "91 74 254:0 /run/systemd/resolve/stub-resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			if got := mountedFrom([]byte(row.mountinfo + "\n")); !slices.Equal(got, row.want) {
				t.Errorf("mountedFrom = %v, want %v", got, row.want)
			}
		})
	}
}

func TestIDsIn(t *testing.T) {
	if got := idsIn("/docker/" + strings.ToUpper(oneID) + "/docker/" + otherID); !slices.Equal(got, []string{otherID}) {
		t.Errorf("idsIn = %v, want only the one that is an ID", got)
	}
}
