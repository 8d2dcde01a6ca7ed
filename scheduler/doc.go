// Package scheduler compiles a plan, carries it out, and cleans up after a crash.
//
// Planning only reads. Carrying out is split in two: the parent (Runner) probes,
// judges and shows; the holder (Engine) aims, writes down, injects, confirms and
// heals. What any of them did stands in the journal, and every later question
// (what is left, what was the verdict) is a fold over it.
//
// It refuses to inject anything that was not written down first, to guess which
// target was meant, to cut a plan down to its limits, and to report an undo that
// was not read back.
package scheduler
