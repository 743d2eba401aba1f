package report

import (
	"strings"
	"time"

	"netwatch"
)

// summary is what one wants to know first.
func (t teller) summary() section {
	s := section{Title: t.t("In short")}
	if t.empty() {
		s.Says = []string{
			t.t("Nothing is in the history of this time: netwatch has just come, or nothing has happened since."),
			t.t("That is no bad sign in itself. What netwatch knows now, `netwatch status` says."),
		}
		return s
	}
	if t.From.Sub(t.Since) > time.Hour {
		s.Says = []string{t.t("The history begins on %s.", minute(t.From))}
	}
	if !t.RestFrom.IsZero() {
		s.Says = append(s.Says, t.t("What is not about the address is known only from %s on.", minute(t.RestFrom)))
	}
	for _, family := range netwatch.Families {
		for _, a := range t.Addresses {
			if a.Family == family && a.Until.IsZero() {
				s.Facts = append(s.Facts, fact{familyName(family), t.t("%s since %s", a.Address, minute(a.From))})
			}
		}
	}
	s.Facts = append(s.Facts,
		fact{t.t("Changes"), t.changesText()},
		fact{t.t("Habit"), t.habitText()},
		fact{t.t("Callers wrong"), t.wrongText()},
		fact{t.t("Outages"), t.outagesText()},
		fact{t.t("Failures"), t.failuresText()},
		fact{t.t("Proofs"), t.proofsText()},
	)
	return s
}

func familyNames(all []netwatch.Family) string {
	names := make([]string, len(all))
	for i, family := range all {
		names[i] = familyName(family)
	}
	return strings.Join(names, ", ")
}

// familyName is a family as people write it.
func familyName(f netwatch.Family) string {
	switch f {
	case netwatch.IPv4:
		return "IPv4"
	case netwatch.IPv6:
		return "IPv6"
	}
	return string(f)
}

func (t teller) changesText() string {
	four, six := t.Changes.ByFamily[netwatch.IPv4], t.Changes.ByFamily[netwatch.IPv6]
	switch {
	case len(t.Addresses) == 0:
		return t.t("no address is known")
	case four+six == 0:
		return t.t("none: the address stayed")
	case six == 0:
		return t.n(four, "%s of the IPv4 address", "%s of the IPv4 address")
	case four == 0:
		return t.n(six, "%s of the IPv6 address", "%s of the IPv6 address")
	}
	return t.t("%s of the IPv4 and %s of the IPv6 address", t.number(four), t.number(six))
}

func (t teller) wrongText() string {
	if t.Wrong.Times == 0 {
		return t.t("never, as far as is known")
	}
	return t.t("half of the times at most %s, 19 of 20 times at most %s",
		t.duration(t.Wrong.Most.Median), t.duration(t.Wrong.Most.Most95))
}

func (t teller) outagesText() string {
	if len(t.Outages) == 0 {
		return t.t("none")
	}
	total := 0.0
	for _, o := range t.Outages {
		total += o.Seconds
	}
	return t.n(len(t.Outages), "%s, of %s", "%s, in all %s", t.duration(total))
}

func (t teller) failuresText() string {
	times := 0
	for _, f := range t.Failures {
		times += f.Times
	}
	if times == 0 {
		return t.t("nothing")
	}
	return t.n(len(t.Failures), "%s kind, %s in all", "%s kinds, %s in all", t.n(times, "%s time", "%s times"))
}

func (t teller) proofsText() string {
	var well, failed, unknown int
	for _, p := range t.Proofs {
		well, failed, unknown = well+p.Well, failed+p.Failed, unknown+p.Unknown
	}
	return t.counts(well, failed, unknown)
}

// counts says how proofs ended.
func (t teller) counts(well, failed, unknown int) string {
	if well+failed+unknown == 0 {
		return t.t("none was made")
	}
	text := t.t("%s well, %s failed", t.number(well), t.number(failed))
	if unknown > 0 {
		text += t.t(", %s with nothing to go by", t.number(unknown))
	}
	return text
}
