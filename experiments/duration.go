package experiments

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Duration is a length of time that is written with its unit, as Go writes
// it ("250ms", "1h30m"). A bare number is refused: 100 of what?
type Duration time.Duration

// Std gives the duration as the standard library's type.
func (d Duration) Std() time.Duration { return time.Duration(d) }

func (d Duration) String() string { return time.Duration(d).String() }

// Seconds is the length in seconds.
func (d Duration) Seconds() float64 { return time.Duration(d).Seconds() }

// MarshalJSON writes the duration with its unit.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.String()) }

// UnmarshalJSON reads a string with a unit.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("read duration %s: write it as a string with its unit, as \"250ms\": %w", b, err)
	}
	v, err := ParseDuration(s)
	if err != nil {
		return err
	}
	*d = v
	return nil
}

// ErrNoUnit says that a duration was written as a bare number.
var ErrNoUnit = errors.New("no unit: write 250ms, 10s, 5m or 1h30m")

// ParseDuration reads a length of time; it must carry its unit.
func ParseDuration(s string) (Duration, error) {
	d, err := time.ParseDuration(s)
	if err != nil {
		return 0, fmt.Errorf("read duration %q: %w", s, ErrNoUnit)
	}
	if s == "0" {
		return 0, fmt.Errorf("read duration %q: %w", s, ErrNoUnit)
	}
	return Duration(d), nil
}

// Boottime is a reading of CLOCK_BOOTTIME in nanoseconds: it counts while the
// machine is suspended and never jumps. Two readings compare only when they
// were taken in the same boot.
type Boottime int64

// Add gives the reading d later.
func (b Boottime) Add(d time.Duration) Boottime { return b + Boottime(d) }

// Sub gives the time from o to b.
func (b Boottime) Sub(o Boottime) time.Duration { return time.Duration(b - o) }
