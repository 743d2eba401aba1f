package report

import (
	"slices"

	"netwatch"
)

// Wrong is for how long callers were told an address that was no longer ours, each time
// that a run made it right.
type Wrong struct {
	Times int `json:"times"`
	// Least and Most are the two bounds between which each time was.
	Least Spread `json:"least"`
	Most  Spread `json:"most"`
	// Bins count how many of each bound were less than so many seconds.
	Bins []Bin `json:"bins"`
}

// A Spread is how some times were, in seconds: half of them not longer than the Median,
// and nineteen of twenty not than Most95.
type Spread struct {
	Median  float64 `json:"median"`
	Most95  float64 `json:"p95"`
	Longest float64 `json:"longest"`
	Sum     float64 `json:"sum"`
}

// A Bin counts times from where the bin before it ends to so many seconds, which are 0
// in the last.
type Bin struct {
	Below float64 `json:"below,omitempty"`
	Least int     `json:"least"`
	Most  int     `json:"most"`
}

// wrongBins are where bins end, in seconds.
var wrongBins = []float64{1, 5, 15, 60, 300, 1800}

// wrong gathers the bounds.
type wrong struct{ least, most []float64 }

func (w *wrong) add(e netwatch.Entry) {
	if e.Kind == netwatch.EntryRun && e.Wrong != nil {
		w.least = append(w.least, max(0, e.Wrong.Least))
		w.most = append(w.most, max(0, e.Wrong.Most))
	}
}

func (w *wrong) all() Wrong {
	all := Wrong{Times: len(w.most), Least: spreadOf(w.least), Most: spreadOf(w.most)}
	for _, below := range append(slices.Clone(wrongBins), 0) {
		all.Bins = append(all.Bins, Bin{Below: below})
	}
	for i := range w.most {
		all.Bins[binOf(w.least[i])].Least++
		all.Bins[binOf(w.most[i])].Most++
	}
	return all
}

// binOf is the index of the bin of a time.
func binOf(seconds float64) int {
	for i, below := range wrongBins {
		if seconds < below {
			return i
		}
	}
	return len(wrongBins)
}

func spreadOf(times []float64) (s Spread) {
	if len(times) == 0 {
		return s
	}
	sorted := slices.Sorted(slices.Values(times))
	for _, one := range sorted {
		s.Sum += one
	}
	at := func(share float64) float64 { return sorted[int(share*float64(len(sorted)-1)+0.5)] }
	s.Median, s.Most95, s.Longest = at(0.5), at(0.95), at(1)
	return s
}
