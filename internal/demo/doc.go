// Package demo is the small replicated service that `faultline demo` breaks:
// three replicas of a key-value store behind a round-robin balancer with health
// checks, all processes of this one binary, on loopback ports nobody else uses.
//
// It refuses to be a good store, to listen beyond loopback, and to outlive the
// process that started it.
package demo
