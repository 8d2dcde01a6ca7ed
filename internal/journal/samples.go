package journal

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/faultline-sh/faultline/experiments"
)

// The samples file is a name line and blocks, each for itself: its length and
// checksum (little endian, 4 bytes each), then samples as varints:
//
//	probe<<2|outcome, due since the last one (zigzag, ns), late (zigzag, ns),
//	took (zigzag, ns), why: 0 none, 1 a new text (length, bytes), n the text n-2 of this block
//
// A block that was cut short by a crash is the end of the file.
const (
	samplesMagic = "faultline/samples/v1\n"
	blockSize    = 32 << 10 // written when it is full, or a second after it was begun
	blockHeader  = 8
	maxBlock     = 1 << 20
	maxWhy       = 512 // bytes kept of a sample's Why
	flushEvery   = time.Second
)

// SampleWriter keeps a run's samples. It is safe for concurrent use. A crash
// loses at most the last second.
type SampleWriter struct {
	mu    sync.Mutex
	file  io.WriteCloser
	block []byte // header and payload
	last  experiments.Boottime
	texts map[string]uint64
	err   error
	stop  chan struct{}
	done  chan struct{}
}

// NewSampleWriter makes the file, which must not exist yet.
func NewSampleWriter(path string) (*SampleWriter, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|openNoFollow, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make the file of samples: %w", err)
	}
	if _, err := io.WriteString(f, samplesMagic); err != nil {
		return nil, errors.Join(fmt.Errorf("make the file of samples: %w", err), f.Close())
	}
	return newSampleWriter(f), nil
}

func newSampleWriter(f io.WriteCloser) *SampleWriter {
	w := &SampleWriter{file: f, stop: make(chan struct{}), done: make(chan struct{})}
	w.begin()
	go w.flushing()
	return w
}

func (w *SampleWriter) begin() {
	if w.block == nil {
		w.block = make([]byte, 0, blockSize+2*maxWhy)
	}
	w.block = append(w.block[:0], make([]byte, blockHeader)...)
	w.last, w.texts = 0, map[string]uint64{}
}

func (w *SampleWriter) flushing() {
	defer close(w.done)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.mu.Lock()
			w.flush()
			w.mu.Unlock()
		case <-w.stop:
			return
		}
	}
}

// Add keeps one sample. After an error every later call gives it again.
func (w *SampleWriter) Add(s experiments.Sample) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return w.err
	}
	b := binary.AppendUvarint(w.block, uint64(s.Probe)<<2|uint64(s.Outcome)&3)
	b = binary.AppendVarint(b, int64(s.Due-w.last))
	b = binary.AppendVarint(b, int64(s.Late))
	b = binary.AppendVarint(b, int64(s.Took))
	w.last = s.Due
	w.block = w.why(b, s.Why)
	if len(w.block) >= blockSize {
		w.flush()
	}
	return w.err
}

func (w *SampleWriter) why(b []byte, why string) []byte {
	if why == "" {
		return append(b, 0)
	}
	why = cut(why, maxWhy)
	if n, ok := w.texts[why]; ok {
		return binary.AppendUvarint(b, n+2)
	}
	w.texts[why] = uint64(len(w.texts))
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(len(why)))
	return append(b, why...)
}

// cut shortens a text to at most n bytes of whole characters.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) <= n {
		return s
	}
	n -= len("…")
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// flush writes the block; the caller holds the mutex.
func (w *SampleWriter) flush() {
	if len(w.block) == blockHeader || w.err != nil {
		return
	}
	payload := w.block[blockHeader:]
	binary.LittleEndian.PutUint32(w.block, uint32(len(payload)))
	binary.LittleEndian.PutUint32(w.block[4:], crc32.ChecksumIEEE(payload))
	if _, err := w.file.Write(w.block); err != nil {
		w.err = fmt.Errorf("write samples: %w", err)
	}
	w.begin()
}

// Close writes what is left. Its error says that samples were lost.
func (w *SampleWriter) Close() error {
	close(w.stop)
	<-w.done
	w.mu.Lock()
	defer w.mu.Unlock()
	w.flush()
	err := errors.Join(w.err, w.file.Close())
	if w.err == nil {
		w.err = errors.New("write samples: the file is closed")
	}
	return err
}

// ErrSamples says that a file of samples is damaged somewhere else than at its end.
var ErrSamples = errors.New("the file of samples is damaged")

// ReadSamples gives the samples in the order in which they were kept. A torn
// end is tolerated; after an error nothing more comes.
func ReadSamples(path string) iter.Seq2[experiments.Sample, error] {
	return func(yield func(experiments.Sample, error) bool) {
		f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
		if err != nil {
			yield(experiments.Sample{}, fmt.Errorf("read samples: %w", err))
			return
		}
		defer f.Close()
		if err := readSamples(f, func(s experiments.Sample) bool { return yield(s, nil) }); err != nil {
			yield(experiments.Sample{}, fmt.Errorf("read samples of %s: %w", path, err))
		}
	}
}

func readSamples(in io.Reader, yield func(experiments.Sample) bool) error {
	r := bufio.NewReaderSize(in, 2*blockSize)
	magic := make([]byte, len(samplesMagic))
	if n, err := io.ReadFull(r, magic); err != nil {
		if isEnd(err) && strings.HasPrefix(samplesMagic, string(magic[:n])) {
			return nil
		}
		return errors.Join(ErrSamples, err)
	}
	if string(magic) != samplesMagic {
		return fmt.Errorf("%w: it does not begin with %q", ErrSamples, samplesMagic)
	}
	var payload []byte
	for {
		block, whole, err := readBlock(r, payload)
		if err != nil || !whole {
			return err
		}
		more, err := decodeBlock(block, yield)
		if err != nil || !more {
			return err
		}
		payload = block
	}
}

func isEnd(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }

// readBlock gives the next block; whole is false at the end, torn or not.
func readBlock(r *bufio.Reader, buf []byte) (payload []byte, whole bool, err error) {
	var head [blockHeader]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		if isEnd(err) {
			return nil, false, nil
		}
		return nil, false, err
	}
	size := binary.LittleEndian.Uint32(head[:])
	if size == 0 || size > maxBlock {
		return nil, false, damage(r, "a block of %d bytes", size)
	}
	if int(size) > cap(buf) {
		buf = make([]byte, size)
	}
	buf = buf[:size]
	if _, err := io.ReadFull(r, buf); err != nil {
		if isEnd(err) {
			return nil, false, nil
		}
		return nil, false, err
	}
	if crc32.ChecksumIEEE(buf) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, false, damage(r, "a block with a wrong checksum")
	}
	return buf, true, nil
}

// damage is an error unless it is at the very end, where a crash of the machine may leave anything.
func damage(r *bufio.Reader, format string, args ...any) error {
	for {
		b, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case b != 0: // blocks that were allocated and never written read as zeros
			return fmt.Errorf("%w: "+format, append([]any{ErrSamples}, args...)...)
		}
	}
}

func decodeBlock(b []byte, yield func(experiments.Sample) bool) (more bool, err error) {
	d := decoder{rest: b}
	var due experiments.Boottime
	var texts []string
	for len(d.rest) > 0 {
		first := d.uvarint()
		due += experiments.Boottime(d.varint())
		s := experiments.Sample{
			Probe: int(first >> 2), Outcome: experiments.Outcome(first & 3), Due: due,
			Late: time.Duration(d.varint()), Took: time.Duration(d.varint()),
		}
		switch why := d.uvarint(); {
		case why == 1:
			s.Why = d.text()
			texts = append(texts, s.Why)
		case why >= 2 && why-2 < uint64(len(texts)):
			s.Why = texts[why-2]
		case why >= 2:
			d.bad = true
		}
		if d.bad || s.Outcome > experiments.OutcomeBad {
			return false, fmt.Errorf("%w: a sample that makes no sense", ErrSamples)
		}
		if !yield(s) {
			return false, nil
		}
	}
	return true, nil
}

// decoder reads varints; bad once it met something that is none.
type decoder struct {
	rest []byte
	bad  bool
}

func (d *decoder) skip(n int) {
	if n <= 0 || d.bad {
		d.bad, d.rest = true, nil
		return
	}
	d.rest = d.rest[n:]
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.rest)
	d.skip(n)
	return v
}

func (d *decoder) text() string {
	n := d.uvarint()
	if n == 0 || n > uint64(len(d.rest)) {
		d.bad = true
		return ""
	}
	s := string(d.rest[:n])
	d.skip(int(n))
	return s
}
