package injectors

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// stageBox is a real container, looked at by the docker command.
func stageBox(t *testing.T, settings func(ContainerSelect) any) stageSet {
	t.Helper()
	w := dockerWorld(t)
	b := box(t)
	return stageSet{
		world:    w,
		settings: settings(ContainerSelect{Name: b.Name}),
		allow:    experiments.Doors(),
		state: func() string {
			out, err := exec.Command("docker", "inspect", "--format", "{{.State.Status}}", b.ID).CombinedOutput()
			if err != nil {
				return "gone"
			}
			return strings.TrimSpace(string(out))
		},
		vanish: func() { exec.Command("docker", "rm", "--force", b.ID).Run() }, // it may have been removed by the fault
		again:  func() World { return dockerWorld(t) },
	}
}

func stageContainerCrash(t *testing.T) stageSet {
	return stageBox(t, func(s ContainerSelect) any { return ContainerCrashSpec{Select: s} })
}

func stageContainerPause(t *testing.T) stageSet {
	return stageBox(t, func(s ContainerSelect) any { return ContainerPauseSpec{Select: s} })
}

func stageContainerRemove(t *testing.T) stageSet {
	return stageBox(t, func(s ContainerSelect) any { return ContainerRemoveSpec{Select: s} })
}

func stageContainerRestart(t *testing.T) stageSet {
	return stageBox(t, func(s ContainerSelect) any { return ContainerRestartSpec{Select: s, Grace: second()} })
}

func stageContainerStop(t *testing.T) stageSet {
	return stageBox(t, func(s ContainerSelect) any { return ContainerStopSpec{Select: s, Grace: second()} })
}

// second is a grace that keeps an undo which has to wait for it short.
func second() *experiments.Duration {
	d := experiments.Duration(time.Second)
	return &d
}
