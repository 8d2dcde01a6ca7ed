package reports

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What people are shown of one name, one sentence and one document.
const (
	longestName = 120
	longestLine = 600
	longestText = 64 << 10
)

// unsafeRune says whether a character could move the cursor, hide itself or
// turn the text around: it is shown as its number instead. Combining marks and
// letters of every script stay as they are.
func unsafeRune(r rune) bool {
	switch {
	case r == utf8.RuneError, r == ' ':
		return false
	case unicode.Is(unicode.Cc, r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Co, r), unicode.Is(unicode.Cs, r):
		return true
	case r == 0x2028, r == 0x2029, r == 0x115f, r == 0x1160, r == 0x3164, r == 0xffa0, r == 0x034f:
		return true // line and paragraph separators; letters that are drawn as nothing
	case unicode.Is(unicode.Variation_Selector, r), r&0xfffe == 0xfffe:
		return true
	}
	return false
}

// clean makes text harmless wherever it is shown: legal UTF-8, no control
// characters, no bidirectional overrides, nothing invisible. Newlines are kept
// where lines is set, else they and tabs become blanks.
func clean(text string, lines bool) string {
	if plain(text) {
		return text
	}
	var b strings.Builder
	for _, r := range text { // an illegal byte is read as U+FFFD
		switch {
		case lines && (r == '\n' || r == '\t'):
			b.WriteRune(r)
		case r == '\n', r == '\t', r == '\r':
			b.WriteByte(' ')
		case unsafeRune(r):
			fmt.Fprintf(&b, "\\u{%x}", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// plain says that the text is printable ASCII and needs no look.
func plain(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// short gives at most n characters of one line of text, and says how long it was.
func short(text string, n int) string { return shorten(text, n, false) }

// shortText is short for text of several lines.
func shortText(text string, n int) string { return shorten(text, n, true) }

func shorten(text string, n int, lines bool) string {
	cut := cutAt(text, n)
	if len(cut) == len(text) {
		return clean(text, lines)
	}
	return clean(cut, lines) + "… (" + count(utf8.RuneCountInString(text)) + " characters in all)"
}

// cutAt gives the first n characters, with the marks that combine with them bounded too.
func cutAt(text string, n int) string {
	seen := 0
	for i := range text {
		if seen == n {
			return text[:i]
		}
		seen++
	}
	return text
}
