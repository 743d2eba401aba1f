package report

import (
	"fmt"
)

// wrong is how long callers were told what was no longer so.
func (t teller) wrong() section {
	s := section{Title: t.t("How long callers were told a wrong address")}
	if t.Wrong.Times == 0 {
		s.Says = []string{t.t("No service had to be made right in this time.")}
		return s
	}
	s.Says = []string{
		t.n(t.Wrong.Times, "%s time a service was made right.", "%s times a service was made right.") + " " +
			t.t("How long it was wrong is known between two bounds: at least from when the new address was believed "+
				"until it began to be made right, at most from when a server last said the old one until that was done."),
	}
	s.Bars = []bars{t.wrongBars()}
	s.Table = &table{Columns: []column{
		{Name: t.t("Callers wrong"), Narrow: true},
		{Name: t.t("at least"), Narrow: true, Number: true},
		{Name: t.t("at most"), Narrow: true, Number: true},
	}}
	for _, row := range []struct {
		name        string
		least, most float64
	}{
		{t.t("half of the times, up to"), t.Wrong.Least.Median, t.Wrong.Most.Median},
		{t.t("19 of 20 times, up to"), t.Wrong.Least.Most95, t.Wrong.Most.Most95},
		{t.t("the longest"), t.Wrong.Least.Longest, t.Wrong.Most.Longest},
		{t.t("all together"), t.Wrong.Least.Sum, t.Wrong.Most.Sum},
	} {
		s.Table.Rows = append(s.Table.Rows, []string{row.name, t.duration(row.least), t.duration(row.most)})
	}
	return s
}

// wrongBars is the distribution.
func (t teller) wrongBars() bars {
	b := bars{
		Title: t.t("How often callers were wrong for how long"), X: t.t("how long"), Y: t.t("times"),
		Series: []string{t.t("at least"), t.t("at most")},
	}
	for i, bin := range t.Wrong.Bins {
		from := 0.0
		if i > 0 {
			from = t.Wrong.Bins[i-1].Below
		}
		label, unit := t.binLabel(from, bin.Below)
		b.Bars = append(b.Bars, bar{Label: label, Unit: unit, Values: []int{bin.Least, bin.Most}})
	}
	return b
}

// binLabel names a bin, with its unit apart.
func (t teller) binLabel(from, below float64) (label, unit string) {
	unit, per := t.t("s"), 1.0
	if from >= 60 {
		unit, per = t.t("min"), 60
	}
	switch {
	case from == 0:
		return fmt.Sprintf("< %g", below), unit
	case below == 0:
		return fmt.Sprintf("> %g", from/per), unit
	}
	return fmt.Sprintf("%g–%g", from/per, below/per), unit
}
