package actions

import (
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
	"netwatch/whip"
)

const livekitUsage = "livekit FILE"

const (
	// livekitTime is how long LiveKit may take to listen: it does within 2 s of its start
	// (measured).
	livekitTime = 5 * time.Second
	// slowest is how long it may take to answer: without node_ip it asks STUN servers for
	// each call, and where none is reached it answers 10 s later (measured, 1.9.11).
	slowest = 12 * time.Second
)

// A livekitProof asks LiveKit for candidates, as callers do, and compares them with the
// public addresses. It is the step `verify livekit FILE`.
type livekitProof struct{ verification }

// parseLiveKit reads what follows the verb.
func parseLiveKit(env Env, words []string) (*livekitProof, error) {
	switch {
	case len(words) == 0:
		return nil, errors.New("the file of livekit is missing")
	case len(words) > 1:
		return nil, fmt.Errorf("%q is not understood after the file", words[1])
	}
	file, err := netwatch.ParsePath(words[0])
	if err != nil {
		return nil, err
	}
	l := &livekitProof{verification{file: file, reopen: env.Reopen, time: livekitTime, moving: movingTime}}
	l.units = unitsBefore(l, file)
	return l, nil
}

// VerifyLiveKit asks LiveKit for candidates, as the step `verify livekit FILE` does, and
// waits for nothing.
func VerifyLiveKit(ctx context.Context, file netwatch.Path, known netwatch.Addresses) netwatch.Result {
	l := livekitProof{verification{file: file, time: livekitTime}}
	l.units = func(context.Context, netwatch.Job) []systemd.State { return nil }
	return l.Do(ctx, netwatch.Job{Confirmed: known})
}

// Do is unchanged when callers get the public address, and failed otherwise.
func (l *livekitProof) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	return l.settle(ctx, job, l.prove)
}

// prove asks until there are candidates, in about the time until end.
func (l *livekitProof) prove(ctx context.Context, job netwatch.Job, end time.Time) *proof {
	p := &proof{server: "livekit", file: l.file, known: job.Confirmed}
	var calls *servers.Calls
	take := func(server servers.Server, text []byte) (err error) {
		calls, err = server.Calls(text)
		return err
	}
	if p.err = l.await(ctx, func() error { return p.readAs(take) }); p.err != nil {
		return p
	}
	p.offer = &servers.Offer{Advertised: calls.Advertised}
	at, err := calls.At()
	if err != nil {
		p.err = err
		return p
	}
	if soon := time.Now().Add(l.time / 6); end.Before(soon) {
		end = soon
	}
	got, err := askCalls(ctx, end, whip.Ask{To: at, Key: calls.Key, Secret: calls.Secret})
	refused, answered := errors.AsType[*whip.Refused](err)
	p.answered = err == nil || answered
	p.refused = errors.Is(err, syscall.ECONNREFUSED)
	switch {
	case answered:
		p.err = p.declined(at, refused)
	case err != nil:
		p.err = netwatch.WithHint(fmt.Errorf("nobody answers at %s: %w", at, err), "see whether its unit runs "+
			"(systemctl status), and whether it listens there: port and bind_addresses in "+string(p.file))
	default:
		p.judgeCalls(at, calls, got)
	}
	return p
}

// askCalls asks until there is an answer that will not become another by itself, or end.
func askCalls(ctx context.Context, end time.Time, a whip.Ask) (got []whip.Candidate, err error) {
	ctx, cancel := context.WithTimeout(ctx, slowest)
	defer cancel()
	for {
		if got, err = whip.Candidates(ctx, a); !passes(err) || time.Now().After(end) {
			return got, err
		}
		select {
		case <-time.After(againPause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// declined says what to do about an answer without candidates.
func (p *proof) declined(at netip.AddrPort, refused *whip.Refused) error {
	err := fmt.Errorf("asking %s: %w", at, refused)
	switch refused.Code {
	case http.StatusUnauthorized, http.StatusForbidden:
		return netwatch.WithHint(fmt.Errorf("%w to the keys of %s", err, p.file),
			"it runs with others than are in the file now, or another server answers there: restart it, or see "+
				fmt.Sprintf("ss -lpn sport = :%d", at.Port()))
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return netwatch.WithHint(err, "it does not know WHIP, or is no LiveKit: see "+
			fmt.Sprintf("ss -lpn sport = :%d", at.Port()))
	}
	return netwatch.WithHint(err, fmt.Sprintf("see the journal of its unit; LiveKit 1.9 answers so when it cannot use "+
		"node_ip in %s, as with two addresses or one that is none", p.file))
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

// elsewhere says why callers are told other addresses than the public one.
func (p *proof) elsewhere(at netip.AddrPort, calls *servers.Calls, got []whip.Candidate, public netip.Addr) error {
	told := make([]netip.Addr, len(got))
	for i, c := range got {
		told[i] = c.Address
	}
	slices.SortFunc(told, netip.Addr.Compare) // They come in any order
	var texts []string
	for _, a := range slices.Compact(told) {
		texts = append(texts, a.String())
	}
	err := fmt.Errorf("%s tells callers %s, and the public address is %s", at, strings.Join(texts, ", "), public)
	switch {
	case calls.Itself:
		return netwatch.WithHint(err, "use_external_ip is true, and LiveKit asks for its address only when it starts: "+
			"restart it, by `restart UNIT always` in the rule")
	case slices.Contains(calls.Advertised, public):
		return netwatch.WithHint(err, fmt.Sprintf("%s has the right node_ip, which LiveKit reads only when it starts: "+
			"restart it; if it was, its unit has --node-ip or NODE_IP, which go before the file up to LiveKit 1.9", p.file))
	}
	return netwatch.WithHint(err, fmt.Sprintf("node_ip in %s does not have it: have a step `rotate livekit %[1]s` and a "+
		"restart before this one", p.file))
}
