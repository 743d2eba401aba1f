package report

import (
	"cmp"
	"slices"
	"time"

	"netwatch"
)

// A Failure is what failed, in the same way, one or several times.
type Failure struct {
	// Rule and Step failed. Both are empty if it was no run, and Source is then what could
	// not do its work.
	Rule   string `json:"rule,omitempty"`
	Step   string `json:"step,omitempty"`
	Source string `json:"source,omitempty"`
	// Error is what the last one said, and Hint its remedy.
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Times int    `json:"times"`
	// First and Last are when it was.
	First time.Time `json:"first"`
	Last  time.Time `json:"last"`
	// Succeeded says that the rule has succeeded since.
	Succeeded bool `json:"succeeded"`
}

// failures gathers failures by what makes two the same.
type failures struct {
	by        map[Failure]*Failure
	succeeded map[string]time.Time // when a rule last did
}

func (f *failures) add(e netwatch.Entry) {
	if f.by == nil {
		f.by, f.succeeded = map[Failure]*Failure{}, map[string]time.Time{}
	}
	well := e.Outcome == netwatch.Changed || e.Outcome == netwatch.Unchanged
	switch e.Kind {
	case netwatch.EntryRun:
		if well {
			f.succeeded[e.Rule] = e.Time
		}
		if e.Outcome == netwatch.Failed && e.Step == "" { // Otherwise the step has said it
			f.count(e)
		}
	case netwatch.EntryStep:
		if e.Outcome == netwatch.Failed {
			f.count(e)
		}
	case netwatch.EntryNote:
		if e.Error != "" {
			f.count(e)
		}
	}
}

// count counts a failure. Two are the same if their texts are, but for numbers.
func (f *failures) count(e netwatch.Entry) {
	key := Failure{Rule: e.Rule, Step: e.Step, Source: e.Source, Error: withoutNumbers(e.Error)}
	if e.Rule != "" {
		key.Source = ""
	}
	one := f.by[key]
	if one == nil {
		one = &Failure{Rule: key.Rule, Step: key.Step, Source: key.Source, First: e.Time}
		f.by[key] = one
	}
	one.Error, one.Hint, one.Last = e.Error, e.Hint, e.Time
	one.Times++
}

// all are the failures, the last first.
func (f *failures) all() []Failure {
	all := []Failure{}
	for _, one := range f.by {
		done := *one
		done.Succeeded = one.Rule != "" && f.succeeded[one.Rule].After(one.Last)
		done.Rule, done.Step, done.Source = clean(done.Rule), clean(done.Step), clean(done.Source)
		done.Error, done.Hint = clean(done.Error), clean(done.Hint)
		all = append(all, done)
	}
	slices.SortFunc(all, func(a, b Failure) int {
		return cmp.Or(b.Last.Compare(a.Last), cmp.Compare(a.Rule+a.Step+a.Error, b.Rule+b.Step+b.Error))
	})
	return all
}

// withoutNumbers is a text with 0 for each number, as a port or a time.
func withoutNumbers(text string) string {
	out := make([]byte, 0, min(len(text), mostText))
	for i := range min(len(text), mostText) {
		c := text[i]
		switch digit := c >= '0' && c <= '9'; {
		case !digit:
			out = append(out, c)
		case len(out) == 0 || out[len(out)-1] != '0':
			out = append(out, '0')
		}
	}
	return string(out)
}
