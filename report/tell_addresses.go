package report

import (
	"netwatch"
)

// addresses is what addresses there were.
func (t teller) addresses() section {
	s := section{Title: t.t("Addresses")}
	if len(t.Addresses) == 0 {
		s.Says = []string{t.t("None is known.")}
		return s
	}
	s.Strips = t.timeLines()
	s.Table = &table{Columns: []column{
		{Name: t.t("Address"), Narrow: true},
		{Name: t.t("From"), Narrow: true},
		{Name: t.t("Until")},
		{Name: t.t("How long"), Narrow: true, Number: true},
		{Name: t.t("Noticed by")},
	}}
	for i := range min(len(t.Addresses), t.rows) {
		a := t.Addresses[len(t.Addresses)-1-i]
		until := t.t("now")
		if !a.Until.IsZero() {
			until = minute(a.Until)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			a.Address.String(), minute(a.From), until, t.duration(a.Seconds), t.noticed(a.Noticed, a.After),
		})
	}
	if left := len(t.Addresses) - t.rows; left > 0 {
		s.More = t.n(left, "%s more, which is older: `netwatch history --addresses` has all.",
			"%s more, which are older: `netwatch history --addresses` has all.")
	}
	return s
}

// noticed says by what a change was noticed.
func (t teller) noticed(by, after string) string {
	text := clean(by)
	switch by {
	case netwatch.BySTUN:
		text = "STUN"
	case netwatch.ByRouter:
		text = t.t("the router")
	case netwatch.ByKernel:
		text = t.t("this machine’s network")
	case netwatch.ByFile:
		text = t.t("a file")
	case netwatch.ByPeer:
		text = t.t("another machine")
	case netwatch.ByFire:
		text = t.t("somebody’s command")
	}
	switch after {
	case netwatch.AfterOutage:
		text += t.t(", after an outage")
	case netwatch.AfterStop:
		text += t.t(", after netwatch had stopped")
	}
	return text
}

func (t teller) outages() section {
	s := section{Title: t.t("Outages")}
	if len(t.Addresses)+len(t.Outages) == 0 {
		s.Says = []string{t.t("None is known.")}
		return s
	}
	if len(t.Outages) == 0 {
		s.Says = []string{t.t("None: some server always said which address is ours.")}
		return s
	}
	s.Says = []string{t.t("No server said which address is ours: the line was down, or no server could be reached.")}
	s.Table = &table{Columns: []column{
		{Name: t.t("Family"), Narrow: true},
		{Name: t.t("From"), Narrow: true},
		{Name: t.t("Until"), Narrow: true},
		{Name: t.t("How long"), Narrow: true, Number: true},
	}}
	for i := range min(len(t.Outages), t.rows) {
		o := t.Outages[len(t.Outages)-1-i]
		until := t.t("now")
		if !o.Until.IsZero() {
			until = minute(o.Until)
		}
		s.Table.Rows = append(s.Table.Rows, []string{
			familyNames(o.Families), minute(o.From), until, t.duration(o.Seconds),
		})
	}
	if left := len(t.Outages) - t.rows; left > 0 {
		s.More = t.n(left, "%s more, which is older.", "%s more, which are older.")
	}
	return s
}
