package experiments

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Share is a part of a whole, 0 to 1, written as a percentage ("99.5%").
type Share float64

func (s Share) String() string {
	return strconv.FormatFloat(float64(s)*100, 'f', -1, 64) + "%"
}

// MarshalJSON writes a percentage.
func (s Share) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }

// UnmarshalJSON reads a percentage.
func (s *Share) UnmarshalJSON(b []byte) error {
	var text string
	if err := json.Unmarshal(b, &text); err != nil {
		return fmt.Errorf("read share %s: write it as a percentage, as \"50%%\": %w", b, err)
	}
	v, err := ParseShare(text)
	if err != nil {
		return err
	}
	*s = v
	return nil
}

// ParseShare reads "50%"; the unit is required and the value lies in 0..100.
func ParseShare(text string) (Share, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || math.IsNaN(v) || v < 0 || v > 100 {
		return 0, fmt.Errorf("read share %q: write a percentage from 0%% to 100%%", text)
	}
	return Share(v / 100), nil
}

// Pick says how many of the matched targets are victims: a count, a share
// (rounded up), or all. The zero value means that the author said nothing.
type Pick struct {
	Count int
	Share Share
	All   bool
}

// IsZero says that nothing was said.
func (p Pick) IsZero() bool { return p == Pick{} }

// Of gives the number of victims among matched targets. A share rounds up.
func (p Pick) Of(matched int) int {
	switch {
	case p.All:
		return matched
	case p.Share > 0:
		// 1e-9 keeps 10% of 10 from becoming 2 by a float's last bit.
		return int(math.Ceil(float64(p.Share)*float64(matched) - 1e-9))
	default:
		return p.Count
	}
}

func (p Pick) String() string {
	switch {
	case p.All:
		return "all"
	case p.Share > 0:
		return p.Share.String()
	case p.Count > 0:
		return strconv.Itoa(p.Count)
	}
	return ""
}

// ParsePick reads "1", "50%" or "all".
func ParsePick(text string) (Pick, error) {
	if text == "all" {
		return Pick{All: true}, nil
	}
	if strings.HasSuffix(text, "%") {
		s, err := ParseShare(text)
		if err != nil || s == 0 {
			return Pick{}, fmt.Errorf("read pick %q: write a percentage above 0%%, a count from 1, or all", text)
		}
		return Pick{Share: s}, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return Pick{}, fmt.Errorf("read pick %q: write a count from 1, a percentage as 50%%, or all", text)
	}
	return Pick{Count: n}, nil
}

// MarshalJSON writes the pick as its author would.
func (p Pick) MarshalJSON() ([]byte, error) {
	if p.Count > 0 {
		return json.Marshal(p.Count)
	}
	return json.Marshal(p.String())
}

// UnmarshalJSON reads a number or a string.
func (p *Pick) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "" {
		*p = Pick{}
		return nil
	}
	v, err := ParsePick(text)
	if err != nil {
		return err
	}
	*p = v
	return nil
}
