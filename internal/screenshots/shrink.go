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

// shrink cuts off what is empty below and what is wider than `width`, keeps at
// most `keep` rows, and writes the picture with at most 256 colours: pages have few.
func shrink(from, to string, width, keep int) error {
	text, err := os.ReadFile(from)
	if err != nil {
		return fmt.Errorf("read the picture: %w", err)
	}
	picture, err := png.Decode(bytes.NewReader(text))
	if err != nil {
		return fmt.Errorf("read the picture %s: %w", from, err)
	}
	bounds := used(picture, width)
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

// used is the picture without what is empty below, at most `width` wide.
func used(p image.Image, width int) image.Rectangle {
	b := p.Bounds()
	b.Max.X = min(b.Max.X, b.Min.X+width)
	empty := p.At(b.Min.X, b.Max.Y-1)
	for y := b.Max.Y - 1; y > b.Min.Y; y-- {
		for x := b.Min.X; x < b.Max.X; x++ {
			if p.At(x, y) != empty {
				b.Max.Y = min(y+12, b.Max.Y)
				return b
			}
		}
	}
	return b
}

// fewColours keeps the most frequent colours that differ from each other; the others become the nearest of these.
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
	for _, c := range colours {
		if len(palette) < 256 && !has(palette, c) {
			palette = append(palette, c)
		}
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

// has says that the palette holds a colour that looks the same.
func has(palette color.Palette, c color.RGBA) bool {
	if len(palette) == 0 {
		return false
	}
	near := color.RGBAModel.Convert(palette[palette.Index(c)]).(color.RGBA)
	return max(apart(near.R, c.R), apart(near.G, c.G), apart(near.B, c.B)) < 8
}

func apart(a, b uint8) int { return int(max(a, b)) - int(min(a, b)) }
