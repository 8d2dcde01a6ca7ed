package reports

import (
	"math"
	"time"

	"github.com/faultline-sh/faultline/experiments"
)

// Pixel is all samples of one probe that were due in one short span. It keeps
// counts and extremes, so that no bad sample vanishes in a picture.
type Pixel struct {
	Good, Bad, Unknown uint32
	Least, Most        uint32 // time to answer in microseconds, over good and bad samples
}

// Samples is how many samples the pixel stands for.
func (p Pixel) Samples() uint32 { return p.Good + p.Bad + p.Unknown }

// Worst is the outcome by which the pixel is painted: one bad sample outweighs all others.
func (p Pixel) Worst() experiments.Outcome {
	switch {
	case p.Bad > 0:
		return experiments.OutcomeBad
	case p.Unknown > 0:
		return experiments.OutcomeUnknown
	}
	return experiments.OutcomeGood
}

func (p Pixel) join(o Pixel) Pixel {
	joined := Pixel{Good: p.Good + o.Good, Bad: p.Bad + o.Bad, Unknown: p.Unknown + o.Unknown, Least: p.Least, Most: max(p.Most, o.Most)}
	if p.Good+p.Bad == 0 || o.Good+o.Bad > 0 && o.Least < p.Least {
		joined.Least = o.Least
	}
	return joined
}

// Pixels is one probe's samples over the run, at a bounded resolution.
type Pixels struct {
	From  time.Duration // since the run's start
	Width time.Duration // of one pixel
	Each  []Pixel
}

// mostPixels bounds the memory of one probe's picture.
const mostPixels = 960

func newPixels(from, to time.Duration) *Pixels {
	return &Pixels{From: from, Width: max((to-from)/mostPixels+1, time.Millisecond)}
}

func (p *Pixels) add(at time.Duration, s experiments.Sample) {
	place := int(max(at-p.From, 0) / p.Width)
	for place >= mostPixels {
		p.halve()
		place = int(max(at-p.From, 0) / p.Width)
	}
	for len(p.Each) <= place {
		p.Each = append(p.Each, Pixel{})
	}
	p.Each[place] = p.Each[place].join(pixelOf(s))
}

func pixelOf(s experiments.Sample) Pixel {
	took := uint32(min(max(s.Took.Microseconds(), 0), math.MaxUint32))
	switch s.Outcome {
	case experiments.OutcomeGood:
		return Pixel{Good: 1, Least: took, Most: took}
	case experiments.OutcomeBad:
		return Pixel{Bad: 1, Least: took, Most: took}
	}
	return Pixel{Unknown: 1}
}

// halve joins neighbours, so that the picture covers twice the time.
func (p *Pixels) halve() {
	p.Each, p.Width = joinEvery(p.Each, 2), p.Width*2
}

func joinEvery(pixels []Pixel, n int) []Pixel {
	var joined []Pixel
	for from := 0; from < len(pixels); from += n {
		var one Pixel
		for _, p := range pixels[from:min(from+n, len(pixels))] {
			one = one.join(p)
		}
		joined = append(joined, one)
	}
	return joined
}

// AtMost gives the same picture in at most n pixels; each keeps the worst of what it stands for.
func (p Pixels) AtMost(n int) Pixels {
	if len(p.Each) <= n || n < 1 {
		return p
	}
	every := (len(p.Each) + n - 1) / n
	return Pixels{From: p.From, Width: p.Width * time.Duration(every), Each: joinEvery(p.Each, every)}
}
