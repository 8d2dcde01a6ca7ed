package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

func sampleAt(n int) experiments.Sample {
	s := experiments.Sample{
		Probe: n % 1000, Due: experiments.Boottime(1e15 + int64(n)*100_000), Late: time.Duration(n%7) * time.Microsecond,
		Took: time.Duration(200_000 + n%5000), Outcome: experiments.OutcomeGood,
	}
	if n%10 == 0 {
		s.Outcome, s.Why = experiments.OutcomeBad, fmt.Sprintf("status %d", 500+n%4)
	}
	return s
}

func keep(t testing.TB, path string, count int) {
	t.Helper()
	w, err := NewSampleWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range count {
		if err := w.Add(sampleAt(n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// readAll checks that the samples are the first ones and gives their number.
func readAll(t testing.TB, path string) (count int, err error) {
	t.Helper()
	for s, err := range ReadSamples(path) {
		if err != nil {
			return count, err
		}
		if s != sampleAt(count) {
			t.Fatalf("sample %d: %+v, want %+v", count, s, sampleAt(count))
		}
		count++
	}
	return count, nil
}

func TestSamplesComeBackAsTheyWere(t *testing.T) {
	path := filepath.Join(t.TempDir(), SamplesFile)
	keep(t, path, 20_000)
	if got, err := readAll(t, path); got != 20_000 || err != nil {
		t.Errorf("%d samples, %v", got, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 && runtime.GOOS != "windows" {
		t.Errorf("mode: %v, %v", info.Mode(), err)
	}
	if _, err := NewSampleWriter(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("writing over them: %v", err)
	}
}

func TestOddSamplesComeBack(t *testing.T) {
	odd := []experiments.Sample{
		{}, {Probe: 1 << 20, Due: -5, Late: -1, Took: 1 << 62, Outcome: experiments.OutcomeBad, Why: "\x1b\n\x00"},
		{Due: 1 << 62, Why: strings.Repeat("ß", 1000)}, {Why: "bad \xff utf8"},
	}
	path := filepath.Join(t.TempDir(), SamplesFile)
	w, err := NewSampleWriter(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range odd {
		if err := w.Add(s); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	odd[2].Why, odd[3].Why = cut(odd[2].Why, maxWhy), "bad ? utf8"
	if len(odd[2].Why) > maxWhy || !strings.HasSuffix(odd[2].Why, "ß…") {
		t.Errorf("cut to %q", odd[2].Why)
	}
	n := 0
	for s, err := range ReadSamples(path) {
		if err != nil || s != odd[n] {
			t.Errorf("sample %d: %+v, %v, want %+v", n, s, err, odd[n])
		}
		n++
	}
	if n != len(odd) {
		t.Errorf("%d samples", n)
	}
	if err := w.Add(odd[0]); err == nil {
		t.Error("a closed file took a sample")
	}
}

func TestATornEndLosesTheLastBlockOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), SamplesFile)
	keep(t, path, 20_000)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	last := 0
	for _, size := range []int{0, 5, len(samplesMagic), len(samplesMagic) + 3, 100, blockSize, len(whole) / 2, len(whole) - 1, len(whole)} {
		if err := os.WriteFile(path, whole[:size], 0o600); err != nil {
			t.Fatal(err)
		}
		count, err := readAll(t, path)
		if err != nil || count < last {
			t.Errorf("cut at %d of %d: %d samples, %v", size, len(whole), count, err)
		}
		last = count
	}
	if err := os.WriteFile(path, append(bytes.Clone(whole), make([]byte, 4096)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if count, err := readAll(t, path); count != 20_000 || err != nil {
		t.Errorf("zeros at the end, as a loss of power leaves them: %d, %v", count, err)
	}
	whole[len(whole)/2] ^= 1
	if err := os.WriteFile(path, whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(t, path); !errors.Is(err, ErrSamples) {
		t.Errorf("a damaged block in the middle: %v", err)
	}
}

func TestASampleIsOnTheDiskWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := &counter{}
		w := newSampleWriter(out)
		if err := w.Add(sampleAt(0)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if out.Load() > 0 {
			t.Error("written at once: a system call for each sample")
		}
		time.Sleep(flushEvery + time.Millisecond)
		synctest.Wait()
		if out.Load() == 0 {
			t.Error("not written after a second")
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

// counter counts the bytes that are written to it.
type counter struct{ atomic.Int64 }

func (c *counter) Write(p []byte) (int, error) { c.Add(int64(len(p))); return len(p), nil }
func (c *counter) Close() error                { return nil }

type full struct{ err error }

func (f full) Write([]byte) (int, error) { return 0, f.err }
func (full) Close() error                { return nil }

func TestLostSamplesAreSaid(t *testing.T) {
	noSpace := errors.New("no space")
	w := newSampleWriter(full{noSpace})
	var err error
	for n := 0; n < 100_000 && err == nil; n++ {
		err = w.Add(sampleAt(n))
	}
	if !errors.Is(err, noSpace) {
		t.Errorf("add: %v", err)
	}
	if err := w.Close(); !errors.Is(err, noSpace) {
		t.Errorf("close: %v", err)
	}
}

func FuzzReadSamples(f *testing.F) {
	path := filepath.Join(f.TempDir(), SamplesFile)
	keep(f, path, 50)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte(samplesMagic))
	f.Fuzz(func(t *testing.T, text []byte) {
		err := readSamples(bytes.NewReader(text), func(experiments.Sample) bool { return true })
		if err != nil && !errors.Is(err, ErrSamples) {
			t.Fatal(err)
		}
		// Behind a right checksum too, where only the samples themselves can be wrong.
		if _, err := decodeBlock(text, func(experiments.Sample) bool { return true }); err != nil && !errors.Is(err, ErrSamples) {
			t.Fatal(err)
		}
	})
}

// The bench row: a million samples kept and read back.
func BenchmarkMillionSamples(b *testing.B) {
	const million = 1_000_000
	for b.Loop() {
		path := filepath.Join(b.TempDir(), SamplesFile)
		keep(b, path, million)
		if got, err := readAll(b, path); got != million || err != nil {
			b.Fatal(got, err)
		}
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/million, "B/sample")
	}
}

func BenchmarkAppendFaultEvent(b *testing.B) {
	run := newRun(b, testHome(b))
	l := lock(b, run)
	defer l.Unlock()
	w, err := l.Writer(noon)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	if err := w.Reserve(1 << 20); err != nil {
		b.Fatal(err)
	}
	e := aimed("1.1")
	for b.Loop() {
		if _, err := w.Append(e); err != nil {
			b.Fatal(err)
		}
	}
}
