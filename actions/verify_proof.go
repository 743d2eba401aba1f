package actions

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/rewrite"
	"netwatch/servers"
	"netwatch/turn"
)

// ErrNoCredentials says that a server runs, and nobody can ask it for want of credentials.
var ErrNoCredentials = turn.ErrNobody

// A proof is what asking a server has shown.
type proof struct {
	server string
	file   netwatch.Path
	// offer is nil as long as the file is not understood.
	offer *servers.Offer
	known netwatch.Addresses
	// content is the fingerprint of its file.
	content string
	// right are the addresses that callers get and should, as in "ipv4 203.0.113.5",
	// and over what they got them.
	right []gotten
	// before is what stands before an address that is lent, where others are told too.
	before string
	// over is what of the file something else may go before, if err is about that.
	over servers.Over
	// words are what is to be said beside them.
	words []string
	// err is the first thing that is wrong.
	err error
	// strange are the listeners at which another server seems to answer, and mine the
	// ports at which this one has.
	strange []stranger
	mine    map[uint16]bool
	// refused says that nobody listens at a port, and answered that the server has
	// answered at one.
	refused, answered bool
}

// A stranger is what answers where the server should.
type stranger struct {
	ask turn.Ask
	err error
}

// gotten is an address and what it was got over.
type gotten struct {
	address string
	over    []string
}

// prove asks the server all that there is to ask, in about the time until end.
func (v *verification) prove(ctx context.Context, job netwatch.Job, end time.Time) *proof {
	p := &proof{server: v.server, file: v.file, known: job.Confirmed, mine: map[uint16]bool{}}
	if p.err = v.await(ctx, p.read); p.err != nil {
		return p
	}
	asks, err := v.asks(p, job.Confirmed)
	if err != nil {
		p.err = err
		return p
	}
	if v.families.IPv6 && v.times6(p.offer) == 0 {
		p.words = append(p.words, "no ipv6 relay: "+p.say().NoIPv6)
	}
	for _, a := range asks {
		got := v.ask(ctx, a, end)
		for i := 1; i < sharers && strange(got.err); i++ {
			p.strange = append(p.strange, stranger{a, got.err})
			got = v.ask(ctx, a, end)
		}
		p.hear(a, got)
	}
	if p.err == nil {
		v.knock(ctx, p, asks, end)
	}
	p.conclude()
	return p
}

// An answer is what came of an ask.
type answer struct {
	relayed netip.Addr
	leaf    *x509.Certificate
	err     error
}

// ask asks until there is an answer that will not become another by itself, or the time
// is over, of which each has some. What it took itself counts in coturn's quotas for
// 1.1 s after it was given back (measured).
func (v *verification) ask(ctx context.Context, a turn.Ask, end time.Time) (got answer) {
	if soon := time.Now().Add(v.time / 6); end.Before(soon) {
		end = soon
	}
	ctx, cancel := context.WithDeadline(ctx, end)
	defer cancel()
	for {
		relayed, leaf, err := v.machine.allocate(ctx, a)
		if over(ctx) && passes(got.err) {
			return got // This one was broken off
		}
		if got = (answer{relayed, leaf, err}); !passes(err) {
			return got
		}
		select {
		case <-time.After(againPause):
		case <-ctx.Done():
			return got
		}
	}
}

// passes says whether an error may pass by itself: nobody listens yet, a stream was
// ended, or a quota is used up.
func passes(err error) bool {
	ended := []error{syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF}
	return slices.ContainsFunc(ended, func(e error) bool { return errors.Is(err, e) }) ||
		turn.Refused(err, stun.CodeAllocQuotaReached)
}

// answers says whether an error is the answer of the server.
func answers(err error) bool {
	refused := new(turn.Error)
	return errors.As(err, &refused) || errors.Is(err, turn.ErrNobody)
}

// strange says whether an error is the answer of a server that does not run with the
// file.
func strange(err error) bool {
	another := new(turn.Another)
	return errors.As(err, &another) || errors.Is(err, turn.ErrOpen)
}

// hear takes up an answer.
func (p *proof) hear(a turn.Ask, got answer) {
	if strange(got.err) {
		p.strange = append(p.strange, stranger{a, got.err})
		return
	}
	if got.err == nil || answers(got.err) {
		p.answered, p.mine[a.To.Port()] = true, true
	}
	p.refused = p.refused || errors.Is(got.err, syscall.ECONNREFUSED)
	at, err := place(a), got.err
	switch {
	case err != nil:
		err = p.explain(at, a, err)
	case got.leaf != nil && time.Now().After(got.leaf.NotAfter):
		err = netwatch.WithHint(
			fmt.Errorf("the certificate that %s shows is good until %s", at, got.leaf.NotAfter.Format(time.DateTime)),
			fmt.Sprintf("renew it, and have %s read it: %s", p.server, p.say().Renewed))
	default:
		err = p.compare(at, a, got.relayed)
	}
	if p.err == nil {
		p.err = err
	}
}

// place is where and how is asked, for a person.
func place(a turn.Ask) string { return fmt.Sprintf("%s (%s)", a.To, a.Over) }

// compare compares what a caller gets with the public address of its family.
func (p *proof) compare(at string, a turn.Ask, got netip.Addr) error {
	family := netwatch.FamilyOf(got)
	if a.Family != "" {
		family = a.Family
	}
	public, known := p.known[family]
	switch {
	case !known && netwatch.CheckPublic(got, nil) != nil:
		return netwatch.WithHint(fmt.Errorf("%s relays over %s, where no caller reaches it", at, got), p.say().Private)
	case !known:
		word := fmt.Sprintf("unknown: it relays over %s, and the public %s address is not known", got, family)
		if !slices.Contains(p.words, word) {
			p.words = append(p.words, word)
		}
		return nil
	case got != public.Address:
		return p.wrong(at, got, public.Address)
	}
	p.got(fmt.Sprintf("%s%s %s", p.before, family, got), string(a.Over))
	return nil
}

// got notes an address that is right.
func (p *proof) got(address, over string) {
	i := slices.IndexFunc(p.right, func(g gotten) bool { return g.address == address })
	if i < 0 {
		i = len(p.right)
		p.right = append(p.right, gotten{address: address})
	}
	if !slices.Contains(p.right[i].over, over) {
		p.right[i].over = append(p.right[i].over, over)
	}
}

// detail is what is right, and what else is to be said.
func (p *proof) detail() string {
	var all []string
	for _, g := range p.right {
		all = append(all, fmt.Sprintf("%s (%s)", g.address, strings.Join(g.over, ", ")))
	}
	return strings.Join(append(all, p.words...), ", ")
}

// explain says what a refusal or silence means, and what to do.
func (p *proof) explain(at string, a turn.Ask, err error) error {
	say := p.say()
	switch another := new(turn.Another); {
	case errors.Is(err, turn.ErrOpen):
		return p.open(at, a)
	case errors.As(err, &another):
		return netwatch.WithHint(fmt.Errorf("asking %s: %w, and not the one of %s (realm %s)", at, err, p.file, a.Realm),
			otherPort(a.To.Port())+"; or it is the same, and runs with another realm than is in the file now: "+say.Again)
	case errors.Is(err, turn.ErrNobody):
		return netwatch.WithHint(fmt.Errorf("asking %s: %w: %s", at, err, say.Nobody), say.Whom)
	case !answers(err):
		return netwatch.WithHint(fmt.Errorf("nobody answers at %s: %w", at, err), p.unheard(a, err))
	}
	return p.refusal(a, fmt.Errorf("asking %s: %w", at, err))
}

// unheard says what to do where nobody answers.
func (p *proof) unheard(a turn.Ask, err error) string {
	refused, say := errors.Is(err, syscall.ECONNREFUSED), p.say()
	hint := "see whether its unit runs (systemctl status), and "
	if refused && a.Over == servers.TLS {
		hint += say.Certificate
	} else {
		hint += fmt.Sprintf("whether it listens there: %s in %s", say.Listens, p.file)
	}
	if refused && p.loses() {
		hint += "; if its log says that the address is in use, a reload has lost the port: " + say.Again + " once more"
	}
	return hint
}

// loses says whether the server may have lost a port by a reload.
func (p *proof) loses() bool {
	server, _ := servers.Named(p.server) // It is in the table
	return server.Loses
}

// say are the words for the server, about its file.
func (p *proof) say() servers.Words {
	server, _ := servers.Named(p.server) // It is in the table
	return server.Words.Of(string(p.file))
}

// codeNotAllowed is that of a request which a server does not serve at all.
const codeNotAllowed stun.ErrorCode = 405

// refusal says what to do about an error response.
func (p *proof) refusal(a turn.Ask, err error) error {
	refused := new(turn.Error)
	errors.As(err, &refused)
	say := p.say()
	switch refused.Code {
	case stun.CodeUnauthorized, stun.CodeWrongCredentials:
		return netwatch.WithHint(fmt.Errorf("%w to the credentials of %s", err, p.file),
			"it runs with others than are in the file now: "+say.Again)
	case codeNotAllowed:
		if say.Off != "" {
			err = netwatch.WithHint(err, "see that "+say.Off+", and "+say.Again)
		}
	case stun.CodeAllocQuotaReached:
		return netwatch.WithHint(err, "its "+say.Quota+" is used up")
	case stun.CodeInsufficientCapacity:
		return netwatch.WithHint(err, "no port is free between "+say.Ports+", or its bandwidth is used up")
	case stun.CodeAddrFamilyNotSupported:
		return p.noFamily(a, err)
	}
	return err
}

// noFamily says what to do about a family that is not lent.
func (p *proof) noFamily(a turn.Ask, err error) error {
	switch say := p.say(); {
	case say.Family != "":
		return netwatch.WithHint(err, say.Family+", and "+say.Again)
	case a.Family != "" && len(p.offer.Lends(a.Family)) == 0:
		return netwatch.WithHint(err, fmt.Sprintf("it has no %s relay: restart it, if this machine had no such "+
			"address when it was started, and see relay-ip and listening-ip in %s", a.Family, p.file))
	case a.Family != "":
		return netwatch.WithHint(err, fmt.Sprintf("it has no %s relay, though relay-ip or listening-ip in %s names "+
			"an address for it: restart it", a.Family, p.file))
	}
	return netwatch.WithHint(err, fmt.Sprintf("a caller who names no family gets no relay: see relay-ip and "+
		"listening-ip in %s; with 0.0.0.0 or :: there, one request for IPv6 is enough to bring that about: "+
		"restart it", p.file))
}

// otherPort is how one finds out who has a port.
func otherPort(port uint16) string {
	return fmt.Sprintf("ss -lpn sport = :%d shows to root who listens there: give each server a port of its own, "+
		"or stop the other", port)
}

// open says what an open relay is. coturn that cannot read its file listens at the
// port that nobody named, and not for TLS.
func (p *proof) open(at string, a turn.Ask) error {
	err := fmt.Errorf("asking %s: %w", at, turn.ErrOpen)
	say, other := p.say(), otherPort(a.To.Port())
	switch {
	case p.answered:
		return netwatch.WithHint(fmt.Errorf("%w: another server answers there, and not the one of %s", err, p.file), other)
	case !say.Unread || a.Over == servers.TLS || a.To.Port() != servers.DefaultPort:
		return netwatch.WithHint(err, fmt.Sprintf("see that %s, and %s; or %s", say.Open, say.Again, other))
	}
	return netwatch.WithHint(fmt.Errorf("%w: another server answers there, or it runs without its configuration", err),
		fmt.Sprintf("%s; or see that its user can read %s and that no-auth is not in it, and restart it", other, p.file))
}

// wrong says why a server gives its callers another address than the public one.
func (p *proof) wrong(at string, got, public netip.Addr) error {
	err := fmt.Errorf("%s relays over %s, and the public address is %s", at, got, public)
	say, key := p.say(), servers.Target{Server: p.server}.Key()
	if netwatch.FamilyOf(public) == netwatch.IPv6 {
		key = strings.Replace(key, "ipv4", "ipv6", 1)
	}
	does, _, _ := strings.Cut(say.Again, " ")
	rotate := fmt.Sprintf("have a step `rotate %s %s`", p.server, p.file)
	hint := fmt.Sprintf("%s in %s does not have it: %s and a %s before this one; if there is one, netwatch history has "+
		"why it left the file as it was", key, p.file, rotate, does)
	switch {
	case p.offer.Itself:
		hint = itselfHint
	case slices.Contains(p.offer.Advertised, public):
		hint = fmt.Sprintf("%s has the right %s, %s", p.file, key, say.Heeds)
	case got.IsUnspecified():
		hint = fmt.Sprintf("%s in %s is empty: %s before this one", key, p.file, rotate)
	}
	return netwatch.WithHint(err, hint)
}

// read reads what the configuration of the server offers.
func (p *proof) read() error {
	return p.readAs(func(server servers.Server, text []byte) (err error) {
		p.offer, err = server.Offer(text, time.Now())
		return err
	})
}

// readAs reads the configuration of the server.
func (p *proof) readAs(take func(server servers.Server, text []byte) error) error {
	f, err := rewrite.Open(string(p.file))
	if err != nil {
		return granted(err)
	}
	defer f.Close()
	server, _ := servers.Named(p.server) // It is in the table
	p.content = netwatch.Fingerprint(f.Text)
	if err := take(server, f.Text); err != nil {
		return fmt.Errorf("reading %s: %w", p.file, err)
	}
	return nil
}

// granted says what to do about a file that may not be read.
func granted(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return netwatch.WithHint(err, netwatch.GrantHint)
	}
	return err
}
