// Package selector says which processes and containers a document means: the
// keys of `select`, what is wrong with them, and whether a given thing matches.
// Faults and probes share it, so that the same words always mean the same things.
//
// It refuses to guess: what could not be read neither matches nor rules out, and
// is reported as such. It picks nobody and does nothing to anybody.
package selector
