// Package house keeps the rules of this house as tests: who may import whom,
// how long a function may be, that the documents tell the truth.
//
// It holds nothing but tests, and refuses rules that a linter already keeps.
package house
