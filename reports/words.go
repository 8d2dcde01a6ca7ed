package reports

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// count writes a number with its thousands apart: 1,204.
func count[N ~int | ~uint32 | ~uint64 | ~int64](n N) string {
	digits := strconv.FormatInt(int64(n), 10)
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			b.WriteByte(',')
		}
		b.WriteRune(d)
	}
	return b.String()
}

// counted writes "1 answer", "1,204 answers".
func counted[N ~int | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return count(n) + " " + thing + "s"
}

// length writes a length of time as people say it.
func length(d time.Duration) string {
	if d < 0 {
		return "-" + length(-d)
	}
	switch {
	case d == 0:
		return "0 s"
	case d < 10*time.Millisecond:
		return decimal(d.Seconds()*1000, 2) + " ms"
	case d < 100*time.Millisecond:
		return decimal(d.Seconds()*1000, 0) + " ms"
	case d < 100*time.Second:
		return decimal(d.Seconds(), 1) + " s"
	case d < time.Hour:
		return parts(d.Round(time.Second), time.Minute, "min", time.Second, "s")
	}
	return parts(d.Round(time.Minute), time.Hour, "h", time.Minute, "min")
}

// latency writes the time to an answer: milliseconds up to a second.
func latency(d *time.Duration) string {
	switch {
	case d == nil:
		return "none"
	case *d < 10*time.Millisecond || *d >= time.Second:
		return length(*d)
	}
	return decimal(d.Seconds()*1000, 0) + " ms"
}

func parts(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	text := fmt.Sprintf("%d %s", d/big, bigName)
	if rest := d % big / small; rest > 0 {
		text += fmt.Sprintf(" %d %s", rest, smallName)
	}
	return text
}

// lengthBeside writes d so that it cannot be mistaken for limit when it is not.
func lengthBeside(d, limit time.Duration) string {
	if text := length(d); d == limit || text != length(limit) {
		return text
	}
	return decimal(d.Seconds(), 6) + " s"
}

// unit is a number before its unit, in a sentence.
var unit = regexp.MustCompile(`([0-9]) (s|ms|min|h|%)([^a-zA-Z0-9]|$)`)

// together keeps numbers and their units on one line, where lines are broken by a browser.
func together(text string) string { return unit.ReplaceAllString(text, "$1\u00a0$2$3") }

// decimal writes at most n decimals and no zeros at the end.
func decimal(v float64, n int) string {
	text := strconv.FormatFloat(v, 'f', n, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// percentOf writes a share as a percentage. It is rounded down, and keeps as
// many decimals as the limit beside it has: it never looks better than it is,
// and never falls on the wrong side of its limit.
func percentOf(good, of uint64, limit experiments.Share) string {
	if of == 0 {
		return "unknown"
	}
	decimals := 1
	if _, fraction, ok := strings.Cut(strings.TrimSuffix(limit.String(), "%"), "."); ok {
		decimals = min(max(len(fraction), 1), 6)
	}
	scale := math.Pow10(decimals)
	// Whole numbers first: 3 of 4 is exactly 75 %.
	down := math.Floor(float64(good)*100*scale/float64(of)+1e-9) / scale
	if good < of && down >= 100 {
		down = 100 - 1/scale
	}
	return decimal(down, decimals) + " %"
}

// percent writes a limit: "99.5 %".
func percent(s experiments.Share) string {
	return decimal(float64(s)*100, 6) + " %"
}

// seconds writes a number of seconds for machines: a dot, no exponent.
func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

// list writes "a", "a and b", "a, b and c", "a, b and 3 more".
func list(names []string, most int) string {
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and " + count(len(names)-most) + " more"
	}
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:len(names)-1], ", ") + " and " + names[len(names)-1]
}

// named puts a name that somebody chose into a sentence.
func named(name string) string { return "“" + short(name, 80) + "”" }

// happened is what a kind of fault does to a target, for sentences. A kind that
// is not here is said by its own name, so a new fault needs no line.
var happened = map[string]string{
	"process.kill":      "was killed",
	"process.pause":     "was frozen",
	"container.crash":   "was crashed",
	"container.stop":    "was stopped",
	"container.pause":   "was frozen",
	"container.restart": "was restarted",
	"container.remove":  "was removed",
	"network.latency":   "was slowed down",
}

func whatHappened(kind string) string {
	if words, ok := happened[kind]; ok {
		return words
	}
	return "was hit by " + short(kind, 40)
}
