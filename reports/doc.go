// Package reports turns a run's record into documents that people and machines
// read: one fold from events and samples to a Summary, and one renderer for
// each format over that same Summary.
//
// It refuses to look at the world, at a clock or at anything but the record:
// the same record gives the same bytes. It refuses to guess: what the record
// does not say is unknown, a time that never came is "at least", and a run
// whose end is missing is never passed.
package reports
