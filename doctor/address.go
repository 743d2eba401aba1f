package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"netwatch"
	"netwatch/actions"
	"netwatch/servers"
)

// checkAddress looks whether this machine has the public address itself, and
// whether a NAT between is one's own.
func checkAddress(ctx context.Context, s *scene) (found []Finding) {
	known := s.known()
	for _, family := range netwatch.Families {
		public, ok := known[family]
		if !ok {
			continue
		}
		what := "address, " + string(family)
		if netwatch.IsOwn(public) {
			found = append(found, Finding{OK, what, fmt.Sprintf("this machine has %s itself", public), ""})
			continue
		}
		var on []netip.Addr
		if family == netwatch.IPv4 {
			on = hops(ctx, s.server(family))
		}
		found = append(found, judgeNAT(what, public, netwatch.OwnAddress(family, public), on, known[netwatch.IPv6]))
	}
	found = append(found, s.damped()...)
	if len(known) == 0 && s.onlyTells() {
		return found
	}
	if len(known) == 0 {
		return []Finding{{Unknown, "address", "not known", ""}}
	}
	return found
}

// damped are the addresses that the daemon holds while another comes and goes.
func (s *scene) damped() (found []Finding) {
	d, err := s.daemon()
	if err != nil {
		return nil // Which is a finding of its own
	}
	for _, a := range d.Damped {
		found = append(found, Finding{
			Warning, "address, " + string(a.Family), fmt.Sprintf("%s is held while %s comes and goes, until %s at the earliest",
				a.Held, a.Seen, a.Until.Local().Format(time.TimeOnly)),
			"where two lines take turns, have the router send this machine's packets over one of them; " +
				"netwatch fire ip-changed takes what the servers say now",
		})
	}
	return found
}

// server is a server that answered for a family.
func (s *scene) server(family netwatch.Family) netip.AddrPort {
	for _, t := range s.told() {
		for _, a := range t.Answers {
			if a.Err == nil && a.Family == family {
				return a.Asked
			}
		}
	}
	return netip.AddrPort{}
}

// continuity is what machines have beside IPv6 alone where their IPv4 is translated or goes
// through a tunnel (RFC 7335): 464XLAT and DS-Lite.
var continuity = netip.MustParsePrefix("192.0.0.0/29")

// judgeNAT says what it means that there is a NAT. own is this machine's address, and
// on are the first routers on the way to the internet, invalid where one keeps silent. six
// is the public IPv6 address, if there is one.
func judgeNAT(what string, public, own netip.Addr, on []netip.Addr, six netip.Addr) Finding {
	way := append([]netip.Addr{own}, on...)
	if i := slices.IndexFunc(way, continuity.Contains); i >= 0 {
		hint := "ask the provider for a public IPv4 address, or for IPv6"
		if six.IsValid() {
			hint = fmt.Sprintf("have calls come in by IPv6: an AAAA record of coturn's name with %s, and what lets that in", six)
		}
		return Finding{
			Warning, what, fmt.Sprintf("no call can come in by %s, which many share: %s on the way is of DS-Lite or 464XLAT",
				public, way[i]), hint,
		}
	}
	if i := slices.IndexFunc(way, netwatch.CGNAT.Contains); i >= 0 {
		return Finding{
			Warning, what, fmt.Sprintf("%s is behind a NAT of the provider: %s is on the way", public, way[i]),
			"callers reach coturn only if the provider gives this line a public address of its own, or over a VPN that has one",
		}
	}
	return Finding{
		OK, what, fmt.Sprintf("%s is a router's, and this machine has %s: the router must forward the ports of coturn to it",
			public, own), "",
	}
}

// checkExternal looks whether the files that rules rewrite say the public address:
// whether rotate would find nothing to change.
func checkExternal(ctx context.Context, s *scene) (found []Finding) {
	known := s.known()
	for _, target := range s.cfg.Needs().Rewrites {
		file := target.File
		text, err := s.Tree.Read(file)
		switch {
		case err != nil:
			err = netwatch.WithHint(fmt.Errorf("reading it: %w", netwatch.WithoutPath(err)),
				"name the file that "+target.Server+" is started with in the rule, or restore it")
			found = append(found, wrong(Problem, file, err))
		case len(known) == 0:
			found = append(found, Finding{Unknown, file, "the public address is not known", ""})
		default:
			found = append(found, judgeExternal(s.rotation(ctx, target), text))
		}
	}
	return found
}

// rotation is what the rule of a file would do.
func (s *scene) rotation(ctx context.Context, target servers.Target) servers.Rotation {
	r := target.To(s.confirmed(), netwatch.OwnAddresses())
	for _, rule := range s.cfg.Rules {
		same := func(t servers.Target) bool { return t.Server == target.Server && t.File == target.File }
		if slices.ContainsFunc(actions.NeedsOf(rule.Do...).Rewrites, same) {
			r.Elsewhere = actions.Elsewhere(ctx, nil, r, rule.Do)
		}
	}
	return r
}

func judgeExternal(r servers.Rotation, text []byte) Finding {
	file := r.File
	server, err := servers.Named(r.Server)
	if err != nil {
		return wrong(Problem, file, err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		text = nil // A server has words of its own for an empty file
	}
	want, word, err := server.Rewrite(text, r.Wanted())
	is := addresses(server.Advertised(text, r.Options))
	switch {
	case err != nil:
		return wrong(Problem, file, err)
	case !bytes.Equal(want, text):
		return Finding{
			Problem, file, fmt.Sprintf("%s is %s, and the public address %s", r.Key(), is, listed(r.Public)),
			"netwatch fire ip-changed",
		}
	case word != "":
		is = fmt.Sprintf("%s is %s; %s", r.Key(), is, word)
		return Finding{Warning, file, is, "see what may follow rotate in netwatch.toml(5)"}
	}
	return judgeUnheeded(server, r, text, Finding{OK, file, r.Key() + " is " + is, ""})
}

// listed are the addresses alone, for a person.
func listed(public netwatch.Addresses) string {
	var all []netip.Addr
	for _, a := range public {
		all = append(all, a.Address)
	}
	return addresses(all)
}

// addresses is a list for a person.
func addresses(all []netip.Addr) string {
	if len(all) == 0 {
		return "missing"
	}
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// checkDomains looks whether the names that callers reach coturn by lead to the
// public address.
func checkDomains(ctx context.Context, s *scene) (found []Finding) {
	ctx, cancel := context.WithTimeout(ctx, addressTime)
	defer cancel()
	turns := s.turns()
	all := make([][]Finding, len(turns))
	var wg sync.WaitGroup
	for i, t := range turns {
		wg.Go(func() { all[i] = s.lookUp(ctx, t) })
	}
	wg.Wait()
	for _, f := range slices.Concat(all...) {
		if !slices.Contains(found, f) {
			found = append(found, f)
		}
	}
	return found
}

// lookUp looks where the names of a coturn lead to.
func (s *scene) lookUp(ctx context.Context, t coturn) (found []Finding) {
	for _, domain := range t.Domains {
		all, err := net.DefaultResolver.LookupNetIP(ctx, "ip", domain)
		if missing := new(net.DNSError); errors.As(err, &missing) && missing.IsNotFound && len(t.Domains) > 1 {
			continue // A realm need not be a host
		}
		found = append(found, judgeDomain(domain, all, err, s.known()))
	}
	return found
}

// judgeDomain compares what a name leads to with the public addresses. On the
// machine itself it may lead to a private address, as YunoHost has it: that says
// nothing about what others see.
func judgeDomain(domain string, all []netip.Addr, err error, known map[netwatch.Family]netip.Addr) Finding {
	if err != nil {
		return Finding{Unknown, domain, err.Error(), ""}
	}
	var public, differ []netip.Addr
	for _, a := range all {
		a = a.Unmap()
		if netwatch.CheckPublic(a, nil) != nil || !known[netwatch.FamilyOf(a)].IsValid() {
			continue
		}
		public = append(public, a)
		if a != known[netwatch.FamilyOf(a)] {
			differ = append(differ, a)
		}
	}
	switch {
	case len(public) == 0:
		return Finding{Unknown, domain, "as seen from here it has no public address", ""}
	case len(differ) > 0:
		return Finding{
			Problem, domain, fmt.Sprintf("leads to %s, and the public address is %s",
				addresses(differ), addresses(slices.Collect(maps.Values(known)))),
			"have the A or AAAA record say it, as with a client of dynamic DNS",
		}
	}
	return Finding{OK, domain, "leads to " + addresses(public), ""}
}

// checkRelays asks each server that rules rewrite the file of for relayed addresses,
// as callers do: that it runs, and its file is right, proves nothing (measured).
func checkRelays(ctx context.Context, s *scene) []Finding {
	var targets []servers.Target
	for _, r := range s.cfg.Needs().Rewrites {
		if server, err := servers.Named(r.Server); err == nil && server.Offer != nil {
			targets = append(targets, r)
		}
	}
	found := make([]Finding, len(targets))
	var wg sync.WaitGroup
	for i, r := range targets {
		wg.Go(func() { found[i] = s.askRelays(ctx, r, s.unitOf(r.File), s.confirmed()) })
	}
	wg.Wait()
	return found
}

// askRelays asks the server of a file, which a unit runs if one was found. Of one that is
// being started or stopped, what answers now may soon be another.
func (s *scene) askRelays(ctx context.Context, t servers.Target, unit string, known netwatch.Addresses) Finding {
	what := "relays by " + t.File
	if len(known) == 0 {
		return Finding{Unknown, what, "the public address is not known", ""}
	}
	if f, rests := s.rests(ctx, what, unit); rests {
		return f
	}
	return judgeRelays(what, actions.VerifyTurn(ctx, t.Server, t.File, known, unit))
}

// rests says that a unit, if one is known, does not run as it will, so that nobody is to be
// asked.
func (s *scene) rests(ctx context.Context, what, unit string) (f Finding, rests bool) {
	if unit == "" {
		return f, false
	}
	switch look, err := s.lookUnit(ctx, unit); {
	case err == nil && look.Moving:
		f = Finding{Unknown, what, unit + " is " + look.State, "run netwatch doctor again when it has started or stopped"}
		return f, true
	case err != nil || !look.Running:
		return Finding{Unknown, what, unit + " does not run", ""}, true
	}
	return f, false
}

// judgeRelays says what a proof means.
func judgeRelays(what string, result netwatch.Result) Finding {
	switch {
	case errors.Is(result.Err, actions.ErrNoCredentials), errors.Is(result.Err, servers.ErrNoKeys):
		return wrong(Unknown, what, result.Err)
	case result.Err != nil:
		return wrong(Problem, what, result.Err)
	case result.Outcome == netwatch.Skipped:
		return Finding{Unknown, what, result.Detail, ""}
	}
	return Finding{OK, what, "callers get " + result.Detail, ""}
}

// unitOf is the unit that runs a server with a file, empty if none was found.
func (s *scene) unitOf(file string) string {
	for _, t := range s.found.Turns {
		if s.sameFile(t.File, file) {
			return t.Unit
		}
	}
	for _, o := range s.found.Servers {
		if s.sameFile(o.File, file) {
			return o.Unit
		}
	}
	return ""
}
