package control

import (
	"maps"
	"slices"
	"strconv"

	"netwatch"
)

// bounds are the upper bounds of the buckets of a histogram, in seconds.
var bounds = [...]float64{0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30, 60, 120, 300, 900, 3600, 14400, 86400}

// A histogram counts values by how large they are.
type histogram struct {
	buckets [len(bounds)]uint64 // each without the smaller ones
	duration
}

func (h *histogram) add(seconds float64) {
	h.count, h.seconds = h.count+1, h.seconds+seconds
	if i := slices.IndexFunc(bounds[:], func(b float64) bool { return seconds <= b }); i >= 0 {
		h.buckets[i]++
	}
}

// A wronged is for how long callers were wrong: at least, and at most.
type wronged struct{ least, most histogram }

// wronged counts a run of a rule that made right what callers are told. m.mu is held.
func (m *Metrics) wronged(rule string, w *netwatch.Wrong) {
	if w == nil {
		return
	}
	if m.wrong[rule] == nil {
		m.wrong[rule] = &wronged{}
	}
	m.wrong[rule].least.add(w.Least)
	m.wrong[rule].most.add(w.Most)
}

// histograms writes for how long callers were wrong. m.mu is held.
func (m *Metrics) histograms(x *exposition) {
	rules := slices.Sorted(maps.Keys(m.wrong))
	x.family("wrong_least_seconds", "histogram", "For how long callers were told an address no longer ours, at least.")
	for _, rule := range rules {
		x.histogram("wrong_least_seconds", &m.wrong[rule].least, rule)
	}
	x.family("wrong_most_seconds", "histogram", "For how long callers were told an address no longer ours, at most.")
	for _, rule := range rules {
		x.histogram("wrong_most_seconds", &m.wrong[rule].most, rule)
	}
}

// histogram writes the histogram of a rule.
func (x *exposition) histogram(name string, h *histogram, rule string) {
	sum := uint64(0)
	for i, bound := range bounds {
		sum += h.buckets[i]
		x.sample(name+"_bucket", float64(sum), "rule", rule, "le", strconv.FormatFloat(bound, 'f', -1, 64))
	}
	x.sample(name+"_bucket", float64(h.count), "rule", rule, "le", "+Inf")
	x.sample(name+"_sum", h.seconds, "rule", rule)
	x.sample(name+"_count", float64(h.count), "rule", rule)
}
