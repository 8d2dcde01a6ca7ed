package probes

import "github.com/faultline-sh/faultline/experiments"

// Table is every probe of this build, one line each.
func Table() []Kind {
	return []Kind{
		httpKind(),
		tcpKind(),
		execKind(),
		processKind(),
		containerKind(),
	}
}

// Find gives the probe of a kind.
func Find(kind string) (Kind, bool) {
	for _, k := range Table() {
		if k.Kind == kind {
			return k, true
		}
	}
	return Kind{}, false
}

// Kinds is the table as the parser wants it.
func Kinds() []experiments.ProbeKind {
	kinds := make([]experiments.ProbeKind, 0, len(Table()))
	for _, k := range Table() {
		kinds = append(kinds, k.ProbeKind)
	}
	return kinds
}
