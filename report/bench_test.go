package report

import (
	"io"
	"testing"
)

// BenchmarkYear reads a year of 100,000 entries and writes both views of it.
func BenchmarkYear(b *testing.B) {
	dir := written(b, year())
	for b.Loop() {
		r := reckoned(b, dir, begin(), end())
		if err := Text(io.Discard, r, english); err != nil {
			b.Fatal(err)
		}
		if err := Page(io.Discard, r, english); err != nil {
			b.Fatal(err)
		}
	}
}
