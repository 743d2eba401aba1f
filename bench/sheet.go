package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"netwatch/lab"
)

// A sheet is a table on the standard output.
type sheet struct{ out *tabwriter.Writer }

// newSheet begins a table with the names of its columns.
func newSheet(columns ...any) sheet {
	s := sheet{tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)}
	s.row(columns...)
	return s
}

// row adds a row; a time is in milliseconds.
func (s sheet) row(cells ...any) {
	texts := make([]string, len(cells))
	for i, c := range cells {
		if d, ok := c.(time.Duration); ok {
			c = fmt.Sprintf("%.1f", ms(d))
		}
		texts[i] = fmt.Sprint(c)
	}
	fmt.Fprintln(s.out, strings.Join(texts, "\t"))
}

// end prints the table.
func (s sheet) end() error { return s.out.Flush() }

func ms(d time.Duration) float64 { return d.Seconds() * 1000 }

// ratio is a/b for a person to read.
func ratio[T ~int64 | ~float64](a, b T) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.3g", float64(a)/float64(b))
}

// quantile is the time that this part of all times, from 0 to 1, does not exceed.
func quantile(t lab.Times, q float64) time.Duration {
	if len(t) == 0 {
		return 0
	}
	return slices.Sorted(slices.Values(t))[int(q*float64(len(t)-1)+0.5)]
}

// mean is the mean of times.
func mean(t lab.Times) (sum time.Duration) {
	for _, d := range t {
		sum += d
	}
	return sum / time.Duration(max(1, len(t)))
}
