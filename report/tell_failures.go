package report

func (t teller) failures() section {
	s := section{Title: t.t("Failures and what helps")}
	if len(t.Failures) == 0 {
		s.Says = []string{t.t("Nothing failed.")}
		return s
	}
	for _, f := range t.Failures[:min(len(t.Failures), mostItems)] {
		s.Items = append(s.Items, t.failure(f))
	}
	if left := len(t.Failures) - mostItems; left > 0 {
		s.More = t.n(left, "%s kind more, which was earlier.", "%s kinds more, which were earlier.")
	}
	return s
}

func (t teller) failure(f Failure) item {
	name := t.t("netwatch itself")
	switch {
	case f.Rule != "" && f.Step != "":
		name = f.Rule + ": " + f.Step
	case f.Rule != "":
		name = f.Rule
	case f.Source != "":
		name = f.Source
	}
	when := t.t("Once, on %s.", minute(f.Last.In(t.Until.Location())))
	if f.Times > 1 {
		when = t.t("%s times, from %s to %s.", t.number(f.Times), minute(f.First.In(t.Until.Location())),
			minute(f.Last.In(t.Until.Location())))
	}
	switch {
	case f.Rule != "" && f.Succeeded:
		when += " " + t.t("The rule has succeeded since.")
	case f.Rule != "":
		when += " " + t.t("The rule has not succeeded since.")
	}
	return item{Name: name, Lines: []string{f.Error, when}, Hint: f.Hint}
}
