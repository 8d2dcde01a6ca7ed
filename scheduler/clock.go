package scheduler

import (
	"context"
	"time"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/platform"
)

// tick bounds every sleep: timers stand still while the machine is suspended,
// CLOCK_BOOTTIME does not, so it is read again at least this often.
const tick = 250 * time.Millisecond

// sleepUntil waits for a reading of CLOCK_BOOTTIME, or for the wall clock to
// reach wall (if that is set), whichever is first; false when ctx ended.
func sleepUntil(ctx context.Context, host platform.Host, boot experiments.Boottime, wall time.Time) bool {
	for {
		if ctx.Err() != nil {
			return false
		}
		left := boot.Sub(host.Boottime())
		if !wall.IsZero() {
			left = min(left, wall.Sub(host.Now()))
		}
		if left <= 0 {
			return true
		}
		if !pause(ctx, min(left, tick)) {
			return false
		}
	}
}

// pause waits for d; false when ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
