//go:build !linux

package injectors

import "testing"

func stageLatency(t *testing.T) stageSet {
	t.Skip("network namespaces are a feature of Linux")
	return stageSet{}
}
