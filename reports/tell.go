package reports

import (
	"fmt"
	"strings"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// tell puts into sentences what happened, in the order of time. It says what
// came after what, never that one was the cause of the other.
func tell(s *Summary, r *record) {
	for n := range s.Probes {
		s.Probes[n].Story = probeStory(s.Probes[n], r)
	}
	for _, f := range r.faults[:min(len(r.faults), mostWhys)] {
		if line := faultStory(f, r); line != "" {
			s.Story = append(s.Story, line)
		}
	}
	told := 0
	for _, p := range s.Probes {
		if p.Story == "" {
			continue
		}
		if told++; told > mostWhys {
			break
		}
		s.Story = append(s.Story, p.Story)
	}
	s.Because = outcomeWhy(s)
	s.Headline = strings.TrimSpace(outcome(s) + " " + s.Because)
}

// faultStory says who was hit when, and how they came back.
func faultStory(f *faultRecord, r *record) string {
	var names []string
	var first *moment
	for _, t := range f.targets {
		if t.injected == nil || t.injectError != "" || t.again {
			continue
		}
		names = append(names, short(t.name, 80))
		first = earlier(first, t.injected)
	}
	if first == nil {
		return ""
	}
	text := fmt.Sprintf("%s into the faults, %s %s", length(max(first.off-r.zero(), 0)), list(names, 4), plural(whatHappened(f.plan.Kind), len(names)))
	if f.plan.For > 0 {
		text += " for " + length(f.plan.For.Std())
	}
	for _, t := range f.targets {
		if back := t.comeback(r); back != nil && len(names) == 1 {
			text += comebackSaid(*back)
		}
	}
	return text + "."
}

func plural(words string, n int) string {
	if n > 1 {
		return strings.Replace(words, "was ", "were ", 1)
	}
	return words
}

func comebackSaid(b Return) string {
	by := ""
	if b.By != "" {
		by = " (" + short(b.By, 120) + ")"
	}
	switch {
	case b.Up != nil && b.Up.AtLeast:
		return fmt.Sprintf("; it had not come back by itself %s later", length(b.Up.Length))
	case b.Healthy != nil && b.Up != nil && b.Up.Length != b.Healthy.Length:
		return fmt.Sprintf("; it was up again %s later%s and healthy after %s", length(b.Up.Length), by, length(b.Healthy.Length))
	case b.Healthy != nil:
		return fmt.Sprintf("; it was healthy again %s later%s", length(b.Healthy.Length), by)
	case b.Up != nil:
		return fmt.Sprintf("; it was up again %s later%s", length(b.Up.Length), by)
	}
	return ""
}

// hit is a target with the moment at which it was hit.
type hit struct {
	fault  *faultRecord
	target *targetRecord
}

// lastHitBefore is the newest hit at or before a moment; nil when there was none.
// A question that was in flight when the target was hit counts as after it.
func lastHitBefore(r *record, at time.Duration, slack time.Duration) *hit {
	var found *hit
	for _, f := range r.faults {
		for _, t := range f.targets {
			if t.injected == nil || t.injectError != "" || t.injected.off > at+slack {
				continue
			}
			if found == nil || t.injected.off > found.target.injected.off {
				found = &hit{f, t}
			}
		}
	}
	return found
}

// probeStory is "bad answers began 0.2 s after web-2 was frozen and ended 8.1 s later".
func probeStory(p Probe, r *record) string {
	if p.Outages == 0 {
		return ""
	}
	text := fmt.Sprintf("%s: bad answers began %s", named(p.Name), beganWhen(r, p.BadFrom, p.Every))
	if p.Outages > 1 {
		text = fmt.Sprintf("%s: bad answers came and went; the first was due %s", named(p.Name), beganWhen(r, p.BadFrom, p.Every))
	}
	lasted := p.BadTo - p.BadFrom
	switch {
	case !p.BadEnded && lasted == 0:
		text += " and they had not ended with the last answer"
	case !p.BadEnded:
		text += fmt.Sprintf(" and they had not ended %s later, with the last answer", length(lasted))
	case p.Outages > 1:
		text += fmt.Sprintf(", and all were good again %s later%s", length(lasted), endedWhen(r, p.BadFrom, p.BadTo, p.Every))
	default:
		text += fmt.Sprintf(" and ended %s later%s", length(lasted), endedWhen(r, p.BadFrom, p.BadTo, p.Every))
	}
	if p.Outages > 1 {
		text += fmt.Sprintf("; the longest of %s outages was %s", count(p.Outages), outageSaid(p))
	}
	if most := p.Tolerate.Outage; most != nil && p.Outage.Length > most.Std() {
		text += fmt.Sprintf(" (at most %s was allowed)", length(most.Std()))
	}
	return text + "."
}

func beganWhen(r *record, from, slack time.Duration) string {
	h := lastHitBefore(r, from, slack)
	if h == nil {
		return "before anything was hit"
	}
	what := short(h.target.name, 80) + " " + whatHappened(h.fault.plan.Kind)
	if since := from - h.target.injected.off; since >= time.Millisecond {
		return length(since) + " after " + what
	}
	return "at the moment when " + what
}

// endedWhen sets the end beside the moment when the target was put back or came back by itself.
func endedWhen(r *record, from, to, slack time.Duration) string {
	h := lastHitBefore(r, from, slack)
	if h == nil {
		return ""
	}
	t := h.target
	if h.fault.irreversible(t) {
		back := t.comeback(r)
		if back == nil || back.Up == nil || back.Up.AtLeast {
			return ""
		}
		return beside(to-(t.injected.off+back.Up.Length), "it was up again")
	}
	if t.undone == nil || t.undoError != "" {
		return ""
	}
	return beside(to-t.undone.off, "it was put back")
}

func beside(since time.Duration, what string) string {
	switch {
	case since >= time.Millisecond:
		return ", " + length(since) + " after " + what
	case since <= -time.Millisecond:
		return ", " + length(-since) + " before " + what
	}
	return ", at the moment when " + what
}

// outcome is what came out, in one short sentence.
func outcome(s *Summary) string {
	switch {
	case s.Undone != UndoneYes:
		return "Something may still be broken."
	case s.Verdict == experiments.Passed:
		return "The system held."
	case s.Axes[1].Verdict == experiments.Failed:
		return "The hypothesis did not hold."
	case s.Axes[2].Verdict == experiments.Failed:
		return "The system did not recover as it should."
	}
	return "Nothing can be concluded from this run."
}

// outcomeWhy is the sentence that explains the outcome best.
func outcomeWhy(s *Summary) string {
	switch {
	case s.Undone != UndoneYes:
		return firstWhy(s, AxisRecovery)
	case s.Verdict == experiments.Passed:
		return passedSaid(s)
	case s.Axes[1].Verdict == experiments.Failed:
		return storyOfFailed(s)
	case s.Axes[2].Verdict == experiments.Failed:
		return firstWhy(s, AxisRecovery)
	}
	for _, a := range s.Axes {
		if a.Verdict == experiments.Inconclusive {
			return firstWhy(s, a.Name)
		}
	}
	return ""
}

// storyOfFailed is the story of the first probe that failed, or else its figures.
func storyOfFailed(s *Summary) string {
	for _, p := range s.Probes {
		if p.Hypothesis == experiments.Failed && p.Story != "" {
			return fmt.Sprintf("%s In all, %s during the faults.", p.Story, shareSentence(p.During, shareOr(p.Tolerate.During, 1)))
		}
	}
	return firstWhy(s, AxisHypothesis)
}

func firstWhy(s *Summary, axis AxisName) string {
	for _, a := range s.Axes {
		if a.Name == axis && len(a.Why) > 0 {
			return a.Why[0]
		}
	}
	return ""
}

func passedSaid(s *Summary) string {
	var bad, all uint64
	for _, p := range s.Probes {
		bad += p.During.Bad
		all += p.During.Samples
	}
	if bad == 0 {
		return fmt.Sprintf("Every one of %s during the faults was good.", counted(all, "answer"))
	}
	return fmt.Sprintf("%s of %s during the faults %s bad, within what was tolerated.", count(bad), counted(all, "answer"), wasWere(bad))
}
