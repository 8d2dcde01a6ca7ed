package experiments

import (
	"fmt"
	"slices"
	"strings"
)

// Nearest gives the name that was most likely meant; "" when none is near.
func Nearest(name string, names []string) string {
	best, least := "", max(1, len(name)/3)+1
	for _, candidate := range slices.Sorted(slices.Values(names)) {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	if best == "" {
		best = sameWords(name, names)
	}
	return best
}

// sameWords finds "container.crash" for "crash", "crash.container" and "container_crash".
func sameWords(name string, names []string) string {
	split := func(s string) []string {
		return slices.Sorted(slices.Values(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return strings.ContainsRune("._- ", r) })))
	}
	var found []string
	for _, candidate := range names {
		words := split(candidate)
		if slices.Equal(split(name), words) || len(words) > 1 && slices.Contains(words, strings.ToLower(name)) {
			found = append(found, candidate)
		}
	}
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

// meant is what to say beside a name that is not known.
func meant(name string, names []string) string {
	if n := Nearest(name, names); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	if len(names) == 0 {
		return "nothing may stand here"
	}
	return "known are " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

// distance is the number of letters to insert, delete, change or swap with their neighbour.
func distance(a, b string) int {
	const longest = 64 // longer names are not mistyped ones
	x, y := []rune(a), []rune(b)
	if len(x) > longest || len(y) > longest {
		return longest
	}
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
