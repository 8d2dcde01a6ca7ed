package experiments

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/robfig/cron/v3"
)

// What to do with a slot that went by while nobody could run it.
const (
	missedSkip   = "skip"
	missedWithin = "run-once-within "
)

// schedule checks what `serve` will carry out.
func (c checker) schedule(s Schedule) {
	switch {
	case !c.given("schedule.cron"):
		c.problem(c.at("schedule"), "schedule.cron is missing: write when to run, as \"0 10 * * 1-5\"")
	case c.wrong("schedule.cron"):
	default:
		problem := checkCron(s.Cron)
		if problem != "" && c.hides("schedule.cron") {
			problem = "it is no schedule once its references are replaced"
		}
		if problem != "" {
			c.problem(c.at("schedule.cron"), "schedule.cron: %s", problem)
		}
	}
	if s.Timezone != "" {
		if problem := checkZone(s.Timezone); problem != "" {
			c.problem(c.at("schedule.timezone"), "schedule.timezone: %s", problem)
		}
	}
	if s.Window != "" {
		if problem := checkWindow(s.Window); problem != "" {
			c.problem(c.at("schedule.window"), "schedule.window: %s", problem)
		}
	}
	for i, day := range s.Skip {
		where := fmt.Sprintf("schedule.skip[%d]", i)
		if _, err := time.Parse(time.DateOnly, day); err != nil && !c.wrong(where) {
			c.problem(c.at(where), "%s is %q, which is no day: write it as 2026-12-24", where, shorten(day))
		}
	}
	if s.Missed != "" && !knownMissed(s.Missed) {
		c.problem(c.at("schedule.missed"), "schedule.missed is %q: write skip, or run-once-within 2h", shorten(s.Missed))
	}
	c.notNegative("schedule.jitter", s.Jitter)
}

func knownMissed(text string) bool {
	within, ok := strings.CutPrefix(text, missedWithin)
	length, err := ParseDuration(within)
	return text == missedSkip || ok && err == nil && length > 0
}

const cronFields = cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor

func checkCron(text string) string {
	if strings.HasPrefix(text, "TZ=") || strings.HasPrefix(text, "CRON_TZ=") {
		return "it names a zone of its own: write that under schedule.timezone"
	}
	if strings.TrimSpace(text) == "" {
		return "it is empty: write five fields (minute, hour, day, month, weekday), six with seconds first, or @every 1h"
	}
	if _, err := cron.NewParser(cronFields).Parse(text); err != nil {
		return fmt.Sprintf("%q is no schedule (%v): write five fields (minute, hour, day, month, weekday), six with seconds first, or @every 1h", shorten(text), err)
	}
	return ""
}

func checkZone(name string) string {
	if strings.EqualFold(name, "local") {
		return "\"Local\" means another thing on each machine: write a zone of the IANA list, as Europe/Berlin or UTC"
	}
	if _, err := time.LoadLocation(name); err != nil {
		return fmt.Sprintf("%q is no zone of the IANA list (%v): write one, as Europe/Berlin or UTC", shorten(name), err)
	}
	return ""
}

func checkWindow(text string) string {
	const meant = "write it as \"10:00-16:00\""
	clock := regexp.MustCompile(`^([01]\d|2[0-3]):[0-5]\d$`)
	from, to, ok := strings.Cut(text, "-")
	if !ok || !clock.MatchString(from) || (!clock.MatchString(to) && to != "24:00") {
		return fmt.Sprintf("%q is no part of a day: %s", shorten(text), meant)
	}
	if from == to {
		return fmt.Sprintf("%q is empty: it ends when it begins; leave the key out for the whole day", text)
	}
	return ""
}
