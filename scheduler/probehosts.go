package scheduler

import (
	"slices"

	"github.com/faultline-sh/faultline/probes"
)

// ProbeEndpoints are the addresses (host:port) that the probes ask, sorted, each
// once. Their traffic is the users' and no fault exempts it; a fault on the host
// that asks would break the looking itself, and is refused.
func ProbeEndpoints(prepared []Prepared) []string {
	var endpoints []string
	for _, p := range prepared {
		if e, ok := p.Probe.(probes.Endpointer); ok {
			endpoints = append(endpoints, e.Endpoints()...)
		}
	}
	slices.Sort(endpoints)
	return slices.Compact(endpoints)
}
