//go:build !linux

package netfault

import (
	"context"
	"fmt"
	"runtime"
	"time"
)

// Namespace does not exist here: network namespaces are Linux's.
type Namespace struct{}

// Hold does not exist here.
type Hold struct{}

func unsupported() error {
	return fmt.Errorf("%w: network namespaces are a feature of Linux, this is %s", ErrUnsupported, runtime.GOOS)
}

// OpenName is unsupported here.
func OpenName(string) (*Namespace, error) { return nil, unsupported() }

// OpenPID is unsupported here.
func OpenPID(int, func() error) (*Namespace, error) { return nil, unsupported() }

// OpenPath is unsupported here.
func OpenPath(string) (*Namespace, error) { return nil, unsupported() }

// Find is unsupported here.
func Find(ID, Hint) (*Namespace, error) { return nil, unsupported() }

// ID is empty here.
func (ns *Namespace) ID() ID { return ID{} }

// Path is empty here.
func (ns *Namespace) Path() string { return "" }

// Close has nothing to close here.
func (ns *Namespace) Close() error { return nil }

// Do is unsupported here.
func (ns *Namespace) Do(func() error) error { return unsupported() }

// IsHost is unsupported here.
func (ns *Namespace) IsHost() (bool, error) { return false, unsupported() }

// Members is unsupported here.
func (ns *Namespace) Members() ([]int, bool, error) { return nil, false, unsupported() }

// Interfaces is unsupported here.
func (ns *Namespace) Interfaces() ([]Interface, error) { return nil, unsupported() }

// Hold is unsupported here.
func (ns *Namespace) Hold(string, Delay, func() time.Duration) (*Hold, error) {
	return nil, unsupported()
}

// Look is unsupported here.
func (ns *Namespace) Look(string) (Look, error) { return Look{}, unsupported() }

// Close has nothing to undo here.
func (h *Hold) Close() error { return nil }

// Measure is unsupported here.
func (h *Hold) Measure() (Measured, error) { return Measured{}, unsupported() }

// AimShaping is unsupported here.
func (ns *Namespace) AimShaping(Delay, string) (Shaping, error) { return Shaping{}, unsupported() }

// Shape is unsupported here.
func (ns *Namespace) Shape(Shaping) error { return unsupported() }

// LookShaping is unsupported here.
func (ns *Namespace) LookShaping(Shaping) (ShapingLook, error) { return ShapingLook{}, unsupported() }

// Unshape is unsupported here.
func (ns *Namespace) Unshape(context.Context, Shaping) error { return unsupported() }

func tryNFQueue(context.Context) Ability {
	return Ability{Mechanism: NFQueue, Err: unsupported(), Why: unsupported().Error()}
}

func tryNetem(context.Context) Ability {
	return Ability{Mechanism: Netem, Err: unsupported(), Why: unsupported().Error()}
}
