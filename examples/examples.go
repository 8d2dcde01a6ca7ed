// Package examples holds experiments that users would really run, each with what
// they learn from it. It refuses to hold code: what a program needs of an example
// is its text.
package examples

import (
	"embed"
	"fmt"
)

//go:embed demo/*.yaml
var documents embed.FS

// Demo is the text of an experiment of `faultline demo`, by its file's name below demo/.
func Demo(name string) []byte {
	text, err := documents.ReadFile("demo/" + name)
	if err != nil {
		panic(fmt.Sprintf("examples: %v: the binary was built without it", err)) // cannot be: the names are constants
	}
	return text
}
