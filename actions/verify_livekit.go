package actions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
	"netwatch/turn"
	"netwatch/whip"
)

const livekitUsage = "livekit FILE [keys=FILE] [from=SOURCE]"

const (
	// livekitTime is how long LiveKit may take to listen: it does within 2 s of its start
	// (measured).
	livekitTime = 5 * time.Second
	// slowest is how long it may take to answer: without node_ip it asks STUN servers for
	// each call, and where none is reached it answers 10 s later (measured, 1.9.11).
	slowest = 12 * time.Second
	// unreadyTime is how long it may answer 500 after its start: it takes nobody until it
	// has looked at its load, which it does each 2 s (measured, 1.9.11).
	unreadyTime = 3 * time.Second
)

// A livekitProof asks LiveKit for candidates, as callers do, and its TURN server for
// relayed addresses, and compares them with the public addresses. It is the step `verify
// livekit FILE`.
type livekitProof struct {
	verification
	// keys is a file that has its keys; empty where its own has them.
	keys netwatch.Path
}

// parseLiveKit reads what follows the verb.
func parseLiveKit(env Env, words []string) (*livekitProof, error) {
	if len(words) == 0 {
		return nil, errors.New("the file of livekit is missing")
	}
	file, err := netwatch.ParsePath(words[0])
	if err != nil {
		return nil, err
	}
	l := &livekitProof{verification: verification{
		server: "livekit", file: file, reopen: env.Reopen, time: livekitTime, moving: movingTime,
	}}
	l.units = unitsBefore(env.Bus, l, file)
	for _, word := range words[1:] {
		keys, is := strings.CutPrefix(word, "keys=")
		if !is || l.keys != "" {
			return nil, fmt.Errorf("%q is not understood after the file", word)
		}
		if l.keys, err = netwatch.ParsePath(keys); err != nil {
			return nil, err
		}
	}
	return l, nil
}

// Needs are its files.
func (l *livekitProof) Needs() Needs {
	n := l.verification.Needs()
	if l.keys != "" {
		n.Reads = append(n.Reads, l.keys)
	}
	return n
}

// VerifyLiveKit asks the LiveKit of a file, as the step `verify livekit FILE` does that is
// among these, if one is, and waits for nothing.
func VerifyLiveKit(
	ctx context.Context, file netwatch.Path, steps []netwatch.Step, known netwatch.Addresses,
) netwatch.Result {
	l := livekitProof{verification: verification{server: "livekit", file: file, time: livekitTime}}
	l.keys = keysIn(steps, file)
	l.units = func(context.Context, netwatch.Job) []systemd.State { return nil }
	return l.Do(ctx, netwatch.Job{Confirmed: known})
}

// keysIn is where a step among these has the keys of a LiveKit from.
func keysIn(steps []netwatch.Step, file netwatch.Path) (keys netwatch.Path) {
	for _, s := range steps {
		if step, is := s.Action.(*livekitProof); is && step.file == file {
			keys = step.keys
		}
	}
	return keys
}

// Do is unchanged when callers get the public address, and failed otherwise.
func (l *livekitProof) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	return l.settle(ctx, job, l.prove)
}

// prove asks until there are candidates, in about the time until end, and then for relays.
func (l *livekitProof) prove(ctx context.Context, job netwatch.Job, end time.Time) *proof {
	p := &proof{server: l.server, file: l.file, known: job.Confirmed, mine: map[uint16]bool{}}
	calls, err := l.read(ctx, p)
	if err != nil {
		p.err = err
		return p
	}
	p.offer = &servers.Offer{Advertised: calls.Advertised, Itself: calls.Itself}
	at, err := calls.At()
	if err != nil {
		p.err = err
		return p
	}
	if soon := time.Now().Add(l.time / 6); end.Before(soon) {
		end = soon
	}
	call, err := askCalls(ctx, end, whip.Ask{To: at, Key: calls.Key, Secret: calls.Secret})
	refused, answered := errors.AsType[*whip.Refused](err)
	p.answered = err == nil || answered
	p.refused = errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case answered:
		p.err = p.declined(at, refused, cmp.Or(l.keys, l.file))
	case err != nil:
		p.err = netwatch.WithHint(fmt.Errorf("nobody answers at %s: %w", at, err), "see whether its unit runs "+
			"(systemctl status), and whether it listens there: port and bind_addresses in "+string(p.file))
	default:
		p.judgeCalls(at, calls, call.Candidates)
		l.askRelays(ctx, p, calls, call.Relays, end)
		call.Close()
	}
	p.overridden(l.units(ctx, job))
	return p
}

// read reads its file, and that of its keys.
func (l *livekitProof) read(ctx context.Context, p *proof) (calls *servers.Calls, err error) {
	var keys []byte
	if l.keys != "" {
		if keys, err = netwatch.ReadRegular(string(l.keys), maxKeys); err != nil {
			return nil, fmt.Errorf("reading %s: %w", l.keys, granted(err))
		}
	}
	take := func(server servers.Server, text []byte) (err error) {
		calls, err = server.Calls(text, keys)
		return err
	}
	return calls, l.await(ctx, func() error { return p.readAs(take) })
}

// maxKeys is the size in bytes of the largest file of keys.
const maxKeys = 1 << 20

// askRelays asks each listener of its TURN server in the name of the caller whom it has
// told of it. Where the candidates are wrong already there is no more to find out.
func (l *livekitProof) askRelays(
	ctx context.Context, p *proof, calls *servers.Calls, told []whip.Relay, end time.Time,
) {
	if len(calls.Relays) == 0 || p.err != nil {
		return
	}
	if len(told) == 0 {
		p.err = netwatch.WithHint(fmt.Errorf("turn is enabled in %s, and callers are not told of it", p.file),
			"LiveKit reads that only when it starts: restart it")
		return
	}
	p.before = "relays "
	for _, listener := range calls.Relays {
		at, err := calls.RelayAt(listener)
		if err != nil {
			p.err = fmt.Errorf("asking its TURN server: %w", err)
			return
		}
		who := &servers.Credential{Name: told[0].Name, Password: told[0].Password}
		a := turn.Ask{To: at, Over: listener.Over, Realm: servers.CallRealm, Who: who}
		p.hear(a, l.ask(ctx, a, end))
	}
	p.conclude()
}

// overridden says what in the units may go before the file, if that is what is wrong.
func (p *proof) overridden(units []systemd.State) {
	for _, st := range units {
		names := strings.Join(servers.LiveKitOverrides(p.over, st.Words, st.Environ), ", ")
		if p.err == nil || names == "" {
			continue
		}
		p.err = netwatch.WithHint(fmt.Errorf("%w (%s has %s beside the file)", p.err, st.ID, names), fmt.Sprintf(
			"have %s say what %s says, and take that out of the unit: systemctl cat %s shows where it stands; then "+
				"systemctl daemon-reload and systemctl restart %[3]s",
			p.file, names, st.ID))
	}
}

// askCalls asks until there is an answer that will not become another by itself, or end.
func askCalls(ctx context.Context, end time.Time, a whip.Ask) (call *whip.Call, err error) {
	ctx, cancel := context.WithTimeout(ctx, slowest)
	defer cancel()
	ready := time.Now().Add(unreadyTime)
	for {
		call, err = whip.Open(ctx, a)
		refused, answered := errors.AsType[*whip.Refused](err)
		unready := answered && refused.Code >= http.StatusInternalServerError && time.Now().Before(ready)
		if !unready && (!passes(err) || time.Now().After(end)) {
			return call, err
		}
		select {
		case <-time.After(againPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// declined says what to do about an answer without candidates.
func (p *proof) declined(at netip.AddrPort, refused *whip.Refused, keys netwatch.Path) error {
	err := fmt.Errorf("asking %s: %w", at, refused)
	switch refused.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		p.over = servers.OverKeys
		return netwatch.WithHint(fmt.Errorf("%w to the keys of %s", err, keys),
			"it runs with others than are in the file now, or another server answers there: restart it, or see "+
				fmt.Sprintf("ss -lpn sport = :%d", at.Port())+"; if it was, its unit has others in LIVEKIT_KEYS, --keys or "+
				"--key-file, which go before the file")
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return netwatch.WithHint(err, "it does not know WHIP, or is no LiveKit: see "+
			fmt.Sprintf("ss -lpn sport = :%d", at.Port()))
	}
	return netwatch.WithHint(err, fmt.Sprintf("see the journal of its unit; LiveKit 1.9 answers so when it cannot use "+
		"node_ip in %s, as with two addresses or one that is none, and when its machine has no processor to spare", p.file))
}

// judgeCalls compares candidates with the public addresses that the file promises: those
// of its families, or else that of IPv4.
func (p *proof) judgeCalls(at netip.AddrPort, calls *servers.Calls, got []whip.Candidate) {
	if len(got) == 0 {
		p.err = netwatch.WithHint(fmt.Errorf("%s gives callers no candidate at all", at),
			fmt.Sprintf("rtc.node_ip in %s is one that it cannot use: have a step `rotate livekit %[1]s` and a restart", p.file))
		return
	}
	for _, family := range netwatch.Families {
		public, known := p.known[family]
		if is := ofFamily(calls.Advertised, family); !known || !is && (family == netwatch.IPv6 || len(calls.Advertised) > 0) {
			continue
		}
		over := ""
		for _, c := range got {
			if c.Address == public.Address {
				over = c.Over
				p.got(fmt.Sprintf("%s %s", family, c.Address), c.Over)
			}
		}
		if over == "" && p.err == nil {
			p.err = p.elsewhere(at, calls, got, public.Address)
		}
	}
	if p.err == nil && len(p.right) == 0 {
		p.words = append(p.words, "unknown: the public address of its family is not known")
	}
}

// ofFamily says whether there is an address of a family.
func ofFamily(all []netip.Addr, family netwatch.Family) bool {
	return slices.ContainsFunc(all, func(a netip.Addr) bool { return netwatch.FamilyOf(a) == family })
}

// itselfHint is what a LiveKit needs that finds its address out for itself.
const itselfHint = "use_external_ip is true, and LiveKit asks for its address only when it starts: " +
	"restart it, by `restart UNIT always` in the rule"

// mostTold is how many addresses are told of: who is not LiveKit can answer with hundreds.
const mostTold = 8

// elsewhere says why callers are told other addresses than the public one.
func (p *proof) elsewhere(at netip.AddrPort, calls *servers.Calls, got []whip.Candidate, public netip.Addr) error {
	told := make([]netip.Addr, len(got))
	for i, c := range got {
		told[i] = c.Address
	}
	slices.SortFunc(told, netip.Addr.Compare) // They come in any order
	var texts []string
	told = slices.Compact(told)
	for _, a := range told[:min(len(told), mostTold)] {
		texts = append(texts, a.String())
	}
	if more := len(told) - mostTold; more > 0 {
		texts = append(texts, fmt.Sprintf("and %d others", more))
	}
	err := fmt.Errorf("%s tells callers %s, and the public address is %s", at, strings.Join(texts, ", "), public)
	switch {
	case calls.Itself:
		return netwatch.WithHint(err, itselfHint)
	case slices.Contains(calls.Advertised, public):
		p.over = servers.OverAddress
		return netwatch.WithHint(err, fmt.Sprintf("%s has the right node_ip, which LiveKit reads only when it starts: "+
			"restart it; if it was, its unit or a file of its environment has --node-ip or NODE_IP, which go before the file "+
			"up to LiveKit 1.9, or LIVEKIT_CONFIG, which is in its place", p.file))
	}
	return netwatch.WithHint(err, fmt.Sprintf("node_ip in %s does not have it: have a step `rotate livekit %[1]s` and a "+
		"restart before this one", p.file))
}
