// Package experiments holds every value that crosses a package boundary: the
// experiment as its author wrote it, the plan made of it, the events of a run,
// the samples of its probes and the verdict over them; and it parses documents.
//
// It refuses to look at the world: nothing here opens a socket, reads a clock
// or knows what a container is. It imports nothing else of this project.
package experiments
