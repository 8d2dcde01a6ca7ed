package reports

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"
	"unicode/utf8"
)

// ReportSchema names the format of report.json.
const ReportSchema = "faultline/report/v1"

// Document is report.json: `faultline schema report` publishes it.
type Document struct {
	Schema     string              `json:"schema"`
	Run        string              `json:"run"`
	Name       string              `json:"name"`
	Hypothesis string              `json:"hypothesis,omitempty"`
	Labels     map[string]string   `json:"labels,omitempty"`
	Verdict    string              `json:"verdict" jsonschema:"enum=passed,enum=inconclusive,enum=failed"`
	ExitCode   int                 `json:"exit_code"`
	Axes       DocumentAxes        `json:"axes"`
	Undone     any                 `json:"undone" jsonschema:"oneof_type=boolean;string"` // true, false or "unknown"
	Headline   string              `json:"headline"`
	Story      []string            `json:"story,omitempty"`
	Seed       uint64              `json:"seed"`
	Started    string              `json:"started"`
	Ended      string              `json:"ended"`
	Complete   bool                `json:"complete"`
	Aborted    []DocumentAbort     `json:"aborted,omitempty"`
	Phases     []DocumentPhase     `json:"phases"`
	Faults     []DocumentFault     `json:"faults"`
	Probes     []DocumentProbe     `json:"probes"`
	Checks     []DocumentCheck     `json:"checks"`
	Notes      []string            `json:"notes,omitempty"`
	Where      DocumentEnvironment `json:"environment"`
	Command    []string            `json:"command"`
	Experiment string              `json:"experiment,omitempty"` // the document as YAML, redacted
}

// DocumentAxes are the three findings.
type DocumentAxes struct {
	Valid      DocumentFinding `json:"valid"`
	Hypothesis DocumentFinding `json:"hypothesis"`
	Recovery   DocumentFinding `json:"recovery"`
}

// DocumentFinding is a verdict with its reasons.
type DocumentFinding struct {
	Verdict string   `json:"verdict" jsonschema:"enum=passed,enum=inconclusive,enum=failed"`
	Why     []string `json:"why"`
}

// DocumentAbort is one reason for an early end.
type DocumentAbort struct {
	By  string `json:"by"`
	At  string `json:"at"`
	Why string `json:"why,omitempty"`
}

// DocumentPhase is when a phase was.
type DocumentPhase struct {
	Phase   string  `json:"phase"`
	Started string  `json:"started"`
	LengthS float64 `json:"length_s"`
}

// DocumentFault is one fault as asked and as it went.
type DocumentFault struct {
	Name      string            `json:"name"`
	Kind      string            `json:"kind"`
	Mechanism string            `json:"mechanism"`
	Keeper    string            `json:"keeper"`
	AtS       float64           `json:"at_s"`
	ForS      float64           `json:"for_s"`
	Asked     map[string]string `json:"asked"`
	Matched   int               `json:"matched"`
	SpreadS   *float64          `json:"spread_s" jsonschema:"nullable"` // null: nothing was injected
	Refused   string            `json:"refused,omitempty"`
	Targets   []DocumentTarget  `json:"targets"`
}

// DocumentTarget is one target as it went.
type DocumentTarget struct {
	ID         string            `json:"id"`       // of the injection
	Identity   string            `json:"identity"` // of the target
	Name       string            `json:"name"`
	Kind       string            `json:"kind"`
	State      string            `json:"state"`
	Why        string            `json:"why,omitempty"`
	InjectedAt *string           `json:"injected_at" jsonschema:"nullable"` // null: it was not
	UndoneAt   *string           `json:"undone_at" jsonschema:"nullable"`   // null: no verified undo
	Measured   map[string]string `json:"measured"`
	Notes      []string          `json:"notes,omitempty"`
	EndedEarly string            `json:"ended_early,omitempty"`
	Return     *DocumentReturn   `json:"return,omitempty"`
	UndoError  string            `json:"undo_error,omitempty"`
}

// DocumentReturn is how the target came back by itself.
type DocumentReturn struct {
	State     string   `json:"state"`
	By        string   `json:"by,omitempty"`
	As        string   `json:"as,omitempty"`
	UpS       *float64 `json:"up_s" jsonschema:"nullable"` // null: not seen
	UpAtLeast bool     `json:"up_at_least,omitempty"`
	HealthyS  *float64 `json:"healthy_s" jsonschema:"nullable"`
}

// DocumentProbe is one probe's figures.
type DocumentProbe struct {
	Name           string          `json:"name"`
	Kind           string          `json:"kind"`
	Hypothesis     string          `json:"hypothesis" jsonschema:"enum=passed,enum=inconclusive,enum=failed"`
	Recovery       string          `json:"recovery" jsonschema:"enum=passed,enum=inconclusive,enum=failed"`
	Before         DocumentFigures `json:"before"`
	During         DocumentFigures `json:"during"`
	After          DocumentFigures `json:"after"`
	OutageS        float64         `json:"outage_s"`
	OutageAtLeast  bool            `json:"outage_at_least"` // its end never came: outage_s is the least it was
	OutageMostS    float64         `json:"outage_most_s"`   // if all that could not be looked at was bad
	Outages        int             `json:"outages"`
	RecoverS       *float64        `json:"recover_s" jsonschema:"nullable"` // null: nothing was seen after the last undo
	RecoverAtLeast bool            `json:"recover_at_least"`
	RecoverMostS   *float64        `json:"recover_most_s" jsonschema:"nullable"`
	BadReasons     []DocumentCount `json:"bad_reasons,omitempty"`
	UnknownReasons []DocumentCount `json:"unknown_reasons,omitempty"`
}

// DocumentFigures are one probe's samples in one phase; percentiles are within 0.2 %.
type DocumentFigures struct {
	Samples uint64   `json:"samples"`
	Good    uint64   `json:"good"`
	Bad     uint64   `json:"bad"`
	Unknown uint64   `json:"unknown"`
	P50     *float64 `json:"p50_ms" jsonschema:"nullable"` // null: there was no answer
	P95     *float64 `json:"p95_ms" jsonschema:"nullable"`
	P99     *float64 `json:"p99_ms" jsonschema:"nullable"`
	Late    float64  `json:"latest_ms"` // how late the latest question was asked
}

// DocumentCount is a reason and how often it came.
type DocumentCount struct {
	Why   string `json:"why"`
	Count uint64 `json:"count"`
}

// DocumentCheck is one question with its answer.
type DocumentCheck struct {
	Axis    string `json:"axis"`
	Name    string `json:"name"`
	Verdict string `json:"verdict" jsonschema:"enum=passed,enum=inconclusive,enum=failed"`
	Skipped bool   `json:"skipped,omitempty"`
	Why     string `json:"why"`
}

// DocumentEnvironment is where the run was.
type DocumentEnvironment struct {
	Version string `json:"version"`
	Host    string `json:"host"`
	Machine string `json:"machine"`
	BootID  string `json:"boot_id"`
	User    string `json:"user"`
	OS      string `json:"os"`
	Engine  string `json:"engine,omitempty"`
}

// JSON writes report.json.
func JSON(w io.Writer, s Summary) error {
	text, err := json.MarshalIndent(documentOf(s), "", "  ")
	if err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	text = append(escapeUnsafe(text), '\n')
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("write the report as JSON: %w", err)
	}
	return nil
}

// escapeUnsafe writes characters that could harm a terminal as \u escapes; the
// text stays the same JSON value.
func escapeUnsafe(text []byte) []byte {
	var out bytes.Buffer
	out.Grow(len(text))
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		switch {
		case r < 0x7f || !unsafeRune(r):
			out.Write(text[i : i+size])
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&out, `\u%04x`, r)
		}
		i += size
	}
	return out.Bytes()
}

func documentOf(s Summary) Document {
	h := s.Header
	d := Document{
		Schema: ReportSchema, Run: h.Run, Name: h.Plan.Experiment.Name, Hypothesis: h.Plan.Experiment.Hypothesis, Labels: h.Plan.Experiment.Labels,
		Verdict: s.Verdict.String(), ExitCode: int(s.Exit), Undone: undoneJSON(s.Undone), Headline: s.Headline, Story: s.Story, Seed: h.Plan.Seed,
		Started: stamp(h.Started), Ended: stamp(s.Ended), Complete: s.Complete,
		Phases: []DocumentPhase{}, Faults: []DocumentFault{}, Probes: []DocumentProbe{}, Checks: []DocumentCheck{},
		Where:   DocumentEnvironment{h.Version, h.Host, h.Machine, h.BootID, h.User, h.OS, h.Engine},
		Command: append([]string{}, h.Command...), Experiment: h.Document,
	}
	d.Notes = notesOf(s)
	d.Axes = DocumentAxes{findingJSON(s.Axes[0]), findingJSON(s.Axes[1]), findingJSON(s.Axes[2])}
	for _, a := range s.Aborts {
		d.Aborted = append(d.Aborted, DocumentAbort{string(a.By), stamp(a.At), a.Why})
	}
	for _, p := range s.Phases {
		d.Phases = append(d.Phases, DocumentPhase{string(p.Phase), stamp(p.At), secondsJSON(p.To - p.From)})
	}
	for _, f := range s.Faults {
		d.Faults = append(d.Faults, faultJSON(f))
	}
	for _, p := range s.Probes {
		d.Probes = append(d.Probes, probeJSON(p))
	}
	for _, c := range s.Checks {
		d.Checks = append(d.Checks, DocumentCheck{string(c.Axis), c.Name, c.Verdict.String(), c.Skipped, c.Why})
	}
	return d
}

func undoneJSON(u Undone) any {
	switch u {
	case UndoneYes:
		return true
	case UndoneNo:
		return false
	}
	return string(u)
}

func findingJSON(a Axis) DocumentFinding {
	return DocumentFinding{a.Verdict.String(), append([]string{}, a.Why...)}
}

func faultJSON(f Fault) DocumentFault {
	d := DocumentFault{
		Name: f.Name, Kind: f.Kind, Mechanism: f.Mechanism, Keeper: string(f.Keeper), AtS: secondsJSON(f.At), ForS: secondsJSON(f.For),
		Asked: orEmpty(f.Asked), Matched: f.Matched, Refused: f.Refused, Targets: []DocumentTarget{},
	}
	if f.Hit > 0 {
		d.SpreadS = pointer(secondsJSON(f.Spread))
	}
	for _, t := range f.Targets {
		d.Targets = append(d.Targets, targetJSON(t))
	}
	return d
}

func targetJSON(t Target) DocumentTarget {
	d := DocumentTarget{
		ID: t.ID, Identity: firstOf(t.Description.ID, t.Victim.ID), Name: t.Name, Kind: firstOf(t.Description.Kind, t.Victim.Kind),
		State: t.State, Why: t.Why, InjectedAt: stampOf(t.Injected), UndoneAt: stampOf(t.Undone), Measured: orEmpty(t.Measured), Notes: targetNotes(t), UndoError: t.UndoError,
	}
	if t.EndedEarly != nil {
		d.EndedEarly = t.EndedEarly.Text
	}
	if b := t.Return; b != nil {
		d.Return = &DocumentReturn{State: string(b.State), By: b.By, As: b.As, UpS: spanJSON(b.Up), HealthyS: spanJSON(b.Healthy), UpAtLeast: b.Up != nil && b.Up.AtLeast}
	}
	return d
}

func probeJSON(p Probe) DocumentProbe {
	return DocumentProbe{
		Name: p.Name, Kind: p.Kind, Hypothesis: p.Hypothesis.String(), Recovery: p.Recovery.String(),
		Before: figuresJSON(p.Before), During: figuresJSON(p.During), After: figuresJSON(p.After),
		OutageS: secondsJSON(p.Outage.Length), OutageMostS: secondsJSON(p.OutageMost.Length), OutageAtLeast: p.Outage.AtLeast, Outages: p.Outages,
		RecoverS: spanJSON(p.Recover), RecoverMostS: spanJSON(p.RecoverMost), RecoverAtLeast: p.Recover != nil && p.Recover.AtLeast,
		BadReasons: countsJSON(p.BadReasons), UnknownReasons: countsJSON(p.UnknownReasons),
	}
}

func figuresJSON(f Figures) DocumentFigures {
	return DocumentFigures{f.Samples, f.Good, f.Bad, f.Unknown, millisJSON(f.P50), millisJSON(f.P95), millisJSON(f.P99), float64(f.Latest.Microseconds()) / 1000}
}

func countsJSON(each []Reason) []DocumentCount {
	var counts []DocumentCount
	for _, r := range each {
		counts = append(counts, DocumentCount(r))
	}
	return counts
}

// stamp writes RFC 3339 in UTC.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

func stampOf(m *Moment) *string {
	if m == nil {
		return nil
	}
	return pointer(stamp(m.At))
}

// secondsJSON keeps microseconds: more was not measured.
func secondsJSON(d time.Duration) float64 { return float64(d.Microseconds()) / 1e6 }

func spanJSON(s *Span) *float64 {
	if s == nil {
		return nil
	}
	return pointer(secondsJSON(s.Length))
}

func millisJSON(d *time.Duration) *float64 {
	if d == nil {
		return nil
	}
	return pointer(float64(d.Microseconds()) / 1000)
}

func pointer[T any](v T) *T { return &v }

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
