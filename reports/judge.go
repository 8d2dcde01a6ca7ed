package reports

import (
	"fmt"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// judge asks every check, folds them to the three axes, and these to the verdict and the exit code.
func judge(s *Summary, r *record, f *samplesFold) {
	j := &judgement{s: s, r: r, f: f}
	j.baseline()
	j.inEffect()
	j.recordWhole()
	j.hypothesis()
	j.undos()
	j.recovery()
	s.Checks = j.checks
	for _, axis := range []AxisName{AxisValid, AxisHypothesis, AxisRecovery} {
		s.Axes = append(s.Axes, j.axis(axis))
	}
	s.Verdict = experiments.Worst(s.Axes[0].Verdict, s.Axes[1].Verdict, s.Axes[2].Verdict)
	s.Undone = j.undone()
	s.Exit = exit(s)
}

type judgement struct {
	s      *Summary
	r      *record
	f      *samplesFold
	checks []Check
}

func (j *judgement) add(c Check) { j.checks = append(j.checks, c) }

// mostWhys bounds the sentences of one axis; the checks have them all.
const mostWhys = 25

// axis is the worst of its checks. Its sentences are those of the worst ones first.
func (j *judgement) axis(name AxisName) Axis {
	a := Axis{Name: name}
	var whys []string
	for v := experiments.Failed; v >= experiments.Passed; v-- {
		for _, c := range j.checks {
			if c.Axis != name || c.Verdict != v {
				continue
			}
			a.Verdict = max(a.Verdict, v)
			if v > experiments.Passed || a.Verdict == experiments.Passed {
				whys = append(whys, c.Why)
			}
		}
	}
	a.Why = whys
	if len(whys) > mostWhys {
		a.Why = append(whys[:mostWhys:mostWhys], fmt.Sprintf("… and %s more such sentences", count(len(whys)-mostWhys)))
	}
	return a
}

// injectedAny says whether anything was done to any target, as far as the record tells.
func (j *judgement) injectedAny() bool {
	for _, f := range j.r.faults {
		for _, t := range f.targets {
			if t.injected != nil || t.aimed != nil && t.refused == "" {
				return true
			}
		}
	}
	return false
}

func (j *judgement) phase(p experiments.Phase) (PhaseSpan, bool) {
	for _, span := range j.r.phases {
		if span.Phase == p {
			return span, true
		}
	}
	return PhaseSpan{}, false
}

// duringWhole says that the faults ran their time: nobody ended them early, and After followed.
func (j *judgement) duringWhole() bool {
	_, after := j.phase(experiments.PhaseAfter)
	return len(j.r.aborts) == 0 && len(j.r.lost) == 0 && (after || j.s.Complete)
}

// afterWhole says that recovery was watched for as long as was asked, whatever came before.
func (j *judgement) afterWhole() bool {
	after, ok := j.phase(experiments.PhaseAfter)
	return j.s.Complete || ok && after.To-after.From >= j.r.header.Plan.Experiment.Timeline.After.Std()
}

func (j *judgement) baseline() {
	c := Check{Axis: AxisValid, Name: "the steady state held before the faults"}
	c.Verdict, c.Why = j.baselineVerdict()
	if span, ok := j.phase(experiments.PhaseBefore); ok {
		c.Took = span.To - span.From
	}
	j.add(c)
}

func (j *judgement) baselineVerdict() (experiments.Verdict, string) {
	experiment := j.r.header.Plan.Experiment
	switch b := j.r.baseline; {
	case b != nil && b.Error != "":
		return experiments.Inconclusive, "The steady state before the faults could not be relied on, so nothing was injected: " + short(b.Error, longestLine) + because(b.Why) + "."
	case len(experiment.Probes) == 0:
		return experiments.Inconclusive, "There is no probe, so nobody knows whether the system was well before the faults."
	case experiment.Timeline.Before == 0:
		return experiments.Inconclusive, "The steady state was not looked at before the faults (before: 0s), so what was seen during them compares with nothing."
	}
	if _, ok := j.phase(experiments.PhaseDuring); !ok && j.r.baseline == nil {
		return experiments.Inconclusive, "The run ended before its steady state was judged."
	}
	var total, good uint64
	for _, p := range j.s.Probes {
		total, good = total+p.Before.Samples, good+p.Before.Good
		limit := shareOr(p.Tolerate.Before, 1)
		if v := standing(shareBounds(p.Before, limit)); v != experiments.Passed {
			return experiments.Inconclusive, fmt.Sprintf("Before the faults, %s of %s.", shareSentence(p.Before, limit), named(p.Name))
		}
	}
	if good < total {
		return experiments.Passed, fmt.Sprintf("The steady state held before the faults: %s of %s were good, which was tolerated.", count(good), counted(total, "answer"))
	}
	return experiments.Passed, fmt.Sprintf("The steady state held before the faults: all %s were good.", counted(total, "answer"))
}

func (j *judgement) inEffect() {
	for _, f := range j.r.faults {
		c := Check{Axis: AxisValid, Name: "fault " + named(f.plan.Name) + " was in effect", Took: f.plan.For.Std()}
		c.Verdict, c.Why, c.Skipped = j.faultVerdict(f)
		j.add(c)
	}
	if len(j.r.faults) == 0 && !j.watched() {
		j.add(Check{Axis: AxisValid, Name: "a fault was in effect", Verdict: experiments.Inconclusive, Why: "The plan has no fault, so nothing was tested."})
	}
}

// watched says whether this is a run of probes alone, whose hypothesis is about
// the service as it is: availability monitoring.
func (j *judgement) watched() bool {
	_, during := j.phase(experiments.PhaseDuring)
	return len(j.r.header.Plan.Experiment.Faults) == 0 && len(j.s.Probes) > 0 && during
}

func (j *judgement) faultVerdict(f *faultRecord) (v experiments.Verdict, why string, skipped bool) {
	name := named(f.plan.Name)
	all := f.all()
	if len(all) == 0 {
		return experiments.Inconclusive, fmt.Sprintf("Fault %s had no target, so it tested nothing%s.", name, because(f.refused)), false
	}
	if !j.injectedAny() && f.refused == "" && j.r.baseline != nil && j.r.baseline.Error != "" {
		return experiments.Inconclusive, fmt.Sprintf("Fault %s was not injected, because the steady state did not hold.", name), true
	}
	var bad []string
	for _, t := range all {
		if ok, why := t.holds(f); !ok {
			bad = append(bad, short(t.name, 80)+" "+short(why, longestLine))
		}
	}
	if len(bad) == 0 {
		return experiments.Passed, fmt.Sprintf("Fault %s was in effect on %s; its state was read back.", name, targetsSaid(all)), false
	}
	return experiments.Inconclusive, fmt.Sprintf("Fault %s was not in effect as planned on %s of %s: %s.",
		name, count(len(bad)), counted(len(all), "target"), joinBounded(bad, 3)), false
}

func targetsSaid(all []*targetRecord) string {
	var names []string
	for _, t := range all {
		names = append(names, short(t.name, 80))
	}
	return list(names, 4)
}

// joinBounded joins sentences' halves, the first few of them.
func joinBounded(parts []string, most int) string {
	text := ""
	for n, p := range parts {
		if n == most {
			return text + fmt.Sprintf("; and %s more", count(len(parts)-most))
		}
		if n > 0 {
			text += "; "
		}
		text += p
	}
	return text
}

// recordWhole asks whether the record can be believed to its end.
func (j *judgement) recordWhole() {
	var wrong []string
	for _, l := range j.r.lost {
		wrong = append(wrong, fmt.Sprintf("%s after its start, %s", length(l.Off), l.Text))
	}
	switch {
	case j.r.closed == nil:
		wrong = append(wrong, "its record has no end: it was killed, or it is still going on")
	case !j.r.closed.Complete && len(j.r.aborts) == 0 && len(j.r.lost) == 0 && !j.baselineBroken():
		wrong = append(wrong, "it did not get to the end of its timeline"+closedBySomebody(j.r.closed))
	}
	for _, a := range j.r.aborts {
		wrong = append(wrong, "it was ended early by "+abortedBy(a.By)+because(a.Why))
	}
	if len(j.r.unknown) > 0 {
		wrong = append(wrong, fmt.Sprintf("its record has %s that this version does not know (%s)", counted(len(j.r.unknown), "event"), list(j.r.unknown, 3)))
	}
	if j.r.holes > 0 {
		wrong = append(wrong, counted(j.r.holes, "line")+" of its record "+isAre(j.r.holes)+" missing")
	}
	wrong = append(wrong, j.samplesWrong()...)
	c := Check{Axis: AxisValid, Name: "the run was carried out to its end", Why: "The run was carried out to its end, and its record is whole.", Took: max(j.r.to()-j.r.from(), 0)}
	if j.baselineBroken() {
		c.Why = "The run ended in order after its baseline, and its record is whole."
	}
	if len(wrong) > 0 {
		c.Verdict, c.Why = experiments.Inconclusive, "The run cannot be judged as a whole: "+joinBounded(wrong, 6)+"."
	}
	j.add(c)
}

// closedBySomebody says who ended the record, where the run's own processes did not.
func closedBySomebody(c *experiments.Close) string {
	if c.By == "" || c.By == "parent" || c.By == "holder" {
		return ""
	}
	return ": its processes were lost, and its record was closed later by " + short(c.By, 80)
}

func (j *judgement) baselineBroken() bool { return j.r.baseline != nil && j.r.baseline.Error != "" }

func (j *judgement) samplesWrong() []string {
	var wrong []string
	if j.f.errors > 0 {
		wrong = append(wrong, fmt.Sprintf("%s could not be read (%s)", counted(j.f.errors, "sample"), short(j.f.firstErr, longestLine)))
	}
	if j.f.strangers > 0 {
		wrong = append(wrong, counted(j.f.strangers, "sample")+" of probes that the plan does not name were left out")
	}
	for n, p := range j.f.probes {
		if p.lost > 0 {
			wrong = append(wrong, fmt.Sprintf("%s of %s came too late to find their place in time", counted(p.lost, "sample"), named(j.s.Probes[n].Name)))
		}
	}
	return wrong
}

func abortedBy(by experiments.AbortBy) string {
	if words, ok := abortWords[by]; ok {
		return words
	}
	return short(string(by), 40)
}

var abortWords = map[experiments.AbortBy]string{
	experiments.AbortGuard: "a guard",
	experiments.AbortHalt:  "faultline halt",
	experiments.AbortDisk:  "a disk that could not be written",
	experiments.AbortInt:   "SIGINT (Ctrl-C)",
	experiments.AbortTerm:  "SIGTERM",
	experiments.AbortHup:   "SIGHUP (the terminal was closed)",
	experiments.AbortLimit: "limits.duration",
	experiments.AbortUndo:  "faultline undo",
}

var abortExits = map[experiments.AbortBy]experiments.Exit{
	experiments.AbortInt:  experiments.ExitInt,
	experiments.AbortTerm: experiments.ExitTerm,
	experiments.AbortHup:  experiments.ExitHup,
}

// exit is the code that answers for the whole run.
func exit(s *Summary) experiments.Exit {
	codes := []experiments.Exit{map[experiments.Verdict]experiments.Exit{
		experiments.Passed: experiments.ExitPassed, experiments.Inconclusive: experiments.ExitInconclusive, experiments.Failed: experiments.ExitFailed,
	}[s.Verdict]}
	for _, a := range s.Aborts {
		code, ok := abortExits[a.By]
		if !ok {
			code = experiments.ExitAborted
		}
		codes = append(codes, code)
	}
	if s.Undone != UndoneYes {
		codes = append(codes, experiments.ExitStillBroken)
	}
	return experiments.WorstExit(codes...)
}

// standing is the verdict that stands whether all unknown samples were good or
// all were bad; where the two differ, nothing can be concluded.
func standing(best, worst bool) experiments.Verdict {
	switch {
	case best && worst:
		return experiments.Passed
	case !best && !worst:
		return experiments.Failed
	}
	return experiments.Inconclusive
}

func shareOr(s *experiments.Share, unsaid experiments.Share) experiments.Share {
	if s == nil {
		return unsaid
	}
	return *s
}

// shareBounds says whether the share of good answers is enough if all unknown ones were good, and if all were bad.
func shareBounds(f Figures, limit experiments.Share) (best, worst bool) {
	if f.Samples == 0 {
		return true, false // could be anything
	}
	return enough(f.Good+f.Unknown, f.Samples, limit), enough(f.Good, f.Samples, limit)
}

// enough allows for a float's last bits: 99 % of 100 is 99.
func enough(good, of uint64, limit experiments.Share) bool {
	return float64(good) >= float64(limit)*float64(of)-1e-6
}

// shareSentence is "41 of 1,204 answers were bad (96.6 % good; at least 99 % was asked)".
func shareSentence(f Figures, limit experiments.Share) string {
	if f.Samples == 0 {
		return "no answer was taken"
	}
	text := fmt.Sprintf("%s of %s %s bad", count(f.Bad), counted(f.Samples, "answer"), wasWere(f.Bad))
	if f.Bad == 0 {
		text = "no answer was bad"
		if f.Unknown == 0 && f.Samples > 1 {
			return fmt.Sprintf("all %s answers were good", count(f.Samples))
		}
	}
	if f.Unknown > 0 {
		text += fmt.Sprintf(", and %s could not be looked at", count(f.Unknown))
	}
	asked := "at least " + percent(limit) + " was asked"
	if limit == 1 {
		asked = "all were asked to be good"
	}
	return fmt.Sprintf("%s (%s good; %s)", text, percentOf(f.Good, f.Samples, limit), asked)
}

func wasWere(n uint64) string {
	if n == 1 {
		return "was"
	}
	return "were"
}

func isAre(n uint64) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (j *judgement) hypothesis() {
	during, _ := j.phase(experiments.PhaseDuring)
	if len(j.s.Probes) == 0 {
		j.add(Check{Axis: AxisHypothesis, Name: "the hypothesis was tested", Verdict: experiments.Inconclusive,
			Why: "The experiment has no probe, so this run proves nothing about its hypothesis."})
	}
	for n := range j.s.Probes {
		c := Check{Axis: AxisHypothesis, Name: named(j.s.Probes[n].Name) + " during the faults", Took: during.To - during.From}
		if j.injectedAny() || j.watched() {
			c.Verdict, c.Why = j.probeVerdict(n)
		} else {
			c.Verdict, c.Skipped = experiments.Inconclusive, true
			c.Why = fmt.Sprintf("%s was not put to the test: nothing was injected.", named(j.s.Probes[n].Name))
		}
		j.s.Probes[n].Hypothesis = c.Verdict
		j.add(c)
	}
}

// probeVerdict is one probe's answer during the faults: its share, its longest outage and its worst row.
func (j *judgement) probeVerdict(n int) (experiments.Verdict, string) {
	p, f := j.s.Probes[n], j.f.probes[n]
	limit := shareOr(p.Tolerate.During, 1)
	verdict := standing(shareBounds(p.During, limit))
	why := fmt.Sprintf("%s during the faults", shareSentence(p.During, limit))
	if most := p.Tolerate.Outage; most != nil {
		v := standing(f.best.longest.length() <= most.Std(), f.worst.longest.length() <= most.Std())
		verdict = max(verdict, v)
		if p.Outages > 0 || v != experiments.Passed {
			why += fmt.Sprintf("; the longest outage was %s (%s was allowed)", outageBeside(p, most.Std()), length(most.Std()))
		}
	}
	if row := p.Tolerate.Abort; row > 0 {
		v := standing(f.best.most < row, f.worst.most < row)
		if v == experiments.Failed {
			why += fmt.Sprintf("; %s bad answers came in a row (%s end the run)", count(f.best.most), count(row))
		}
		if v == experiments.Failed || p.Tolerate.During == nil && p.Tolerate.Outage == nil {
			verdict = max(verdict, v)
		}
	}
	if p.During.Bad > 0 {
		why += mostOften(p.BadReasons, p.During.Bad+p.After.Bad+p.Before.Bad)
	}
	if verdict == experiments.Inconclusive && p.During.Unknown > 0 {
		why += "; the answer depends on what could not be looked at" + mostOften(p.UnknownReasons, 0)
	}
	if verdict == experiments.Passed && !j.duringWhole() {
		return experiments.Inconclusive, fmt.Sprintf("%s: %s, but the run ended before the faults had run their time.", named(p.Name), why)
	}
	return verdict, fmt.Sprintf("%s: %s.", named(p.Name), why)
}

func outageBeside(p Probe, limit time.Duration) string {
	text := lengthBeside(p.Outage.Length, limit)
	if p.Outage.AtLeast {
		text = "≥ " + text
	}
	if p.OutageMost != p.Outage {
		text += " to " + p.OutageMost.String()
	}
	return text
}

// mostOften names the most frequent reason, and how often it came where that is not always.
func mostOften(each []Reason, of uint64) string {
	if len(each) == 0 {
		return ""
	}
	if len(each) == 1 {
		return "; the reason: " + short(each[0].Why, 160)
	}
	if of == 0 {
		return "; most often: " + short(each[0].Why, 160)
	}
	return fmt.Sprintf("; most often (%s of %s): %s", count(each[0].Count), count(of), short(each[0].Why, 160))
}

func (j *judgement) recovery() {
	after, _ := j.phase(experiments.PhaseAfter)
	for n := range j.s.Probes {
		c := Check{Axis: AxisRecovery, Name: named(j.s.Probes[n].Name) + " after the faults", Took: after.To - after.From}
		if j.injectedAny() {
			c.Verdict, c.Why = j.recoveryVerdict(n)
		} else {
			c.Skipped = true
			c.Why = fmt.Sprintf("%s had nothing to recover from: nothing was injected.", named(j.s.Probes[n].Name))
		}
		j.s.Probes[n].Recovery = c.Verdict
		j.add(c)
	}
}

func (j *judgement) recoveryVerdict(n int) (experiments.Verdict, string) {
	p, f := &j.s.Probes[n], j.f.probes[n]
	if !f.seen.undone {
		return experiments.Inconclusive, fmt.Sprintf("%s: the record does not say when the last fault was taken back, so its recovery cannot be timed.", named(p.Name))
	}
	limit, said := j.recoverLimit(p.Tolerate)
	for _, span := range []*Span{p.Recover, p.RecoverMost} {
		if span != nil && span.AtLeast && j.afterWhole() {
			span.Length = max(span.Length, j.r.to()-f.seen.origin) // it did not come in all of After
		}
	}
	if p.Recover == nil {
		return experiments.Inconclusive, fmt.Sprintf("%s: no answer was taken after the last fault was over, so its recovery is unknown.", named(p.Name))
	}
	verdict := standingVerdicts(j.recovered(&f.best, limit), j.recovered(&f.worst, limit))
	allowed := length(limit) + " was allowed"
	if !said {
		allowed = "the whole time after the faults, " + length(limit) + ", was allowed"
	}
	if p.Recover.AtLeast {
		return verdict, fmt.Sprintf("%s: it was not good again within %s after the last fault was over (%s).", named(p.Name), lengthBeside(p.Recover.Length, limit), allowed)
	}
	why := fmt.Sprintf("%s: it was good for good %s after the last fault was over (%s)", named(p.Name), lengthBeside(p.Recover.Length, limit), allowed)
	if verdict == experiments.Inconclusive {
		why += ", as far as could be looked"
		if !j.afterWhole() {
			why += "; but the run ended before that time was over"
		}
	}
	return verdict, why + "."
}

// recoverLimit is the time within which a probe has to be good for good, and whether its author said so.
func (j *judgement) recoverLimit(t experiments.Tolerance) (time.Duration, bool) {
	if t.Recover != nil {
		return t.Recover.Std(), true
	}
	return j.r.header.Plan.Experiment.Timeline.After.Std(), false
}

// recovered judges one course. Good so far is not good for good while the time is not over.
func (j *judgement) recovered(c *course, limit time.Duration) experiments.Verdict {
	span := c.recovery()
	switch {
	case span == nil:
		return experiments.Inconclusive
	case span.AtLeast && (span.Length > limit || j.afterWhole()):
		return experiments.Failed
	case span.AtLeast:
		return experiments.Inconclusive
	case span.Length > limit:
		return experiments.Failed
	case !j.afterWhole():
		return experiments.Inconclusive
	}
	return experiments.Passed
}

func standingVerdicts(best, worst experiments.Verdict) experiments.Verdict {
	if best == worst {
		return best
	}
	return experiments.Inconclusive
}

func (j *judgement) undos() {
	if j.r.holes > 0 {
		j.add(Check{Axis: AxisRecovery, Name: "everything that was hit is known", Verdict: experiments.Inconclusive,
			Why: "Lines of the record are missing, so there may be targets of which nothing is known; look at the system by hand."})
	}
	for _, f := range j.r.faults {
		c := Check{Axis: AxisRecovery, Name: "fault " + named(f.plan.Name) + " was taken back"}
		c.Verdict, c.Why, c.Skipped = undoVerdict(f, j.r.header.Run)
		for _, t := range f.targets {
			if t.undone != nil && t.undoing != nil {
				c.Took = max(c.Took, t.undone.off-t.undoing.off)
			}
		}
		j.add(c)
	}
}

func undoVerdict(f *faultRecord, run string) (v experiments.Verdict, why string, skipped bool) {
	name := named(f.plan.Name)
	var failed, open []string
	healed, none := 0, true
	for _, t := range f.targets {
		if t.aimed == nil && t.injected == nil || t.refused != "" && t.injected == nil {
			continue
		}
		none = none && f.irreversible(t)
		switch {
		case t.undone != nil && t.undoError != "":
			failed = append(failed, short(t.name, 80)+": "+short(t.undoError, longestLine))
		case t.open():
			open = append(open, short(t.name, 80))
		default:
			healed++
		}
	}
	advice := fmt.Sprintf("faultline undo %s tries again", short(run, 80))
	switch {
	case len(failed) > 0:
		return experiments.Failed, fmt.Sprintf("Fault %s may still be on: putting back failed on %s (%s); %s.", name, counted(len(failed), "target"), joinBounded(failed, 3), advice), false
	case len(open) > 0:
		return experiments.Inconclusive, fmt.Sprintf("Fault %s may still be on: no record says that %s was put back; %s.", name, list(open, 3), advice), false
	case healed == 0:
		return experiments.Passed, fmt.Sprintf("Fault %s was not injected, so there was nothing to take back.", name), true
	case none:
		return experiments.Passed, fmt.Sprintf("Fault %s needs no taking back: it leaves nothing behind.", name), false
	}
	return experiments.Passed, fmt.Sprintf("Fault %s was taken back on %s, and this was verified.", name, counted(healed, "target")), false
}

// undone is true only when every target that may have been hit is verified to be well again.
func (j *judgement) undone() Undone {
	answer := UndoneYes
	if j.r.holes > 0 {
		answer = UndoneUnknown // a missing line may be a target
	}
	for _, f := range j.r.faults {
		for _, t := range f.targets {
			switch {
			case t.undone != nil && t.undoError != "":
				return UndoneNo
			case t.open():
				answer = UndoneUnknown
			}
		}
	}
	return answer
}
