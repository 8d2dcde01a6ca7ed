package platform

import (
	"fmt"
	"strconv"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"github.com/faultline-sh/faultline/experiments"
)

// bootID is the counter that Windows keeps of its boots.
func bootID() (string, error) {
	const path = `SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management\PrefetchParameters`
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, path, registry.QUERY_VALUE)
	if err != nil {
		return "", fmt.Errorf("open registry key %s: %w", path, err)
	}
	defer key.Close()
	n, _, err := key.GetIntegerValue("BootId")
	if err != nil {
		return "", fmt.Errorf("read BootId of registry key %s: %w", path, err)
	}
	return "boot-" + strconv.FormatUint(n, 10), nil
}

func machineID() (string, error) {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`, registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return machineIDOfName()
	}
	defer key.Close()
	id, _, err := key.GetStringValue("MachineGuid")
	if err != nil {
		return machineIDOfName()
	}
	return id, nil
}

// readBoottime reads a counter that goes on while the machine sleeps.
func readBoottime() (experiments.Boottime, error) {
	return experiments.Boottime(windows.DurationSinceBoot()), nil
}

func osRelease() string {
	major, minor, build := windows.RtlGetNtVersionNumbers()
	return fmt.Sprintf("%d.%d.%d", major, minor, build)
}
