package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"

	"github.com/faultline-sh/faultline/experiments"
	"github.com/faultline-sh/faultline/internal/journal"
	"github.com/faultline-sh/faultline/reports"
)

// summarize folds a run's record, whoever wrote it and however it ended.
func summarize(run journal.Run) (reports.Summary, error) {
	record, err := run.Read()
	if err != nil {
		return reports.Summary{}, err
	}
	return reports.Fold(withDamage(record), samplesOf(run))
}

// withDamage adds to the events what cannot be read of the record, so that the
// report says it: what those lines asked for is unknown.
func withDamage(record journal.Record) []experiments.Event {
	if len(record.Bad) == 0 || len(record.Events) == 0 {
		return record.Events
	}
	last := record.Events[len(record.Events)-1]
	return append(record.Events, experiments.Event{
		Seq: last.Seq + 1, At: last.At, Boot: last.Boot, Type: experiments.EventFailed,
		Error: fmt.Sprintf("the record is damaged: %v", errors.Join(record.Bad...)),
	})
}

// samplesOf: a run that died before its first sample has none.
func samplesOf(run journal.Run) iter.Seq2[experiments.Sample, error] {
	if _, err := os.Stat(run.Samples()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return journal.ReadSamples(run.Samples())
}

// writeReports writes every format that has a file into the run's folder, and
// into out as well; it gives the path of the HTML one.
func (a *app) writeReports(run journal.Run, s reports.Summary, out string) (string, error) {
	dirs := []string{run.Dir}
	var errs []error
	if out != "" {
		errs = append(errs, os.MkdirAll(out, 0o755))
		dirs = append(dirs, out)
	}
	for _, f := range reports.Formats() {
		if f.File == "" {
			continue
		}
		var text bytes.Buffer
		if err := f.Render(&text, s); err != nil {
			errs = append(errs, fmt.Errorf("write the %s report: %w", f.Name, err))
			continue
		}
		for _, dir := range dirs {
			errs = append(errs, writeWhole(filepath.Join(dir, f.File), text.Bytes()))
		}
	}
	return absolute(filepath.Join(dirs[len(dirs)-1], "report.html")), errors.Join(errs...)
}

// writeWhole replaces a file at once, so that nobody reads half a report.
func writeWhole(path string, text []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".report-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	_, err = tmp.Write(text)
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
