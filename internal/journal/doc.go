// Package journal is a run's record on disk, the lock that says who may act on
// it, and what all faultline processes of a host agree on: leases and halt.
//
// The journal is append-only JSON lines with one writer: whoever holds the
// run's lock. Everything else (what is still open, what was the verdict) is a
// fold over it. Leases, halt and the list of runs live in one host-wide place
// with names only, so that two users see each other's runs.
//
// It refuses to trust a directory that others can write or a file that is not
// ours, to take "could not read" for "nothing there", to retry a failed fsync,
// to act on a record of another schema, and to remove a run with something open.
package journal
