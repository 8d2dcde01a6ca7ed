package holder

import (
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"
)

// pair is two links joined by pipes, as a parent and its holder are.
func pair() (parent, child *Link, cut func()) {
	toChild, fromParent := io.Pipe()
	toParent, fromChild := io.Pipe()
	return NewLink(toParent, fromParent), NewLink(toChild, fromChild), func() {
		fromParent.Close()
		toParent.Close()
	}
}

func TestWhatOneSideSaysTheOtherHearsWithoutTheBeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, child, _ := pair()
		time.Sleep(10 * Beat)
		parent.Send(Message{Type: MessageInject})
		if m := <-child.Messages(); m.Type != MessageInject {
			t.Errorf("heard %q", m.Type)
		}
		parent.Close()
		child.Close()
	})
}

func TestAParentThatDiesIsNoticedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, child, cut := pair()
		time.Sleep(time.Second)
		died := time.Now()
		cut()
		if _, open := <-child.Messages(); open {
			t.Fatal("a dead parent said something")
		}
		if d := time.Since(died); d > Beat || child.Lost() == nil {
			t.Errorf("noticed after %s: %v", d, child.Lost())
		}
		parent.Close()
		child.Close()
	})
}

func TestASideThatIsSilentCountsAsDeadAfterThreeSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toChild, fromParent := io.Pipe() // nobody beats on it: its owner is stopped
		drained, fromChild := io.Pipe()
		go io.Copy(io.Discard, drained)
		child := NewLink(toChild, fromChild)
		began := time.Now()
		<-child.Messages()
		if d := time.Since(began); d != Silence || !errors.Is(child.Lost(), ErrSilent) {
			t.Errorf("after %s: %v", d, child.Lost())
		}
		child.Close()
		fromParent.Close()
		drained.Close()
	})
}

func TestSendingNeverWaitsForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		toChild, fromParent := io.Pipe()
		toParent, fromChild := io.Pipe()
		child := NewLink(toChild, fromChild) // toParent is never read
		began := time.Now()
		dropped := false
		for range 2 * queued {
			dropped = !child.Send(Message{Type: MessageReady}) || dropped
		}
		if time.Since(began) != 0 || !dropped {
			t.Errorf("took %s, dropped %v", time.Since(began), dropped)
		}
		child.Close()
		toParent.Close()
		fromParent.Close()
	})
}

func TestWhatWasSaidBeforeClosingArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, child, _ := pair()
		child.Send(Message{Type: MessageDone})
		child.Close()
		if m := <-parent.Messages(); m.Type != MessageDone {
			t.Errorf("heard %q", m.Type)
		}
		if _, open := <-parent.Messages(); open {
			t.Error("the link did not end")
		}
		parent.Close()
	})
}
