package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/faultline-sh/faultline/experiments"
)

// Record is what a journal says. Lines holds each event as it was written, with
// whatever fields a newer version put there.
type Record struct {
	Events []experiments.Event
	Lines  []json.RawMessage
	Torn   bool    // the last line was cut short; it was never durable
	Newer  bool    // of another schema: shown, never acted on
	Bad    []error // lines that cannot be read: what they asked for is unknown
}

// What Actionable can say; compare with errors.Is.
var (
	ErrSchema  = errors.New("the record is of another version of faultline")
	ErrDamaged = errors.New("the record is damaged")
)

// maxLine bounds what one line may take in memory; a plan of thousands of targets stays far below.
const maxLine = 64 << 20

// Read gives the run's record. A run that has written nothing yet has an empty one.
func (r Run) Read() (Record, error) {
	f, err := os.OpenFile(r.Path(JournalFile), os.O_RDONLY|openNoFollow, 0)
	if errors.Is(err, fs.ErrNotExist) {
		_, err := os.Stat(r.Dir) // only a directory that is there has an empty record
		if err != nil {
			return Record{}, fmt.Errorf("read the journal of run %s: %w", r.ID, err)
		}
		return Record{}, nil
	}
	if err != nil {
		return Record{}, fmt.Errorf("read the journal of run %s: %w", r.ID, err)
	}
	defer f.Close()
	if err := checkOwnFile(f); err != nil {
		return Record{}, fmt.Errorf("read the journal of run %s: %w", r.ID, err)
	}
	record, err := ReadRecord(f)
	if err != nil {
		return Record{}, fmt.Errorf("read the journal of run %s: %w", r.ID, err)
	}
	return record, nil
}

// ReadRecord reads a journal to its end. Its error is that of reading: what
// stands in the lines is judged by Actionable.
func ReadRecord(in io.Reader) (Record, error) {
	var record Record
	lines := bufio.NewReaderSize(in, 64<<10)
	for number := 1; ; number++ {
		line, err := readLine(lines)
		switch {
		case errors.Is(err, io.EOF):
			record.Torn = len(line) > 0
			return record, nil
		case errors.Is(err, errLongLine):
			record.Bad = append(record.Bad, fmt.Errorf("line %d: %w", number, err))
			continue
		case err != nil:
			return Record{}, err
		}
		record.add(number, bytes.Clone(line))
	}
}

var errLongLine = fmt.Errorf("longer than %d bytes", maxLine)

// readLine gives the next line without its end; with io.EOF, what stands behind the last end.
func readLine(in *bufio.Reader) ([]byte, error) {
	var line []byte
	long := false
	for {
		part, err := in.ReadSlice('\n')
		if long = long || len(line)+len(part) > maxLine; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return line, err
		case long:
			return nil, errLongLine
		}
		return line[:len(line)-1], nil
	}
}

func (r *Record) add(number int, line []byte) {
	var e experiments.Event
	err := json.Unmarshal(line, &e)
	if err == nil && e.Type == "" {
		err = errors.New("no type")
	}
	if e.Header != nil && e.Header.Schema != experiments.JournalSchema {
		r.Newer = true // its fields may mean anything: do not insist on reading them
		err = nil
	}
	if err != nil {
		// A newer schema may have changed the shape of everything but its own name.
		if number == 1 && otherSchema(line) {
			r.Newer = true
		}
		if !r.Newer {
			r.Bad = append(r.Bad, fmt.Errorf("line %d: %w", number, err))
			return
		}
	}
	r.Events, r.Lines = append(r.Events, e), append(r.Lines, line)
}

func otherSchema(line []byte) bool {
	var e struct{ Header struct{ Schema string } }
	return json.Unmarshal(line, &e) == nil && e.Header.Schema != "" && e.Header.Schema != experiments.JournalSchema
}

// Header is the run's first event; nil when nothing was written.
func (r Record) Header() *experiments.Header {
	if len(r.Events) == 0 {
		return nil
	}
	return r.Events[0].Header
}

// Actionable says why nobody may heal by this record as if it were whole. With
// ErrDamaged, what can be read should be healed, and success never be claimed.
func (r Record) Actionable() error {
	switch {
	case r.Newer:
		schema := "unknown"
		if h := r.Header(); h != nil {
			schema = h.Schema
		}
		return fmt.Errorf("%w: %q, and this build reads %q: nothing was touched; use the version that made it", ErrSchema, schema, experiments.JournalSchema)
	case len(r.Bad) > 0:
		return fmt.Errorf("%w: %w", ErrDamaged, errors.Join(r.Bad...))
	case len(r.Events) > 0 && r.Header() == nil:
		return fmt.Errorf("%w: it does not begin with the run's header", ErrDamaged)
	}
	return nil
}
