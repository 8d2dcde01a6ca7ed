package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/faultline-sh/faultline/experiments"
)

var story = []experiments.Event{
	begun(), aimed("1.1"), of(experiments.EventInjected, "1.1"), aimed("1.2"), of(experiments.EventInjected, "1.2"),
	of(experiments.EventUndoing, "1.2"), of(experiments.EventUndone, "1.2"), of(experiments.EventUndoing, "1.1"), of(experiments.EventUndone, "1.1"),
	{Type: experiments.EventClosed, Close: &experiments.Close{By: "parent", Complete: true}},
}

// Every I/O call of a whole run fails once, with nothing, a part or all of the
// bytes on the disk, then the power goes: everything that Append promised is
// there, whatever is there is a beginning of the story, and the next writer continues it.
func TestH3_WhereverWritingStopsWhatWasPromisedIsThere(t *testing.T) {
	whole := &disk{}
	tell(t, whole, story)
	points := 0
	for at := 1; at <= len(whole.calls); at++ {
		for _, partial := range []int{0, 1, 40, 1 << 20} {
			points++
			t.Run(fmt.Sprintf("call %d (%s), %d bytes", at, whole.calls[at-1], partial), func(t *testing.T) {
				d := &disk{failAt: at, partial: partial, err: syscall.EIO}
				promised := tell(t, d, story)
				for _, survives := range []int{d.durable, len(d.content)} {
					continueAfter(t, d.content[:survives], promised)
				}
			})
		}
	}
	if points < 4*2*len(story) {
		t.Errorf("only %d points for %d events: too few to be every write and every flush", points, len(story))
	}
	t.Logf("journal: %d crash points, residue 0", points)
}

// tell appends until something fails and gives how many events were promised to be durable.
func tell(t *testing.T, d *disk, events []experiments.Event) (promised int) {
	t.Helper()
	w, err := NewWriter(d, noon)
	if err != nil {
		t.Fatal(err)
	}
	for n, e := range events {
		if _, err := w.Append(e); err != nil {
			if !errors.Is(err, syscall.EIO) {
				t.Fatalf("append: %v", err)
			}
			written := len(d.content)
			if _, err := w.Append(e); !errors.Is(err, ErrBroken) {
				t.Fatalf("a second append after a failed one says %v, want ErrBroken", err)
			}
			if len(d.content) != written {
				t.Fatal("a broken writer wrote on")
			}
			return n
		}
	}
	return len(events)
}

func continueAfter(t *testing.T, left []byte, promised int) {
	t.Helper()
	record, err := ReadRecord(bytes.NewReader(left))
	if err != nil {
		t.Fatal(err)
	}
	if got := len(record.Events); got < promised || got > promised+1 {
		t.Fatalf("%d events are left of %d that were promised", got, promised)
	}
	if err := record.Actionable(); err != nil {
		t.Fatalf("not actionable: %v", err)
	}
	if got, want := types(record.Events), types(story[:len(record.Events)]); got != want {
		t.Fatalf("left: %s\nwant: %s", got, want)
	}
	d := &disk{content: bytes.Clone(left)}
	rest := story[len(record.Events):]
	if got := tell(t, d, rest); got != len(rest) {
		t.Fatalf("continued with %d of %d events", got, len(rest))
	}
	again, err := ReadRecord(bytes.NewReader(d.content))
	if err != nil || again.Torn || again.Actionable() != nil {
		t.Fatalf("after continuing: torn %v, actionable %v, %v", again.Torn, again.Actionable(), err)
	}
	for n, e := range again.Events {
		if e.Seq != uint64(n+1) {
			t.Fatalf("event %d has number %d", n+1, e.Seq)
		}
	}
	if state := Fold(again.Events); !state.Done() || state.Closed == nil || state.Hit != 2 {
		t.Fatalf("after continuing: %+v", state)
	}
}

func TestAppendIsDurableWhenItReturns(t *testing.T) {
	d := &disk{}
	w, err := NewWriter(d, noon)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range story {
		if _, err := w.Append(e); err != nil {
			t.Fatal(err)
		}
		if d.durable != len(d.content) {
			t.Fatalf("%s: %d of %d bytes are durable", e.Type, d.durable, len(d.content))
		}
	}
}

func TestAppendKeepsTimesThatAreSet(t *testing.T) {
	w, err := NewWriter(&disk{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	e, err := w.Append(experiments.Event{Type: experiments.EventNote})
	if err != nil || !e.At.Equal(noon.now) || e.Boot != noon.boot || e.Seq != 1 {
		t.Errorf("unset times: %+v, %v", e, err)
	}
	earlier := noon.now.Add(-1)
	e, err = w.Append(experiments.Event{Type: experiments.EventNote, At: earlier, Boot: 7})
	if err != nil || !e.At.Equal(earlier) || e.Boot != 7 || e.Seq != 2 {
		t.Errorf("set times: %+v, %v", e, err)
	}
}

func TestAWriterContinuesBehindALineOfAnyLength(t *testing.T) {
	long := strings.Repeat("x", 200<<10)
	d := &disk{}
	tell(t, d, []experiments.Event{begun(), {Type: experiments.EventNote, Why: long}})
	d.content = append(d.content, `{"seq":3,"type":"no`+long...)
	tell(t, d, []experiments.Event{of(experiments.EventNote, "")})
	record, err := ReadRecord(bytes.NewReader(d.content))
	if err != nil || len(record.Events) != 3 || record.Events[2].Seq != 3 || record.Torn {
		t.Errorf("%d events, torn %v, %v", len(record.Events), record.Torn, err)
	}
}

func TestAFullDiskShowsBeforeTheFirstChange(t *testing.T) {
	run := newRun(t, testHome(t))
	l := lock(t, run)
	defer l.Unlock()
	w, err := l.Writer(noon)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if err := w.Reserve(1 << 62); err == nil {
		t.Error("4 EiB were reserved")
	}
	if err := w.Reserve(1 << 16); err != nil {
		t.Errorf("64 KiB: %v", err)
	}
	if info, err := os.Stat(run.Path(JournalFile)); err != nil || info.Size() != 0 {
		t.Errorf("reserving changed the size: %v, %v", info.Size(), err)
	}
}
