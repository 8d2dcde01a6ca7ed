package netfault

import "errors"

// What this package can say besides success; compare with errors.Is.
var (
	// ErrGone: the namespace that was meant is no more (certain, not guessed).
	ErrGone = errors.New("the network namespace is gone")
	// ErrChanged: another namespace is found in the place of the one that was meant.
	ErrChanged = errors.New("another network namespace is there now")
	// ErrForeign: what is in the way was not made by us, and is left alone.
	ErrForeign = errors.New("it belongs to somebody else")
	// ErrUnsupported: this kernel or this machine cannot do it.
	ErrUnsupported = errors.New("not supported here")
	// ErrUnknown: it could not be read, so it is neither so nor otherwise.
	ErrUnknown = errors.New("could not be read")
	// ErrStillOn: something of ours is left behind.
	ErrStillOn = errors.New("something is still on")
)
