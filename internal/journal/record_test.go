package journal

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

const oldHeader = `{"seq":1,"at":"2026-01-02T12:00:00Z","boot":1,"type":"run","header":{"schema":"faultline/journal/v1","run":"r"}}`

func TestH8_ARecordOfAnotherVersionIsShownAndNeverActedOn(t *testing.T) {
	for name, c := range map[string]struct {
		lines  []string
		events int
		want   error
	}{
		"an old record without today's fields is read":           {[]string{oldHeader}, 1, nil},
		"unknown fields and event types of this schema are kept": {[]string{oldHeader, `{"seq":2,"type":"teleported","where":{"x":1}}`}, 2, nil},
		"a newer schema":                        {[]string{`{"seq":1,"type":"run","header":{"schema":"faultline/journal/v2","run":"r"}}`, `{"seq":2,"type":"aimed"}`}, 2, ErrSchema},
		"a newer schema of other types":         {[]string{`{"seq":"one","type":"run","header":{"schema":"faultline/journal/v9"}}`, `{"seq":[2]}`}, 2, ErrSchema},
		"no header at all":                      {[]string{`{"seq":1,"type":"aimed","target":"1.1"}`}, 1, ErrDamaged},
		"a line in the middle that is no event": {[]string{oldHeader, `{"seq":2,`, `{"seq":3,"type":"note"}`}, 2, ErrDamaged},
		"zeros in the middle":                   {[]string{oldHeader, "\x00\x00\x00", `{"seq":3,"type":"note"}`}, 2, ErrDamaged},
		"nothing yet":                           {nil, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			text := strings.Join(append(c.lines, ""), "\n")
			record, err := ReadRecord(strings.NewReader(text))
			if err != nil {
				t.Fatal(err)
			}
			if err := record.Actionable(); !errors.Is(err, c.want) || (c.want == nil && err != nil) {
				t.Errorf("actionable: %v, want %v", err, c.want)
			}
			if len(record.Events) != c.events || len(record.Lines) != c.events {
				t.Errorf("%d events and %d lines, want %d", len(record.Events), len(record.Lines), c.events)
			}
		})
	}
}

func TestH8_UnknownFieldsStayInTheLines(t *testing.T) {
	line := `{"seq":2,"type":"teleported","where":{"x":1}}`
	record, err := ReadRecord(strings.NewReader(oldHeader + "\n" + line + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if string(record.Lines[1]) != line || record.Events[1].Type != "teleported" {
		t.Errorf("kept %s", record.Lines[1])
	}
}

func TestATornLastLineIsNoEvent(t *testing.T) {
	text := oldHeader + "\n" + `{"seq":2,"type":"aimed","target":"1.1"}`
	for end := len(oldHeader) + 2; end <= len(text); end++ {
		record, err := ReadRecord(strings.NewReader(text[:end]))
		if err != nil || !record.Torn || len(record.Events) != 1 || record.Actionable() != nil {
			t.Fatalf("cut at %d: torn %v, %d events, %v, %v", end, record.Torn, len(record.Events), record.Actionable(), err)
		}
	}
}

func TestAJournalOfSomebodyElseIsNotRead(t *testing.T) {
	run := newRun(t, testHome(t))
	write(t, run, begun())
	if err := os.Chmod(run.Path(JournalFile), 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Read(); !errors.Is(err, ErrUnsafe) {
		t.Errorf("writable by others: %v, want ErrUnsafe", err)
	}
	if err := os.Remove(run.Path(JournalFile)); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/passwd", run.Path(JournalFile)); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Read(); err == nil {
		t.Error("a symbolic link was followed")
	}
}

func TestAPrunedRunIsNotAnEmptyOne(t *testing.T) {
	run := newRun(t, testHome(t))
	if record, err := run.Read(); err != nil || len(record.Events) != 0 {
		t.Errorf("a run that wrote nothing: %v, %v", record, err)
	}
	if err := os.RemoveAll(run.Dir); err != nil {
		t.Fatal(err)
	}
	if _, err := run.Read(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a run that is not there: %v", err)
	}
}

// Whatever a file holds: reading does not fail, a whole line is never lost in
// silence, and folding does not panic.
func FuzzReadRecord(f *testing.F) {
	f.Add([]byte(oldHeader + "\n" + `{"type":"aimed","target":"1","injection":{"id":"1"}}` + "\n" + `{"type":"undone"`))
	f.Add([]byte("\n\n\x00{}\n[]\nnull\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		record, err := ReadRecord(bytes.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := len(record.Events)+len(record.Bad), bytes.Count(text, []byte("\n")); got != want {
			t.Fatalf("%d of %d lines are accounted for", got, want)
		}
		if record.Torn != (len(text) > 0 && text[len(text)-1] != '\n') {
			t.Fatalf("torn is %v", record.Torn)
		}
		Fold(record.Events)
	})
}

func TestFoldKeepsOpenWhatIsNotVerifiedAsUndone(t *testing.T) {
	const (
		injected = experiments.EventInjected
		undone   = experiments.EventUndone
		undoing  = experiments.EventUndoing
		refused  = experiments.EventRefused
	)
	for name, c := range map[string]struct {
		events []experiments.Event
		open   string
	}{
		"aimed is open: it may have happened":                    {[]experiments.Event{aimed("1")}, "1"},
		"refused before it was acted on is closed":               {[]experiments.Event{aimed("1"), of(refused, "1")}, ""},
		"refused after it was acted on stays open":               {[]experiments.Event{aimed("1"), of(injected, "1"), of(refused, "1")}, "1"},
		"a refusal of the whole fault closes no target":          {[]experiments.Event{aimed("1"), of(refused, "")}, "1"},
		"an inject that failed may still have happened":          {[]experiments.Event{aimed("1"), failing(injected, "1", "timeout")}, "1"},
		"undoing is not undone":                                  {[]experiments.Event{aimed("1"), of(injected, "1"), of(undoing, "1")}, "1"},
		"an undo that failed leaves it open":                     {[]experiments.Event{aimed("1"), failing(undone, "1", "no right")}, "1"},
		"a verified undo closes it":                              {[]experiments.Event{aimed("1"), of(injected, "1"), of(undone, "1")}, ""},
		"a later verified undo closes it":                        {[]experiments.Event{aimed("1"), failing(undone, "1", "no right"), of(undone, "1")}, ""},
		"undo of the neighbour closes the neighbour":             {[]experiments.Event{aimed("1"), aimed("2"), of(undone, "2")}, "1"},
		"aimed again under the same ID is open again, and later": {[]experiments.Event{aimed("1"), aimed("2"), of(undone, "1"), aimed("1")}, "2 1"},
		"the run's own end closes nothing":                       {[]experiments.Event{aimed("1"), {Type: experiments.EventClosed, Close: &experiments.Close{}}}, "1"},
		"aimed without saying at what is open, not nothing":      {[]experiments.Event{of(experiments.EventAimed, "1")}, "1"},
		"unknown events change nothing":                          {[]experiments.Event{aimed("1"), of("teleported", "1")}, "1"},
	} {
		t.Run(name, func(t *testing.T) {
			var ids []string
			for _, o := range Fold(c.events).Open {
				ids = append(ids, o.Injection.ID)
			}
			if got := strings.Join(ids, " "); got != c.open {
				t.Errorf("open: %q, want %q", got, c.open)
			}
		})
	}
}

func TestFoldTellsHowTheRunWent(t *testing.T) {
	effect := &experiments.Effect{State: experiments.EffectPartly}
	state := Fold([]experiments.Event{
		begun(), aimed("1"), of(experiments.EventInjected, "1"), {Type: experiments.EventConfirmed, Target: "1", Effect: effect},
		{Type: experiments.EventAbort, Abort: experiments.AbortHalt, Why: "first"}, {Type: experiments.EventAbort, Abort: experiments.AbortInt, Why: "second"},
		of(experiments.EventHolderLost, ""), of(experiments.EventParentLost, ""), failing(experiments.EventFailed, "", "broke"),
		of(experiments.EventUndoing, "1"), failing(experiments.EventUndone, "1", "no right"),
		{Type: experiments.EventClosed, Close: &experiments.Close{By: "parent"}},
	})
	if state.Header == nil || state.Aborted != experiments.AbortHalt || state.AbortWhy != "first" || !state.HolderLost || !state.ParentLost ||
		state.Failed != "broke" || state.Closed == nil || state.Closed.By != "parent" || state.Hit != 1 {
		t.Errorf("%+v", state)
	}
	if o := state.Open[0]; !o.Acted || !o.Undoing || o.LastError != "no right" || o.LastEffect != effect {
		t.Errorf("%+v", o)
	}
}
