// Package holder is the process that carries the faults of one run: the same
// binary, started in a session of its own, that heals everything when its
// parent dies, when a fault's time is over, and when it is told to end.
//
// This package is the birth of that process and the pipe between it and its
// parent. It refuses to know what a fault is: the engine (package scheduler)
// runs inside it.
package holder

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Arg is the hidden command under which the binary becomes a holder.
const Arg = "__holder"

const (
	// Beat is how often each side says that it is alive.
	Beat = 250 * time.Millisecond
	// Silence is how long the other side may say nothing before it counts as dead.
	Silence = 3 * time.Second
)

// MessageType is what one side tells the other.
type MessageType string

// Parent to holder, then holder to parent.
const (
	MessageOrder  MessageType = "order"  // Order; the first message
	MessageInject MessageType = "inject" // the baseline held: carry out During
	MessageAbort  MessageType = "abort"  // Abort and Why: heal now
	MessageRecord MessageType = "record" // Event: write it down
	MessageFinish MessageType = "finish" // Complete: nothing more is to come

	MessageReady   MessageType = "ready"   // the record is open, nothing was done yet
	MessageRefused MessageType = "refused" // Why: nothing was done and nothing will be
	MessageEvent   MessageType = "event"   // Event, durable now
	MessageHealed  MessageType = "healed"  // During is over, every injection is closed (or could not be: see the record)
	MessageDone    MessageType = "done"    // the record is closed

	MessageBeat MessageType = "beat" // both ways
)

// Message is one line of the pipe.
type Message struct {
	Type     MessageType         `json:"type"`
	Order    json.RawMessage     `json:"order,omitempty"`
	Event    *experiments.Event  `json:"event,omitempty"`
	Abort    experiments.AbortBy `json:"abort,omitempty"`
	Why      string              `json:"why,omitempty"`
	Complete bool                `json:"complete,omitempty"`
}

// Link is one end of the pipe. Messages closes when the other side has gone or
// has been silent for too long; Lost then says which.
type Link struct {
	out      io.WriteCloser
	in       io.ReadCloser
	messages chan Message
	queue    chan Message
	stopped  chan struct{}
	written  chan struct{} // closed when nothing more will be written
	stop     sync.Once
	lost     error
}

// ErrSilent says that the other side is there but has said nothing for Silence.
var ErrSilent = errors.New("silent for too long")

// queued messages are dropped when the other side does not read: the journal is
// the record, the pipe is only the news.
const queued = 4096

// NewLink starts to read in and to beat on out.
func NewLink(in io.ReadCloser, out io.WriteCloser) *Link {
	l := &Link{in: in, out: out, messages: make(chan Message, 64), queue: make(chan Message, queued), stopped: make(chan struct{}), written: make(chan struct{})}
	go l.write()
	go l.read()
	return l
}

// Messages are what the other side says, without its beats.
func (l *Link) Messages() <-chan Message { return l.messages }

// Lost says why Messages closed; read it after that.
func (l *Link) Lost() error { return l.lost }

// Send says something; it never waits for the other side to read.
// It is false when the other side has stopped reading and the message was dropped.
func (l *Link) Send(m Message) bool {
	select {
	case <-l.stopped:
		return false
	case l.queue <- m:
		return true
	default:
		return false
	}
}

// Close ends both directions. It returns when what was queued has been written,
// or after Silence when the other side does not read.
func (l *Link) Close() {
	l.stop.Do(func() { close(l.stopped) })
	late := time.NewTimer(Silence)
	defer late.Stop()
	select {
	case <-l.written:
	case <-late.C:
	}
}

func (l *Link) write() {
	defer close(l.written)
	defer l.out.Close()
	enc := json.NewEncoder(l.out)
	beat := time.NewTicker(Beat)
	defer beat.Stop()
	for {
		var m Message
		select {
		case m = <-l.queue:
		case <-beat.C:
			m = Message{Type: MessageBeat}
		case <-l.stopped:
			l.drain(enc)
			return
		}
		if enc.Encode(m) != nil { // the reader will see the end of the other side
			return
		}
	}
}

func (l *Link) drain(enc *json.Encoder) {
	for {
		select {
		case m := <-l.queue:
			if enc.Encode(m) != nil {
				return
			}
		default:
			return
		}
	}
}

func (l *Link) read() {
	defer close(l.messages)
	lines := make(chan Message)
	ended := make(chan error, 1)
	go scan(l.in, lines, ended, l.stopped)
	silence := time.NewTimer(Silence)
	defer silence.Stop()
	defer l.in.Close()
	for {
		select {
		case m := <-lines:
			silence.Reset(Silence)
			if m.Type == MessageBeat {
				continue
			}
			select {
			case l.messages <- m:
			case <-l.stopped:
				return
			}
		case l.lost = <-ended:
			return
		case <-silence.C:
			l.lost = ErrSilent
			return
		case <-l.stopped:
			return
		}
	}
}

func scan(in io.Reader, lines chan<- Message, ended chan<- error, stopped <-chan struct{}) {
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			ended <- fmt.Errorf("read the pipe: %w", err)
			return
		}
		var m Message
		if err := json.Unmarshal(line, &m); err != nil {
			ended <- fmt.Errorf("read a message: %w", err)
			return
		}
		select {
		case lines <- m:
		case <-stopped:
			return
		}
	}
}
