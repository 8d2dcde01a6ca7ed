package journal

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

const (
	idTime   = "20060102-150405"
	alphabet = "0123456789abcdefghjkmnpqrstvwxyz" // in the order of its bytes, without i l o u
)

var idShape = regexp.MustCompile(`^[0-9]{8}-[0-9]{6}-[0-9a-z]{5}$`)

// NewID names a run: its second in UTC, its millisecond and a bit of chance.
// IDs sort by time.
func NewID(now time.Time, chance uint64) string {
	now = now.UTC()
	n := uint64(now.Nanosecond()/int(time.Millisecond))<<15 | chance&(1<<15-1)
	var tail [5]byte
	for i := range tail {
		tail[i] = alphabet[n>>(5*(len(tail)-1-i))&31]
	}
	return now.Format(idTime) + "-" + string(tail[:])
}

// idStarted is the time in an ID, to the millisecond.
func idStarted(id string) (time.Time, error) {
	if !idShape.MatchString(id) {
		return time.Time{}, fmt.Errorf("read run ID %q: not of the form %s-xxxxx", id, idTime)
	}
	t, err := time.Parse(idTime, id[:len(idTime)])
	if err != nil {
		return time.Time{}, fmt.Errorf("read run ID %q: %w", id, err)
	}
	high, low := strings.IndexByte(alphabet, id[16]), strings.IndexByte(alphabet, id[17])
	return t.Add(time.Duration(max(0, high)<<5|max(0, low)) * time.Millisecond), nil
}
