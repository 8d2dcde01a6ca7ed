//go:build !linux

package injectors

import "testing"

func stageElsewhere(t *testing.T) stageSet {
	t.Helper()
	t.Skip("needs Linux: its processes are looked at through /proc")
	return stageSet{}
}

func stageKill(t *testing.T) stageSet          { return stageElsewhere(t) }
func stagePause(t *testing.T) stageSet         { return stageElsewhere(t) }
func stagePauseBySignal(t *testing.T) stageSet { return stageElsewhere(t) }
func stageExec(t *testing.T) stageSet          { return stageElsewhere(t) }
