package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Clock gives both times of an event; platform.Host is one.
type Clock interface {
	Now() time.Time
	Boottime() experiments.Boottime
}

// File is the little of a file that a journal needs.
type File interface {
	io.ReaderAt
	io.Writer // appends
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error
	Reserve(size int64) error // makes room behind the end without changing the size
	Close() error
}

// ErrBroken says that an earlier write or fsync failed. What the disk holds is
// then unknown, and trying again could report as durable what is not.
var ErrBroken = errors.New("the journal is broken: an earlier write failed")

// Writer appends events, each durable when Append returns. It is not safe for
// concurrent use: a journal has one writer.
type Writer struct {
	file   File
	clock  Clock
	seq    uint64
	broken error
}

// Writer opens the run's journal for its one writer.
func (l *Lock) Writer(clock Clock) (*Writer, error) {
	path := l.run.Path(JournalFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND|openNoFollow, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the journal of run %s: %w", l.run.ID, err)
	}
	if err := errors.Join(checkOwnFile(f), syncDir(l.run.Dir)); err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal of run %s: %w", l.run.ID, err), f.Close())
	}
	w, err := NewWriter(diskFile{f}, clock)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the journal of run %s: %w", l.run.ID, err), f.Close())
	}
	return w, nil
}

// NewWriter continues the journal in file: it first cuts off a torn last line.
func NewWriter(file File, clock Clock) (*Writer, error) {
	size, err := file.Size()
	if err != nil {
		return nil, err
	}
	last, whole, err := lastLine(file, size)
	if err != nil {
		return nil, err
	}
	if whole < size {
		if err := errors.Join(file.Truncate(whole), file.Sync()); err != nil {
			return nil, fmt.Errorf("cut off the torn last line: %w", err)
		}
	}
	w := &Writer{file: file, clock: clock}
	if len(last) > 0 {
		var e struct{ Seq uint64 }
		if err := json.Unmarshal(last, &e); err != nil {
			return nil, fmt.Errorf("read the last line: %w", err)
		}
		w.seq = e.Seq
	}
	return w, nil
}

// lastLine gives the last whole line, and the size of everything up to its end.
func lastLine(r io.ReaderAt, size int64) (line []byte, whole int64, err error) {
	var tail []byte // the file from start on
	for start := size; start > 0; {
		n := min(start, 64<<10)
		start -= n
		block := make([]byte, n, int(n)+len(tail))
		if _, err := r.ReadAt(block, start); err != nil && !errors.Is(err, io.EOF) {
			return nil, 0, err
		}
		tail = append(block, tail...)
		end := bytes.LastIndexByte(tail, '\n')
		if end < 0 {
			continue
		}
		before := bytes.LastIndexByte(tail[:end], '\n')
		if before >= 0 || start == 0 {
			return tail[before+1 : end], start + int64(end) + 1, nil
		}
	}
	return nil, 0, nil
}

// Reserve makes room for as many bytes as a run may write, so that a full disk
// shows before the first change and not in the middle of it.
func (w *Writer) Reserve(size int64) error {
	if err := w.file.Reserve(size); err != nil {
		return fmt.Errorf("reserve %d bytes for the journal: %w", size, err)
	}
	return nil
}

// Append gives the event its number, and its times where it has none, writes it
// as one line and waits until it is on the disk.
func (w *Writer) Append(e experiments.Event) (experiments.Event, error) {
	if w.broken != nil {
		return e, w.broken
	}
	e.Seq = w.seq + 1
	if e.At.IsZero() {
		e.At = w.clock.Now()
	}
	e.At = e.At.UTC().Round(0)
	if e.Boot == 0 {
		e.Boot = w.clock.Boottime()
	}
	line, err := json.Marshal(e)
	if err != nil {
		return e, fmt.Errorf("write event %q: %w", e.Type, err) // nothing was written: not broken
	}
	if err := w.write(append(line, '\n')); err != nil {
		w.broken = fmt.Errorf("%w: %w", ErrBroken, err)
		return e, fmt.Errorf("write event %q: %w", e.Type, err)
	}
	w.seq = e.Seq
	return e, nil
}

func (w *Writer) write(line []byte) error {
	n, err := w.file.Write(line)
	if err == nil && n < len(line) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return err
	}
	return w.file.Sync()
}

// Close ends the writer. What was appended is durable already.
func (w *Writer) Close() error { return w.file.Close() }

// diskFile is a File on a disk.
type diskFile struct{ *os.File }

func (f diskFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

func (f diskFile) Sync() error { return syncData(f.File) }

func (f diskFile) Reserve(size int64) error { return reserve(f.File, size) }

// checkOwnFile refuses what is not a plain file of this user that nobody else can write.
func checkOwnFile(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch owner, known := ownerOf(info); {
	case !info.Mode().IsRegular():
		return fmt.Errorf("%s: %w: it is no plain file", f.Name(), ErrUnsafe)
	case known && owner != userID():
		return fmt.Errorf("%s: %w: it belongs to uid %s, and this is uid %s", f.Name(), ErrUnsafe, owner, userID())
	case known && info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s: %w: others can write it (mode %#o)", f.Name(), ErrUnsafe, info.Mode().Perm())
	}
	return nil
}
