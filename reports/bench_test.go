package reports_test

import (
	"testing"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/reports"
	"github.com/faultline-sh/faultline/reports/canned"
)

// BenchmarkFold is the cost of one sample.
func BenchmarkFold(b *testing.B) {
	r, _ := canned.Find("failed")
	b.ReportAllocs()
	_, err := reports.Fold(r.Events, func(yield func(experiments.Sample, error) bool) {
		for n := range b.N {
			s := r.Every[n%len(r.Every)]
			s.Due = r.Events[0].Boot + experiments.Boottime(n)*60_000
			if !yield(s, nil) {
				return
			}
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}
