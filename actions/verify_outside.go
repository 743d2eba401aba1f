package actions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
	"netwatch/turn"
)

// fromOutside is what a proof is done by that another machine is to do.
const fromOutside = "from="

// An outsideProof has another machine prove what callers from elsewhere get. It is the step
// `verify SERVER FILE from=SOURCE`. It finds no server dead, so that it restarts nothing.
type outsideProof struct {
	verification
	// livekit is the proof of LiveKit, whose files it reads; nil of another server.
	livekit *livekitProof
	// from is the source that knows the other machines; empty is any.
	from    string
	outside func(ctx context.Context, source string, p netwatch.Place) netwatch.Sighting
	// running are the units that may run the server.
	running func() []string
}

// cutFrom takes from=SOURCE out of the words behind a server's file.
func cutFrom(words []string) (rest []string, from string, err error) {
	for _, word := range words {
		name, is := strings.CutPrefix(word, fromOutside)
		switch {
		case !is:
			rest = append(rest, word)
		case name == "" || from != "":
			return nil, "", fmt.Errorf("%q is not understood: from= and the name of one source", word)
		default:
			from = name
		}
	}
	return rest, from, nil
}

// outwards makes of a proof that is done here the one that another machine does.
func outwards(env Env, here netwatch.Action, from string) (netwatch.Action, error) {
	o := &outsideProof{from: from, outside: env.Outside, running: env.Units}
	switch here := here.(type) {
	case *verification:
		o.verification = *here
	case *livekitProof:
		o.verification, o.livekit = here.verification, here
		o.local = netwatch.OwnAddress
	default:
		return nil, errors.New("a certificate cannot be looked at from outside: leave out " + fromOutside)
	}
	return o, nil
}

// Needs are its files, and the source.
func (o *outsideProof) Needs() Needs {
	n := o.verification.Needs()
	if o.livekit != nil {
		n = o.livekit.Needs()
	}
	n.Outside = []string{o.from}
	return n
}

// VerifyOutside has another machine prove what the server of a file gives callers, as the
// step `verify SERVER FILE from=SOURCE` does. Of LiveKit its keys are where a step among
// these says. It returns false where there is nothing to look at.
func VerifyOutside(
	ctx context.Context, env Env, t servers.Target, steps []netwatch.Step, known netwatch.Addresses,
) (r netwatch.Result, is bool) {
	server, err := servers.Named(t.Server)
	if err != nil || server.Offer == nil && server.Calls == nil {
		return r, false
	}
	file := netwatch.Path(t.File)
	here := verification{server: t.Server, file: file, local: netwatch.OwnAddress, reopen: env.Reopen, time: verifyTime}
	o := &outsideProof{verification: here, outside: env.Outside, running: env.Units}
	if server.Calls != nil {
		o.livekit = &livekitProof{verification: here, keys: keysIn(steps, file)}
	}
	r = o.Do(ctx, netwatch.Job{Confirmed: known})
	if errors.Is(r.Err, fs.ErrPermission) {
		r.Err = netwatch.WithHint(r.Err, fmt.Sprintf("have a step `verify %s %s` in a rule, and run netwatch grant: it "+
			"opens the file to netwatch", t.Server, t.File))
	}
	return r, !errors.Is(r.Err, servers.ErrNoRelays)
}

// Unasked is why a proof from outside failed before anybody was asked: it says nothing of
// what callers get.
type Unasked struct{ error }

// Unwrap is the error itself.
func (u Unasked) Unwrap() error { return u.error }

// offered is what there is to look at from outside.
type offered struct {
	ways []turn.Way
	span string
	who  func() (*servers.Credential, error)
}

// Do is unchanged when another machine gets what callers should, failed when it does not,
// and skipped when nobody could look.
func (o *outsideProof) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if len(job.Confirmed) == 0 {
		return netwatch.Failure(Unasked{errUnconfirmed})
	}
	p := &proof{server: o.server, file: o.file, known: job.Confirmed, mine: map[uint16]bool{}}
	has, err := o.read(ctx, p)
	switch {
	case err != nil:
		return netwatch.Failure(Unasked{fmt.Errorf("verifying %s from outside: %w", o.server, err)})
	case o.outside == nil:
		return netwatch.Failure(Unasked{errors.New("there is no source that knows other machines")})
	}
	job.WaitsFor("another machine, which looks from outside")
	for _, family := range o.wanted(p) {
		o.look(ctx, p, has, family)
	}
	if p.err != nil {
		return netwatch.Failure(fmt.Errorf("verifying %s from outside: %w", o.server, p.err))
	}
	return p.well()
}

// read reads what is offered, and who may ask for it.
func (o *outsideProof) read(ctx context.Context, p *proof) (has offered, err error) {
	if o.livekit != nil {
		has, err = o.readCalls(ctx, p)
	} else {
		has, err = o.readOffer(ctx, p)
	}
	if err == nil && len(has.ways) == 0 {
		err = netwatch.WithHint(fmt.Errorf("%s has it listen at no port from 1024 on, and others ask at no other", o.file),
			"have it listen at one too, or leave out "+fromOutside)
	}
	return has, err
}

// readOffer reads that of a server that lends relays.
func (o *outsideProof) readOffer(ctx context.Context, p *proof) (has offered, err error) {
	if err := o.await(ctx, p.read); err != nil {
		return has, err
	}
	server, _ := servers.Named(o.server) // It is in the table
	who := func() (*servers.Credential, error) { return server.ForAnother(p.offer, string(o.file), time.Now()) }
	_, err = who()
	return offered{turn.Ways(p.offer.Listeners), p.offer.Span, who}, err
}

// readCalls reads that of the TURN server in LiveKit.
func (o *outsideProof) readCalls(ctx context.Context, p *proof) (has offered, err error) {
	calls, err := o.livekit.read(ctx, p)
	if err != nil {
		return has, err
	}
	if len(calls.Relays) == 0 {
		return has, netwatch.WithHint(fmt.Errorf("%w: turn is not enabled in %s, and its candidates are not looked at from "+
			"outside", servers.ErrNoRelays, o.file), "leave out "+fromOutside)
	}
	p.offer = &servers.Offer{Advertised: calls.Advertised, Relays: calls.Advertised, Itself: calls.Itself}
	version := o.version(ctx)
	who := func() (*servers.Credential, error) { return calls.ForAnother(version, time.Now()) }
	_, err = who()
	return offered{turn.Ways(calls.Relays), calls.Span, who}, err
}

// version is that of the program of the unit that runs the server.
func (o *outsideProof) version(ctx context.Context) (v servers.Version) {
	if o.running == nil {
		return v
	}
	runs := func(st systemd.State) bool { return st.Starts(string(o.file)) }
	all := unitsNamed(ctx, nil, netwatch.Job{}, o.running()...)
	if i := slices.IndexFunc(all, runs); i >= 0 {
		v, _, _ = versionOf(ctx, all[i].Program) // Not known is not known
	}
	return v
}

// wanted are the families to look at: those that are asked for, or else the one that
// callers get who name none. Why one of them is not looked at is among the words.
func (o *outsideProof) wanted(p *proof) (all []netwatch.Family) {
	_, known4 := p.known[netwatch.IPv4]
	_, known6 := p.known[netwatch.IPv6]
	asks4, asks6 := o.families.IPv4, o.families.IPv6
	why := o.without4(p.offer, p.known)
	if !known4 && why == "" {
		why = "no public IPv4 address is known"
	}
	if o.families == (servers.Families{}) {
		asks4, asks6 = why == "" || !known6, why != "" && known6
	}
	switch {
	case !asks4:
	case why != "":
		p.words = append(p.words, "unknown: over IPv4: "+why)
	case p.offer.Unnamed(netwatch.IPv4) == netwatch.IPv6:
		p.words = append(p.words, "unknown: callers who name no family are lent IPv6, also over IPv4")
	default:
		all = append(all, netwatch.IPv4)
	}
	switch {
	case !asks6:
	case !known6:
		p.words = append(p.words, "unknown: no public IPv6 address is known")
	case o.times6(p.offer) == 0: // To ask would harm others
		p.words = append(p.words, "no ipv6 relay: "+p.say().NoIPv6)
	default:
		all = append(all, netwatch.IPv6)
	}
	return all
}

// look has the public address of a family looked at.
func (o *outsideProof) look(ctx context.Context, p *proof, has offered, family netwatch.Family) {
	who, err := has.who()
	if err != nil {
		p.err = err
		return
	}
	at := p.known[family]
	place := netwatch.Place{Address: at.Address, Name: who.Name, Password: who.Password}
	for _, w := range has.ways {
		place.Ways = append(place.Ways, netwatch.Way{Over: string(w.Over), Port: w.Port})
	}
	switch got := o.outside(ctx, o.from, place); {
	case got.Why != nil:
		word := "unknown: " + got.Why.Error()
		if hint := netwatch.Hint(got.Why); hint != "" {
			word += " (" + hint + ")"
		}
		p.words = append(p.words, word)
	default:
		v := view{proof: p, place: place, seen: got.Seen, span: has.span, own: at.Own}
		v.judge(got.By)
	}
}

// LookFromOutside does for another machine what it asks for. The error says why nothing can
// be looked at; nothing was sent then.
func LookFromOutside(ctx context.Context, p netwatch.Place) (seen netwatch.Seen, err error) {
	o := turn.Outside{Address: p.Address, As: servers.Credential{Name: p.Name, Password: p.Password}}
	for _, w := range p.Ways {
		o.Ways = append(o.Ways, turn.Way{Over: servers.Transport(w.Over), Port: w.Port})
	}
	if err := o.Check(); err != nil {
		return seen, err
	}
	said := turn.FromOutside(ctx, o)
	for _, w := range said.Ways {
		seen.Ways = append(seen.Ways, netwatch.Word(w))
	}
	seen.Relay = netwatch.Word(said.Relay)
	return seen, nil
}
