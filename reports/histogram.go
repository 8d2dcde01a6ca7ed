package reports

import (
	"math/bits"
	"slices"
	"time"
)

// histogram counts lengths of time in buckets whose width is at most 1/256 of
// their value, so that a percentile is within 0.2 % of the exact one, whatever
// the number of samples. Below 256 ns it is exact.
type histogram struct {
	counts map[uint16]uint64
	total  uint64
	most   time.Duration
}

// subBuckets is the number of buckets in each power of two.
const subBuckets = 256

func (h *histogram) add(d time.Duration) {
	if h.counts == nil {
		h.counts = map[uint16]uint64{}
	}
	d = max(d, 0)
	h.counts[bucketOf(uint64(d))]++
	h.total++
	h.most = max(h.most, d)
}

func bucketOf(v uint64) uint16 {
	if v < subBuckets {
		return uint16(v)
	}
	shift := bits.Len64(v) - 9 // leaves 256 to 511
	return uint16(shift*subBuckets) + uint16(v>>shift)
}

// middleOf is the value in the middle of a bucket.
func middleOf(bucket uint16) time.Duration {
	if bucket < subBuckets {
		return time.Duration(bucket)
	}
	shift := int(bucket)/subBuckets - 1
	low := (uint64(bucket) - uint64(shift*subBuckets)) << shift
	return time.Duration(low + (uint64(1)<<shift)/2)
}

// percentiles gives the least values that at least the given shares of all
// samples do not exceed; shares ascend. Without samples it gives nil.
func (h *histogram) percentiles(shares ...float64) []time.Duration {
	if h.total == 0 {
		return nil
	}
	buckets := make([]uint16, 0, len(h.counts))
	for b := range h.counts {
		buckets = append(buckets, b)
	}
	slices.Sort(buckets)
	values := make([]time.Duration, 0, len(shares))
	var seen uint64
	next := 0
	for _, share := range shares {
		rank := max(uint64(share*float64(h.total)+0.9999999), 1)
		for seen < rank && next < len(buckets) {
			seen += h.counts[buckets[next]]
			next++
		}
		values = append(values, min(middleOf(buckets[next-1]), h.most))
	}
	return values
}
