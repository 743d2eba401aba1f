package actions

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
	"netwatch/turn"
)

// lenders are the servers that lend relays, which are asked in one way.
var lenders = func() (names []string) {
	for _, s := range servers.All {
		if s.Offer != nil {
			names = append(names, s.Name)
		}
	}
	return names
}()

// What follows the verb.
var (
	turnUsage   = strings.Join(lenders, "|") + " FILE [families=ipv4,ipv6] [from=SOURCE]"
	verifyUsage = turnUsage + " | " + livekitUsage + " | " + tlsUsage
)

const (
	// verifyTime is how long a server may take to answer right: coturn that was just
	// started listens after 130 ms (measured), and a lost packet is sent again meanwhile.
	verifyTime = 3 * time.Second
	// movingTime is how long a unit that is being started or stopped is waited for.
	// coturn 4.18 takes up to 6 s to stop, and lends relays meanwhile (measured).
	movingTime = 15 * time.Second
	// containerTime is how long a container may take to come after its unit: Docker takes
	// 3 s to open fifty ports (measured), and refuses meanwhile.
	containerTime = 10 * time.Second
)

// A verification asks a server that lends relays for relayed transport addresses, as
// callers do, and compares them with the public addresses. It is the step `verify coturn
// FILE`, and of the others of its kind.
type verification struct {
	// server is its name in the table.
	server string
	file   netwatch.Path
	// families are those that it asks for by name; without any it asks as callers do,
	// who name none.
	families servers.Families
	// local is netwatch.OwnAddress, or what stands for it in a test.
	local func(family netwatch.Family, public netip.Addr) netip.Addr
	// units are how those stand that run the server, as far as that is known.
	units func(ctx context.Context, job netwatch.Job) []systemd.State
	// reopen is Env.Reopen, or nil.
	reopen func(file string) time.Duration
	// time, moving and container are verifyTime, movingTime and containerTime, or less in a
	// test.
	time, moving, container time.Duration
	machine                 Machine
}

// newVerify makes the step. It is done even if nothing changed before it: what a server
// gives to its callers depends on when it was started.
func newVerify(env Env, verb string, words []string) (netwatch.Step, error) {
	var action netwatch.Action
	usage := turnUsage
	words, from, err := cutFrom(words)
	what, rest := "", words
	if len(words) > 0 {
		what, rest = words[0], words[1:]
	}
	switch {
	case err != nil:
	case what == "tls":
		action, err = newTLS(rest)
		usage = tlsUsage
	case what == "livekit":
		action, err = parseLiveKit(env, rest)
		usage = livekitUsage
	default:
		action, err = parseVerify(env, words)
	}
	if err == nil && from != "" {
		action, err = outwards(env, action, from)
	}
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, usage)
	}
	return netwatch.Step{Action: action, Proof: true}, nil
}

// parseVerify reads what follows the verb. turn stands for coturn.
func parseVerify(env Env, words []string) (*verification, error) {
	name := strings.Join(words[:min(len(words), 1)], "")
	if name == "turn" {
		name = "coturn"
	}
	server, err := servers.Named(name)
	switch {
	case len(words) == 0:
		return nil, fmt.Errorf("what to verify is missing, it can be %s, livekit or tls", strings.Join(lenders, ", "))
	case err != nil || server.Offer == nil:
		return nil, fmt.Errorf("%q cannot be verified, only %s, livekit and tls", words[0], strings.Join(lenders, ", "))
	case len(words) == 1:
		return nil, fmt.Errorf("the file of %s is missing", server.Name)
	case len(words) > 3:
		return nil, fmt.Errorf("%q is not understood after the families", words[3])
	}
	file, err := netwatch.ParsePath(words[1])
	if err != nil {
		return nil, err
	}
	v := &verification{
		server: server.Name, file: file, local: env.own(), reopen: env.Reopen,
		time: verifyTime, moving: movingTime, container: containerTime, machine: env.Machine,
	}
	v.units = unitsBefore(env.Bus, v, file)
	for _, word := range words[2:] {
		v.families, err = parseFamilies(word)
	}
	return v, err
}

// parseFamilies reads families=ipv4,ipv6, as rotate does.
func parseFamilies(word string) (f servers.Families, err error) {
	names, ok := strings.CutPrefix(word, "families=")
	if !ok {
		return f, fmt.Errorf("%q is not understood after the file", word)
	}
	err = f.UnmarshalText([]byte(names))
	return f, err
}

// Needs is the file.
func (v *verification) Needs() Needs { return Needs{Reads: []netwatch.Path{v.file}} }

// Do is unchanged when callers get the public address, and failed otherwise. While a
// unit that runs the server is being started or stopped, that is not yet known: the
// old server answers until it has ended. The detail is the addresses.
func (v *verification) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	return v.settle(ctx, job, v.prove)
}

// settle proves until no unit that runs the server is being started or stopped.
func (v *verification) settle(
	ctx context.Context, job netwatch.Job, prove func(context.Context, netwatch.Job, time.Time) *proof,
) netwatch.Result {
	if len(job.Confirmed) == 0 {
		return netwatch.Failure(errUnconfirmed)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for end := time.Now().Add(v.moving); ; {
		before := v.units(ctx, job)
		span := v.time
		if len(before) > 0 && !slices.ContainsFunc(before, func(st systemd.State) bool { return !st.Down() || st.Idles() }) {
			span = 0 // Nobody is about to listen
		}
		comes := func(st systemd.State) bool { return st.Engages(time.Now().Add(-v.container)) }
		if slices.ContainsFunc(before, comes) {
			span = max(span, v.container)
		}
		p := prove(ctx, job, time.Now().Add(span))
		after := v.units(ctx, job)
		name, moves := moving(before, after, p.err != nil)
		if !moves || time.Now().After(end) || ctx.Err() != nil {
			return v.judge(p, after)
		}
		job.WaitsFor("systemd, which starts or stops " + name)
		select {
		case <-time.After(againPause):
		case <-ctx.Done():
		}
	}
}

// againPause is the pause before a server is asked again that did not answer right.
const againPause = 50 * time.Millisecond

// VerifyTurn asks a server for relayed addresses, as the step `verify SERVER FILE` does, and
// waits for nothing. unit is the one that runs it, if that is known.
func VerifyTurn(ctx context.Context, server, file string, known netwatch.Addresses, unit string) netwatch.Result {
	v := verification{server: server, file: netwatch.Path(file), local: netwatch.OwnAddress, time: verifyTime}
	v.units = func(ctx context.Context, job netwatch.Job) []systemd.State { return unitsNamed(ctx, nil, job, unit) }
	return v.Do(ctx, netwatch.Job{Confirmed: known})
}

// asks are what the server is asked, first of all what every caller does. Each of its
// listeners is asked once; the first of them in the name of everyone whom it knows, and
// often where there are several addresses to relay from.
func (v *verification) asks(p *proof, confirmed netwatch.Addresses) (all []turn.Ask, err error) {
	offer := p.offer
	if len(offer.Listeners) == 0 {
		return nil, netwatch.WithHint(fmt.Errorf("%s has it listen nowhere", v.file),
			p.say().Nowhere)
	}
	ask := func(l servers.Listener, who *servers.Credential, family netwatch.Family, at netip.Addr) {
		if l.IP.IsValid() {
			at = l.IP
		}
		to := netip.AddrPortFrom(at, l.Port)
		all = append(all, turn.Ask{To: to, Over: l.Over, Realm: offer.Realm, Who: who, Family: family})
	}
	first, who := offer.Listeners[0], offer.Credentials
	if v.families == (servers.Families{}) || v.families.IPv4 {
		by, err := v.approach(p, confirmed)
		if err != nil || !by.at.IsValid() {
			return nil, err
		}
		for i := range max(len(who), times(offer.Lends(netwatch.FamilyOf(by.at)))) {
			ask(first, who[i%len(who)], by.family, by.at)
		}
		for _, l := range offer.Listeners[1:] {
			ask(l, who[0], by.family, by.at)
		}
	}
	if _, known := confirmed[netwatch.IPv6]; known && v.families.IPv6 {
		at, err := v.at(offer, confirmed, netwatch.IPv6, netwatch.IPv4)
		if err != nil {
			return nil, err
		}
		for range v.times6(offer) {
			ask(first, who[0], netwatch.IPv6, at)
		}
	}
	return all, nil
}

// often is how often is asked to see each of several relays. Each thread of coturn takes
// them in turn, and which one answers is chance (measured): of two, one is missed once
// in 500 times. It is less than the smallest user-quota that one sees.
const often = 10

// times is how often is asked for relays of these addresses.
func times(lends []netip.Addr) int {
	if len(lends) > 1 {
		return often
	}
	return len(lends)
}

// at is where callers reach the server, of the first of the families that are known: at
// what the file pairs with the public address, or where that was asked from.
func (v *verification) at(
	offer *servers.Offer, confirmed netwatch.Addresses, families ...netwatch.Family,
) (at netip.Addr, err error) {
	for _, family := range families {
		if c, ok := confirmed[family]; ok {
			if at, err = offer.At(v.own(offer, family, c)); err == nil {
				return at, nil
			}
		}
	}
	return at, err
}

// own is the address of this machine that callers reach coturn at: that by which the
// public one was asked, or what the file pairs with it, or else what packets to the
// internet come from. What stands in the file may be of another way, as a tunnel's.
func (v *verification) own(offer *servers.Offer, family netwatch.Family, public netwatch.Address) netip.Addr {
	for _, a := range append([]netip.Addr{public.Own}, offer.Private...) {
		if a.IsValid() && netwatch.FamilyOf(a) == family && slices.Contains(v.machine.here(), a) {
			return a
		}
	}
	return v.local(family, public.Address)
}
