package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"slices"
)

// shrink cuts the empty rim off the right and the bottom, keeps at most `keep`
// rows, and writes the picture with at most 256 colours: pages have few.
func shrink(from, to string, keep int) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read the picture: %w", err)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("read the picture %s: %w", from, err)
	}
	bounds := used(picture)
	if keep > 0 && bounds.Dy() > keep {
		bounds.Max.Y = bounds.Min.Y + keep
	}
	var out bytes.Buffer
	encoder := png.Encoder{CompressionLevel: png.BestCompression}
	if err := encoder.Encode(&out, fewColours(picture, bounds)); err != nil {
		return fmt.Errorf("write the picture %s: %w", to, err)
	}
	if err := os.WriteFile(to, out.Bytes(), 0o644); err != nil {
		return fmt.Errorf("write the picture: %w", err)
	}
	fmt.Printf("%s: %d x %d, %d KiB\n", to, bounds.Dx(), bounds.Dy(), out.Len()>>10)
	return nil
}

// used is the part of the picture that is not only rim.
func used(p image.Image) image.Rectangle {
	b := p.Bounds()
	empty := p.At(b.Max.X-1, b.Max.Y-1)
	rim := 12
	most := image.Point{}
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			if p.At(x, y) != empty {
				most = image.Point{max(most.X, x), y}
			}
		}
	}
	return image.Rect(b.Min.X, b.Min.Y, min(most.X+rim, b.Max.X), min(most.Y+rim, b.Max.Y))
}

// fewColours keeps the 256 most frequent colours; the others become the nearest of these.
func fewColours(p image.Image, bounds image.Rectangle) *image.Paletted {
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(p.At(x, y)).(color.RGBA) }
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	colours := slices.SortedFunc(maps.Keys(counts), func(a, b color.RGBA) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(number(a), number(b)))
	})
	var palette color.Palette
	for _, c := range colours[:min(len(colours), 256)] {
		palette = append(palette, c)
	}
	out := image.NewPaletted(image.Rect(0, 0, bounds.Dx(), bounds.Dy()), palette)
	place := map[color.RGBA]uint8{}
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			c := at(bounds.Min.X+x, bounds.Min.Y+y)
			n, ok := place[c]
			if !ok {
				n = uint8(palette.Index(c))
				place[c] = n
			}
			out.SetColorIndex(x, y, n)
		}
	}
	return out
}

func number(c color.RGBA) uint32 {
	return uint32(c.R)<<24 | uint32(c.G)<<16 | uint32(c.B)<<8 | uint32(c.A)
}
