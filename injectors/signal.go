package injectors

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/faultline-sh/faultline/internal/platform"
)

// Signal is a signal's name ("SIGTERM"); authors may also write TERM or 15.
type Signal string

// ParseSignal reads TERM, SIGTERM or this system's number.
func ParseSignal(text string) (Signal, error) {
	if n, err := strconv.Atoi(text); err == nil {
		if name := platform.SignalName(syscall.Signal(n)); name != "" {
			return Signal(name), nil
		}
		return "", fmt.Errorf("read signal %q: no signal has this number here", text)
	}
	name := strings.ToUpper(text)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if platform.SignalByName(name) == 0 {
		return "", fmt.Errorf("read signal %q: write a name, as TERM or SIGTERM, or a number", text)
	}
	return Signal(name), nil
}

// UnmarshalJSON reads a string or a number.
func (s *Signal) UnmarshalJSON(b []byte) error {
	text := string(b)
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(b, &text); err != nil {
			return fmt.Errorf("read signal %s: %w", b, err)
		}
	}
	return s.UnmarshalText([]byte(text))
}

// UnmarshalText reads TERM, SIGTERM or 15.
func (s *Signal) UnmarshalText(b []byte) error {
	v, err := ParseSignal(string(b))
	if err != nil {
		return err
	}
	*s = v
	return nil
}

func (s Signal) number() syscall.Signal { return platform.SignalByName(string(s)) }
