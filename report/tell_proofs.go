package report

func (t teller) proofs() section {
	s := section{Title: t.t("Proofs")}
	if len(t.Proofs) == 0 {
		s.Says = []string{t.t("No rule has proven anything: a step `verify` asks as a caller does.")}
		return s
	}
	for _, p := range t.Proofs[:min(len(t.Proofs), mostItems)] {
		s.Items = append(s.Items, t.proof(p))
	}
	s.More = t.left(len(t.Proofs) - mostItems)
	return s
}

func (t teller) proof(p Proof) item {
	when := t.t("The last on %s.", minute(p.Last.In(t.Until.Location())))
	if !p.LastFailed.IsZero() {
		when += " " + t.t("The last that failed on %s.", minute(p.LastFailed.In(t.Until.Location())))
	}
	lines := []string{t.counts(p.Well, p.Failed, p.Unknown) + ".", when}
	if p.Said != "" {
		lines = append(lines, p.Said)
	}
	return item{Name: p.Step, Lines: lines}
}

func (t teller) peers() section {
	s := section{Title: t.t("The other machines")}
	for _, p := range t.Peers[:min(len(t.Peers), mostItems)] {
		s.Items = append(s.Items, t.peer(p))
	}
	s.More = t.left(len(t.Peers) - mostItems)
	return s
}

// peer says what was heard of a machine. Whether it is there now, history does not know.
func (t teller) peer(p Peer) item {
	text := t.n(p.Changes, "%s change of its address", "%s changes of its address")
	if p.Told > 0 {
		text += t.n(p.Told, "; %s other thing that it told", "; %s other things that it told")
	}
	if p.Lost > 0 {
		text += t.n(p.Lost, "; gone %s time, for %s in all", "; gone %s times, for %s in all", t.duration(p.Away))
	}
	last := t.t("Last heard of on %s.", minute(p.Last.In(t.Until.Location())))
	if p.Gone {
		last = t.t("It is gone.") + " " + last
	}
	return item{Name: p.Name, Lines: []string{text + ".", last}}
}

// left says how many are left out, if any.
func (t teller) left(n int) string {
	if n <= 0 {
		return ""
	}
	return t.n(n, "%s more is left out: `netwatch report --json` has all.",
		"%s more are left out: `netwatch report --json` has all.")
}
