package experiments_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

var update = flag.Bool("update", false, "write the golden files anew")

const good = `apiVersion: faultline/v1
kind: Experiment
name: a shop
hypothesis: It stays open.
labels: {service: shop}
timeline: {before: 10s, after: 30s}
limits: {targets: 3, share: 50%, duration: 5m}
probes:
  - name: the bell
    bell: {url: "http://127.0.0.1:8080/", timeout: 2s}
    expect: status == 200 && latency < duration("250ms")
    every: 100ms
    tolerate: {during: 99%, outage: 2s, recover: 10s, abort: 50}
faults:
  - name: break it
    at: 5s
    for: 20s
    shop.break: {select: {name: web}, delay: 100ms, jitter: 10ms, to: ["10.0.3.7:5432"]}
schedule: {cron: "0 10 * * 1-5", timezone: Europe/Berlin, window: "10:00-16:00", skip: ["2026-12-24"], missed: skip, jitter: 10m}
`

func TestADocumentIsReadAsItsAuthorMeantIt(t *testing.T) {
	e := parseOne(t, good)
	share := experiments.Share(0.5)
	if e.Name != "a shop" || e.Labels["service"] != "shop" || *e.Limits.Share != share || e.Limits.Duration.Std() != 5*time.Minute {
		t.Errorf("read %+v", e)
	}
	p, f := e.Probes[0], e.Faults[0]
	if p.Kind != "bell" || p.Every.Std() != 100*time.Millisecond || p.Tolerate.Abort != 50 || p.Tolerate.Recover.Std() != 10*time.Second || p.Tolerate.Blind != experiments.DefaultBlind {
		t.Errorf("read the probe %+v", p)
	}
	if f.Kind != "shop.break" || f.At.Std() != 5*time.Second || f.For.Std() != 20*time.Second || f.OnRestart != experiments.OnRestartStop {
		t.Errorf("read the fault %+v", f)
	}
	s := settingsOf[shopSettings](t, f.Settings)
	if s.Select.Name != "web" || s.Delay.Std() != 100*time.Millisecond || !reflect.DeepEqual(s.To, []string{"10.0.3.7:5432"}) {
		t.Errorf("read the settings %+v", s)
	}
	if f.Source != "/docs/shop.yaml:15" || e.Source != "/docs/shop.yaml:1" {
		t.Errorf("sources are %q and %q", e.Source, f.Source)
	}
	if e.Schedule == nil || e.Schedule.Jitter.Std() != 10*time.Minute {
		t.Errorf("read the schedule %+v", e.Schedule)
	}
}

func TestWhatIsNotSaidHasItsDefault(t *testing.T) {
	e := parseOne(t, `{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {during: 3s}, probes: [{name: p, bell: {url: u}}]}`)
	if e.Timeline.Before.Std() != 10*time.Second || e.Timeline.After.Std() != 30*time.Second || e.Limits.Targets != 10 || e.Limits.Duration.Std() != time.Hour {
		t.Errorf("defaults are %+v %+v", e.Timeline, e.Limits)
	}
	p := e.Probes[0]
	if p.Every.Std() != time.Second || p.Expect != "status == 200" || p.Tolerate.Blind.Std() != 10*time.Second {
		t.Errorf("defaults are %+v", p)
	}
	if s := settingsOf[bellSettings](t, p.Settings); s.Timeout.Std() != time.Second {
		t.Errorf("the timeout is %s", s.Timeout)
	}
}

func TestWhatHasNoNameIsCalledByItsKind(t *testing.T) {
	e := parseOne(t, `{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {during: 3s}, probes: [{bell: {url: u}}, {name: bell, bell: {url: v}}, {bell: {url: w}}]}`)
	if got := []string{e.Probes[0].Name, e.Probes[1].Name, e.Probes[2].Name}; !reflect.DeepEqual(got, []string{"bell 2", "bell", "bell 3"}) {
		t.Errorf("named %q", got)
	}
}

func TestEveryTypeOfSettingIsRead(t *testing.T) {
	e := parseOne(t, strings.Replace(good, `{select: {name: web}, delay: 100ms, jitter: 10ms, to: ["10.0.3.7:5432"]}`,
		`{select: {shop: {labels: {a: b}}}, pick: 50%, loss: 1.5%, signal: 15, level: high, port: 0x50, factor: 1e1, force: true, note: 2026-12-24}`, 1))
	s := settingsOf[map[string]any](t, e.Faults[0].Settings)
	want := map[string]any{
		"select": map[string]any{"shop": map[string]any{"labels": map[string]any{"a": "b"}}}, "pick": "50%", "loss": "1.5%",
		"signal": "SIGTERM", "level": "high", "port": 80.0, "factor": 10.0, "force": true, "note": "2026-12-24",
	}
	if !reflect.DeepEqual(s, want) {
		t.Errorf("read %v\nwant %v", s, want)
	}
}

func TestSeveralDocumentsShareAFile(t *testing.T) {
	parsed, problems := parse(t, "---\n"+good+"---\n\n---\n"+strings.Replace(good, "a shop", "another", 1))
	if len(problems) > 0 || len(parsed.Experiments) != 2 || parsed.Experiments[1].Name != "another" {
		t.Errorf("parsed %d experiments, problems %v", len(parsed.Experiments), problems)
	}
}

func TestAliasesRepeatAValue(t *testing.T) {
	e := parseOne(t, strings.Replace(strings.Replace(good, "labels: {service: shop}", "labels: &l {service: shop}", 1),
		"{name: web}", "{name: web, labels: *l}", 1))
	if s := settingsOf[shopSettings](t, e.Faults[0].Settings); s.Select.Labels["service"] != "shop" {
		t.Errorf("the alias gave %v", s.Select.Labels)
	}
}

// rules are one mistake each: what is written instead of what, and what is said, where.
var rules = map[string]struct{ old, now, want string }{
	"an unknown key has a nearest name":                           {"hypothesis:", "hypothsis:", `4:1: hypothsis is no key here: did you mean "hypothesis"?`},
	"an unknown key with no near name lists the known":            {"timeline: {", "timeline: {colour: red, ", `6:12: timeline.colour is no key here: known are after, before, during`},
	"an unknown setting has a nearest name":                       {"jitter: 10ms", "jiter: 10ms", `18:53: faults[0].shop.break.jiter is no key here: did you mean "jitter"?`},
	"a key given twice is refused":                                {"hypothesis: It stays open.", "name: again", `4:1: name is given twice (first in line 3): keep one`},
	"an unknown kind of fault has a nearest name":                 {"shop.break:", "shop.brake:", `18:5: faults[0].shop.brake is neither a kind of fault nor a key beside it: did you mean "shop.break"?`},
	"half a kind of fault is enough for a hint":                   {"shop.break:", "burn:", `18:5: faults[0].burn is neither a kind of fault nor a key beside it: did you mean "shop.burn"?`},
	"an unknown kind of probe has a nearest name":                 {"    bell:", "    bel:", `10:5: probes[0].bel is neither a kind of probe nor a key beside it: did you mean "bell"?`},
	"a fault has one kind only":                                   {"schedule: {", "    shop.burn: {select: {name: x}}\nschedule: {", `19:5: faults[0] has two kinds, shop.break and shop.burn: make two faults of it`},
	"a fault says its kind":                                       {`    shop.break: {select: {name: web}, delay: 100ms, jitter: 10ms, to: ["10.0.3.7:5432"]}`, "    on_restart: stop", `15:5: faults[0] says no kind of fault: add the key of one, with its settings: shop.break, shop.burn`},
	"text in the place of a number is refused":                    {"targets: 3", "targets: three", `7:19: limits.targets is the text "three": write a whole number`},
	"a quoted number is text":                                     {"targets: 3", `targets: "3"`, `7:19: limits.targets is the text "3": write a whole number`},
	"a number in the place of text is refused":                    {"service: shop", "service: 7", `5:19: labels.service is the number 7: write text, in quotes: "7"`},
	"a list in the place of a map is refused":                     {"{service: shop}", "[shop]", `5:9: labels is a list: write a map, as {key: value}`},
	"one value in the place of a list is refused":                 {`["10.0.3.7:5432"]`, `"10.0.3.7:5432"`, `18:71: faults[0].shop.break.to is the text "10.0.3.7:5432": write a list, as [a, b]`},
	"a number that does not fit is refused":                       {"delay: 100ms", "delay: 100ms, port: 70000", `18:59: faults[0].shop.break.port is 70000: write a whole number from 0 that fits`},
	"nothing in the place of a value is refused":                  {"name: a shop", "name:", `3:6: name has no value: write one, or leave the key out`},
	"a missing unit is named":                                     {"before: 10s", "before: 10", `6:20: timeline.before is 10 without a unit: write 10s for seconds, or use ms, m, h`},
	"a zero needs its unit too":                                   {"at: 5s", "at: 0", `16:9: faults[0].at is 0 without a unit: write 0s for seconds, or use ms, m, h`},
	"an unknown unit is no length":                                {"before: 10s", "before: 10 sec", `6:20: timeline.before is "10 sec", which is no length of time: write it with its unit, as 250ms, 10s, 5m or 1h30m`},
	"a percentage needs its sign":                                 {"share: 50%", "share: 50", `7:29: limits.share is "50": write a percentage from 0% to 100%, as 50%`},
	"a pick of none is refused":                                   {"delay: 100ms", "pick: 0, delay: 100ms", `18:45: faults[0].shop.break.pick is "0": write a count from 1, a percentage above 0% as 50%, or all`},
	"a fault's own check is shown at its field":                   {`["10.0.3.7:5432"]`, `["a", ""]`, `18:77: faults[0].shop.break.to[1]: names nobody`},
	"a fault's own check of a missing field is shown at its kind": {"select: {name: web}", "select: {pid: 3}", `18:5: faults[0].shop.break.pick: is missing`},
	"a type that reads itself says what is wrong":                 {"delay: 100ms", "level: middle, delay: 100ms", `18:46: faults[0].shop.break.level: "middle" is no level: write high or low`},
	"a missing name is refused":                                   {"name: a shop\n", "", `1:1: name is missing: write what the experiment is called in its report`},
	"an empty name is refused":                                    {"name: a shop", `name: " "`, `3:7: name is empty: write one`},
	"an empty name of a fault is refused":                         {"name: break it", `name: ""`, `15:11: faults[0].name is empty: write one`},
	"two probes have two names":                                   {"faults:", "  - {name: The  Bell, bell: {url: u}}\nfaults:", `14:12: probes[1].name is "The  Bell", and so is that of probes[0]: give each its own`},
	"two faults have two names":                                   {"schedule:", "  - {name: break it, shop.burn: {select: {name: x}}}\nschedule:", `19:12: faults[1].name is "break it", and so is that of faults[0]: give each its own`},
	"what is undone needs a length":                               {"    for: 20s\n", "", `15:5: faults[0].for is missing: shop.break is undone after it, so say how long it is on, as for: 30s`},
	"what happens once has no length":                             {"shop.break:", "shop.burn:", `17:10: faults[0].for does not apply: shop.burn happens once`},
	"a length is above zero":                                      {"for: 20s", "for: 0s", `17:10: faults[0].for is 0s: write a length above 0`},
	"a time is not negative":                                      {"at: 5s", "at: -5s", `16:9: faults[0].at is -5s: a length of time is not negative`},
	"a phase is not negative":                                     {"after: 30s", "after: -30s", `6:32: timeline.after is -30s: a length of time is not negative`},
	"a limit of no targets is refused":                            {"targets: 3", "targets: 0", `7:19: limits.targets is 0: write how many may be hit at most, from 1`},
	"a limit of no share is refused":                              {"share: 50%", "share: 0%", `7:29: limits.share is 0%: nothing could be hit; write a percentage above 0%`},
	"a limit of no time is refused":                               {"duration: 5m", "duration: 0s", `7:44: limits.duration is 0s: write a length above 0`},
	"a baseline has three samples":                                {"every: 100ms", "every: 6s", `12:12: probes[0] is asked every 6s, so that timeline.before (10s) has 2 of the 3 samples that a baseline needs: ask more often, lengthen before, or skip the baseline with before: 0s`},
	"a probe rests between two questions":                         {"every: 100ms", "every: 0s", `12:12: probes[0].every is 0s: write 1ms or more`},
	"recovery is watched as long as it may take":                  {"recover: 10s", "recover: 31s", `13:50: probes[0].tolerate.recover is 31s, and timeline.after is only 30s: nobody would look that long; lengthen after or shorten recover`},
	"an outage is not negative":                                   {"outage: 2s", "outage: -2s", `13:37: probes[0].tolerate.outage is -2s: a length of time is not negative`},
	"an abort counts from one":                                    {"abort: 50", "abort: -1", `13:62: probes[0].tolerate.abort is -1: write how many bad answers in a row end the run, from 1, or leave it out`},
	"blindness has an end":                                        {"abort: 50", "blind: 0s", `13:62: probes[0].tolerate.blind is 0s: write a length above 0`},
	"an unknown policy has a nearest name":                        {"at: 5s", "on_restart: reinjct", `16:17: faults[0].on_restart is "reinjct": did you mean "reinject"?`},
	"an unknown door has a nearest name":                          {"at: 5s", "allow: [last-replca]", `16:13: faults[0].allow[0] is "last-replca", which is no door: did you mean "last-replica"?`},
	"an expectation uses names of the reading":                    {"status == 200", "stauts == 200", `11:13: probes[0].expect: undeclared reference to 'stauts' `},
	"an expectation compares like with like":                      {"status == 200", `status == "200"`, `11:13: probes[0].expect: found no matching overload for '_==_' applied to '(int, string)'`},
	"an expectation is true or false":                             {`status == 200 && latency < duration("250ms")`, `status`, `11:13: probes[0].expect: it gives a value of type int, not true or false: compare it with something`},
	"an expectation's length has a unit":                          {`duration("250ms")`, `duration("250")`, `11:13: probes[0].expect: invalid duration argument`},
	"an expectation's pattern compiles":                           {`latency < duration("250ms")`, `body.matches("(")`, `11:13: probes[0].expect: invalid matches argument`},
	"an expectation is tried on a sample":                         {`latency < duration("250ms")`, `10 / (status - 200) == 1`, `11:13: probes[0].expect: evaluate status == 200 && 10 / (status - 200) == 1: division by zero`},
	"an expectation with a syntax error is refused":               {`latency < duration("250ms")`, `latency <`, `11:13: probes[0].expect: Syntax error`},
	"dear probes ask seldom":                                      {"  - name: the bell\n    bell: {url: \"http://127.0.0.1:8080/\", timeout: 2s}\n    expect: status == 200 && latency < duration(\"250ms\")\n    every: 100ms", "  - {name: w, words: {command: [a]}, every: 10ms}\n  - name: v\n    words: {command: [b]}\n    every: 9ms", `12:12: all words probes together ask 211.1 times a second, and 200 is the most: ask less often`},
	"another version is refused, never guessed":                   {"faultline/v1", "faultline/v2", `1:13: apiVersion is the text "faultline/v2": this faultline reads faultline/v1 and guesses at no other`},
	"another kind is refused, never guessed":                      {"kind: Experiment", "kind: Gameday", `2:7: kind is the text "Gameday": this faultline reads Experiment and guesses at no other`},
	"a document without a version is refused":                     {"apiVersion: faultline/v1\n", "", `1:1: apiVersion is missing: write apiVersion: faultline/v1`},
	"a schedule needs a cron":                                     {`cron: "0 10 * * 1-5", `, "", `19:11: schedule.cron is missing: write when to run, as "0 10 * * 1-5"`},
	"a cron has five or six fields":                               {"0 10 * * 1-5", "0 10 * *", `19:18: schedule.cron: "0 10 * *" is no schedule`},
	"a cron names no zone of its own":                             {"0 10 * * 1-5", "CRON_TZ=UTC 0 10 * * 1-5", `19:18: schedule.cron: it names a zone of its own: write that under schedule.timezone`},
	"a zone that would crash the cron library is refused":         {"0 10 * * 1-5", "TZ=0", `19:18: schedule.cron: it names a zone of its own`},
	"an unknown zone is refused":                                  {"Europe/Berlin", "Europe/Berln", `19:44: schedule.timezone: "Europe/Berln" is no zone of the IANA list`},
	"a zone that depends on the machine is refused":               {"Europe/Berlin", "Local", `19:44: schedule.timezone: "Local" means another thing on each machine`},
	"a window is a part of a day":                                 {"10:00-16:00", "10:00-25:00", `19:67: schedule.window: "10:00-25:00" is no part of a day`},
	"a window is not empty":                                       {"10:00-16:00", "10:00-10:00", `19:67: schedule.window: "10:00-10:00" is empty`},
	"a day to skip is a day":                                      {"2026-12-24", "2026-02-30", `19:89: schedule.skip[0] is "2026-02-30", which is no day: write it as 2026-12-24`},
	"a missed slot has a policy":                                  {"missed: skip", "missed: later", `19:112: schedule.missed is "later": write skip, or run-once-within 2h`},
	"a merge key is refused":                                      {"labels: {service: shop}", "labels: {<<: {a: b}}", `5:10: labels: merge keys (<<) are not read`},
	"a tag is refused":                                            {"name: a shop", "name: !secret a shop", `3:7: name has the tag !secret: tags mean nothing here, leave it out`},
	"an unset environment variable is named":                      {"name: a shop", "name: ${env:NOBODY}", `3:7: name: ${env:NOBODY} has no value: set the environment variable NOBODY`},
	"a variable without a value has a nearest name":               {"name: a shop", "name: ${var:victms}", `3:7: name: ${var:victms} has no value: give it with --var victms=VALUE (you gave "victims": was that meant?)`},
	"a file that is not there is named":                           {"name: a shop", "name: ${file:none}", `3:7: name: ${file:none} has no value: file does not exist`},
	"a reference of no scheme is refused":                         {"name: a shop", "name: ${HOME}", `3:7: name: ${HOME} is no reference: write ${env:NAME}, ${file:PATH} or ${var:name}, or $${HOME} for that text itself`},
	"a reference that never ends is refused":                      {"name: a shop", "name: ${env:A", `3:7: name: a reference begins with ${ and never ends`},
}

func TestOneMistakeHasOneMessageAtItsPlace(t *testing.T) {
	for name, rule := range rules {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(good, rule.old) {
				t.Fatalf("the good document has no %q", rule.old)
			}
			_, problems := parse(t, strings.Replace(good, rule.old, rule.now, 1))
			if len(problems) != 1 {
				t.Fatalf("found %d problems: %v\nwant one: %s", len(problems), problems, rule.want)
			}
			if got, want := problems[0].String(), "/docs/shop.yaml:"+rule.want; !strings.HasPrefix(got, want) {
				t.Errorf("said  %s\nwants %s", got, want)
			}
		})
	}
}

func TestOneMistakeDoesNotHideAnother(t *testing.T) {
	for name, row := range map[string]struct {
		settings string
		want     []string
	}{
		"what is wrong whatever the unread one is":    {`{select: {name: web}, delay: 100, to: ["", b]}`, []string{"delay is 100 without a unit", "to[0]: names nobody"}},
		"what may be right is not told":               {`{select: {name: web}, delay: 100, jitter: 10ms}`, []string{"delay is 100 without a unit"}},
		"nor where the key was mistyped":              {`{select: {name: web}, dealy: 100ms, jitter: 10ms}`, []string{"dealy is no key here"}},
		"what is wrong beside a mistyped key is told": {`{select: {name: web}, note: x, factr: 1, delay: 300s}`, []string{"factr is no key here", "delay: is longer than 274s"}},
		"a missing one is not asked for then":         {`{select: {nmae: web}, delay: 1ms}`, []string{"nmae is no key here"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, strings.Replace(good, `{select: {name: web}, delay: 100ms, jitter: 10ms, to: ["10.0.3.7:5432"]}`, row.settings, 1))
			if len(problems) != len(row.want) {
				t.Fatalf("said %v", problems)
			}
			for i, p := range problems {
				if !strings.Contains(p.Problem, row.want[i]) {
					t.Errorf("said %q, want %q", p.Problem, row.want[i])
				}
			}
		})
	}
}

func TestTimesThatOverflowAreImpossible(t *testing.T) {
	_, problems := parse(t, strings.NewReplacer("at: 5s", "at: 2562047h", "for: 20s", "for: 2562047h", "schedule:", "  - {at: 0s, shop.burn: {select: {name: x}}}\nschedule:").Replace(good))
	if len(problems) != 1 || !strings.Contains(problems[0].Problem, "limits.duration") {
		t.Errorf("said %v", problems)
	}
	parseOne(t, strings.Replace(good, "before: 10s", "before: 2562047h47m16s", 1))
}

func TestNeitherFaultsNorProbesIsNothingToDo(t *testing.T) {
	for _, lists := range []string{"", ", faults: []", ", faults: [], probes: []"} {
		_, problems := parse(t, "{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {during: 1s}"+lists+"}")
		if len(problems) != 1 || !strings.Contains(problems[0].Problem, "neither faults nor probes") {
			t.Errorf("of %q, said %v", lists, problems)
		}
	}
}

func TestDuringIsRequiredWhereNoFaultHasALength(t *testing.T) {
	document := `{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {before: 10s%s}, faults: [{name: b, shop.burn: {select: {name: x}}}]}`
	if _, problems := parse(t, fmt.Sprintf(document, "")); len(problems) != 1 || !strings.HasPrefix(problems[0].Problem, "timeline.during is missing") {
		t.Errorf("without it, said %v", problems)
	}
	if _, problems := parse(t, fmt.Sprintf(document, ", during: 0s")); len(problems) != 1 || !strings.HasPrefix(problems[0].Problem, "timeline.during is 0s") {
		t.Errorf("of nothing, said %v", problems)
	}
	if _, problems := parse(t, fmt.Sprintf(document, ", during: 5s")); len(problems) != 0 {
		t.Errorf("with it, said %v", problems)
	}
}

func TestABaselineIsSkippedByNoTime(t *testing.T) {
	parseOne(t, strings.Replace(strings.Replace(good, "before: 10s", "before: 0s", 1), "every: 100ms", "every: 20s", 1))
}

// H39: what no network fault can do never reaches the kernel.
func TestH39_ImpossibleDelaysAreRejectedWithTheirPlace(t *testing.T) {
	for _, row := range []struct{ name, settings, want string }{
		{"a delay of minutes is longer than the kernel can count", "delay: 5m", "18:46: faults[0].shop.break.delay: is longer than 274s"},
		{"a negative delay", "jitter: -6ms, delay: -5ms", "18:60: faults[0].shop.break.delay: is negative"},
		{"a delay without a unit", "delay: 100", "18:46: faults[0].shop.break.delay is 100 without a unit"},
		{"a zero without a unit", "delay: 0", "18:46: faults[0].shop.break.delay is 0 without a unit"},
		{"one second too long", "delay: 275s", "18:46: faults[0].shop.break.delay: is longer than 274s"},
		{"past the 32 bits of microseconds", "delay: 4295s", "18:46: faults[0].shop.break.delay: is longer than 274s"},
		{"more jitter than delay", "delay: 10ms, jitter: 11ms", "18:60: faults[0].shop.break.jitter: is longer than the delay"},
		{"more loss than everything", "loss: 101%", `18:45: faults[0].shop.break.loss is "101%": write a percentage from 0% to 100%, as 50%`},
		{"less loss than nothing", "loss: -1%", `18:45: faults[0].shop.break.loss is "-1%"`},
		{"loss without a sign", "loss: 1", `18:45: faults[0].shop.break.loss is "1"`},
		{"more time than a duration holds", "delay: 9999999h", `18:46: faults[0].shop.break.delay is "9999999h", which is no length of time`},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, problems := parse(t, strings.Replace(good, "delay: 100ms, jitter: 10ms", row.settings, 1))
			if len(problems) != 1 || !strings.HasPrefix(problems[0].String(), "/docs/shop.yaml:"+row.want) {
				t.Errorf("said %v\nwant %s", problems, row.want)
			}
		})
	}
}

func TestBrokenYAMLIsShownAtItsLine(t *testing.T) {
	for name, row := range map[string]struct{ text, want string }{
		"a tab":                   {"apiVersion: faultline/v1\nkind:\n\tname: x\n", "3:1: this is not YAML: found character that cannot start any token: indent with spaces, not with tabs"},
		"an open quote":           {"a: 1\nb: \"x\n", ":"},
		"an open bracket":         {"a: 1\nb: [1, 2\n", ":"},
		"two colons":              {"a: 1\nb: c: d\n", "2:1: this is not YAML: mapping values are not allowed in this context"},
		"a control character":     {"a: 1\nb: \x01\n", "2:4: there is a control character (U+0001)"},
		"bytes that are no UTF-8": {"a: 1\nb: \xff\n", "2:4: this is no UTF-8 text"},
		"an alias of nothing":     {"a: *b\n", "this is not YAML: unknown anchor 'b' referenced"},
		"nothing":                 {"", "1:1: there is no experiment in it"},
		"comments only":           {"# hello\n", "1:1: there is no experiment in it"},
		"a list":                  {"- a\n", "1:1: the document is a list"},
		"a word":                  {"hello\n", `1:1: the document is the text "hello"`},
		"a second document":       {good + "---\na: [\n", ":"},
	} {
		t.Run(name, func(t *testing.T) {
			_, problems := parse(t, row.text)
			if len(problems) != 1 || !strings.Contains(problems[0].String(), row.want) {
				t.Errorf("said %v\nwant %s", problems, row.want)
			}
			for _, p := range problems {
				if lines := strings.Count(row.text, "\n") + 1; p.Line < 1 || p.Line > lines || p.Column < 1 {
					t.Errorf("%s is no place in %d lines", p, lines)
				}
			}
		})
	}
}

func TestAliasesCannotBlowADocumentUp(t *testing.T) {
	bomb := "apiVersion: faultline/v1\nkind: Experiment\nname: x\nlabels:\n"
	text := "  - &a0 [x,x,x,x,x,x,x,x,x,x]\n"
	for i := 1; i < 12; i++ {
		text += fmt.Sprintf("  - &a%d [%s]\n", i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 10), ","))
	}
	for name, document := range map[string]string{
		"in a place for lists": strings.Replace(good, `["10.0.3.7:5432"]`, "\n"+strings.ReplaceAll(text, "  -", "      -"), 1),
		"in a place for a map": bomb + text,
		"deep":                 strings.Replace(good, "{select: {name: web}", "{select: "+strings.Repeat("{shop: ", 500)+"{}"+strings.Repeat("}", 500), 1),
		"within itself":        strings.Replace(good, "{select: {name: web}", "{select: &s {shop: *s}", 1),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, problems := parse(t, document)
			if len(problems) == 0 {
				t.Error("found nothing wrong")
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
	_, problems := experiments.Parse([]experiments.File{{Name: "big", Text: make([]byte, 5<<20)}}, shop(), options())
	if len(problems) != 1 || !strings.Contains(problems[0].Problem, "5242880 bytes") {
		t.Errorf("of a big file, said %v", problems)
	}
}

func TestManyMistakesAreToldAtOnce(t *testing.T) {
	documents, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, path := range documents {
		t.Run(filepath.Base(path), func(t *testing.T) {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			_, problems := experiments.Parse([]experiments.File{{Name: filepath.Base(path), Text: text}}, shop(), options())
			var got strings.Builder
			for _, p := range problems {
				fmt.Fprintln(&got, p)
			}
			golden := strings.TrimSuffix(path, ".yaml") + ".want"
			if *update {
				if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got.String() != string(want) {
				t.Errorf("said\n%s\nwant\n%s", &got, want)
			}
		})
	}
}

func TestAnExperimentSurvivesJSONAndYAML(t *testing.T) {
	for name, text := range map[string]string{
		"everything":   good,
		"references":   strings.NewReplacer("name: a shop", "name: ${var:name}", "name: web", `name: "${env:TOKEN}"`, "It stays open.", `costs $${5} and ${env:ODD}`, "for: 20s", "for: ${env:LENGTH}").Replace(good),
		"odd texts":    strings.NewReplacer("It stays open.", `"yes"`, "name: the bell", `name: "a: b\n # c\t'\u0007"`, "service: shop", `"1": "2", "null": "~", "${a}": "$${b}"`).Replace(good),
		"probes alone": `{apiVersion: faultline/v1, kind: Experiment, name: x, timeline: {before: 0s, during: 3s, after: 0s}, probes: [{name: p, bell: {url: u}}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			e := parseOne(t, text)
			raw, err := json.Marshal(e)
			if err != nil {
				t.Fatal(err)
			}
			var back experiments.Experiment
			if err := json.Unmarshal(raw, &back); err != nil {
				t.Fatal(err)
			}
			same(t, "JSON", e, back)
			document, err := experiments.MarshalDocument(e)
			if err != nil {
				t.Fatal(err)
			}
			if s := e.Secrets; s != nil && strings.Contains(string(document), "hunter2") {
				t.Errorf("a secret stands in\n%s", document)
			}
			same(t, "YAML\n"+string(document), e, parseOne(t, string(document)))
		})
	}
}

// same compares all but where it was written.
func same(t *testing.T, how string, a, b experiments.Experiment) {
	t.Helper()
	plain := func(e experiments.Experiment) string {
		e.Source = ""
		e.Faults, e.Probes = append([]experiments.Fault(nil), e.Faults...), append([]experiments.Probe(nil), e.Probes...)
		for i := range e.Faults {
			e.Faults[i].Source = ""
		}
		for i := range e.Probes {
			e.Probes[i].Source = ""
		}
		raw, err := json.MarshalIndent(e, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	if plain(a) != plain(b) {
		t.Errorf("after %s it is\n%s\nand was\n%s", how, plain(b), plain(a))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(good)
	for _, rule := range rules {
		f.Add(strings.Replace(good, rule.old, rule.now, 1))
	}
	f.Add("a: &a [*a]")
	f.Add("? [a]\n: b")
	f.Fuzz(func(t *testing.T, text string) {
		parsed, problems := parse(t, text)
		lines := 1 // YAML breaks lines at more than \n
		for _, r := range text {
			if strings.ContainsRune("\n\r\u0085\u2028\u2029", r) {
				lines++
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Line > lines+1 || p.Column < 1 || p.Problem == "" {
				t.Errorf("%+v is no place in %d lines", p, lines)
			}
		}
		if len(problems) > 0 {
			return
		}
		for _, e := range parsed.Experiments {
			document, err := experiments.MarshalDocument(e)
			if err != nil {
				t.Fatal(err)
			}
			same(t, "YAML\n"+string(document), e, parseOne(t, string(document)))
		}
	})
}
