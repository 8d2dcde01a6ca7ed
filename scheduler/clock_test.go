package scheduler

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// jumpy is a host whose wall clock somebody sets while it runs.
type jumpy struct {
	bubble
	offset *atomic.Int64
}

func (j jumpy) Now() time.Time                 { return j.bubble.Now().Add(time.Duration(j.offset.Load())) }
func (j jumpy) Boottime() experiments.Boottime { return j.bubble.Boottime() }

func TestH60_AFaultIsNeverLongerThanPlannedWhateverTheWallClockDoes(t *testing.T) {
	for _, c := range []struct {
		name string
		jump time.Duration
		want time.Duration
	}{
		{"no jump", 0, time.Minute},
		{"two hours ahead: the second limit ends it early", 2 * time.Hour, 10*time.Second + tick},
		{"two hours back: boottime ends it on time", -2 * time.Hour, time.Minute},
		{"a small step ahead", 20 * time.Second, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var offset atomic.Int64
				host := jumpy{bubble{time.Now()}, &offset}
				go func() {
					time.Sleep(10 * time.Second)
					offset.Store(int64(c.jump))
				}()
				began := time.Now()
				if !sleepUntil(t.Context(), host, host.Boottime().Add(time.Minute), host.Now().Add(time.Minute)) {
					t.Fatal("cut short")
				}
				if took := time.Since(began); took > c.want || took < c.want-tick {
					t.Errorf("took %s, want %s", took, c.want)
				}
			})
		})
	}
}
