package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"strings"

	"netwatch"
	"netwatch/servers"
)

// A fate is what may become of a packet: several where what a rule asks is not known here.
type fate uint8

// What may become of a packet in a chain.
const (
	passes fate = 1 << iota
	falls
	// goesOn is on to the next rule, and leaves is back to where the chain was jumped to.
	goesOn
	leaves
	anything = passes | falls | goesOn
)

// A packet is the first one of a caller from the internet.
type packet struct {
	family netwatch.Family
	over   servers.Transport
	port   uint16
}

// A ruleset is what nft -j prints, as far as it is understood here.
type ruleset struct {
	Nftables []struct {
		Chain *chain
		Rule  *rule
	}
}

// A chain is a base chain if it has a hook.
type chain struct{ Family, Table, Name, Hook, Policy string }

// A rule is its statements, in order, each an object with one key.
type rule struct {
	Family, Table, Chain string
	Expr                 []map[string]json.RawMessage
}

// Why it is not known whether a firewall lets a packet in.
var (
	errUnclear = errors.New("what it asks of a packet is more than is understood here")
	errLegacy  = errors.New("it has rules of iptables-legacy, which nft does not show")
)

// firewall is what nft(8) says of this machine's rules, in JSON.
func firewall(ctx context.Context) ([]byte, error) {
	return exec.CommandContext(ctx, "nft", "-j", "list", "ruleset").Output()
}

// lets says whether this machine's firewall lets a packet in. An error says why that is not
// known.
func lets(ctx context.Context, p packet) (bool, error) {
	if os.Geteuid() != 0 {
		return false, fmt.Errorf("reading the rules of nftables: %w", fs.ErrPermission)
	}
	for _, name := range []string{"/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"} {
		if tables, err := os.ReadFile(name); err == nil && len(tables) > 0 {
			return false, errLegacy
		}
	}
	text, err := firewall(ctx)
	if err != nil {
		return false, fmt.Errorf("asking nft(8) for its rules: %w", err)
	}
	var r ruleset
	if err := json.Unmarshal(text, &r); err != nil {
		return false, fmt.Errorf("reading the rules of nft(8): %w", err)
	}
	return r.lets(p)
}

// lets says whether all base chains let a packet in.
func (r ruleset) lets(p packet) (bool, error) {
	unclear := false
	for _, o := range r.Nftables {
		c := o.Chain
		if c == nil || !c.meets(p) {
			continue
		}
		f := r.walk(p, *c, 0)
		if f&goesOn != 0 && c.Policy == "drop" {
			f |= falls
		} else if f&goesOn != 0 {
			f |= passes
		}
		switch f &^ goesOn {
		case falls:
			return false, nil
		case passes:
		default:
			unclear = true
		}
	}
	if unclear {
		return false, errUnclear
	}
	return true, nil
}

// meets says whether a packet that is for this machine comes to a base chain.
func (c chain) meets(p packet) bool {
	return (c.Hook == "input" || c.Hook == "prerouting" || c.Hook == "ingress") && c.Family != "bridge" &&
		(c.Family != "ip" || p.family == netwatch.IPv4) && (c.Family != "ip6" || p.family == netwatch.IPv6)
}

// deepest is how deep jumps are followed.
const deepest = 16

// walk is what may become of a packet in a chain.
func (r ruleset) walk(p packet, in chain, depth int) (f fate) {
	if depth > deepest {
		return anything
	}
	for _, o := range r.Nftables {
		if o.Rule == nil || o.Rule.Chain != in.Name || o.Rule.Table != in.Table || o.Rule.Family != in.Family {
			continue
		}
		next := r.apply(p, *o.Rule, depth)
		f |= next & (passes | falls)
		if next&leaves != 0 {
			f |= goesOn
		}
		if next&goesOn == 0 {
			return f
		}
	}
	return f | goesOn
}

// apply is what may become of a packet by one rule.
func (r ruleset) apply(p packet, u rule, depth int) fate {
	var unless fate // What comes of it if the rule does not match, where that may be
	for _, statement := range u.Expr {
		for key, value := range statement {
			switch key {
			case "match":
				switch p.matches(value) {
				case no:
					return goesOn
				case maybe:
					unless = goesOn
				}
			case "limit":
				unless = goesOn
			case "accept":
				return passes | unless
			case "drop", "reject":
				return falls | unless
			case "return":
				return leaves | unless
			case "jump", "goto":
				return r.jump(p, u, key, value, depth) | unless
			case "vmap":
				if next := r.lookUp(p, u, value, depth); next != goesOn {
					return next | unless
				}
			case "queue", "dnat", "redirect", "tproxy", "xt":
				return anything
			}
		}
	}
	return goesOn
}

// lookUp is what may become of a packet by a map of verdicts.
func (r ruleset) lookUp(p packet, u rule, value json.RawMessage, depth int) (f fate) {
	var m struct {
		Key  key
		Data struct{ Set [][2]json.RawMessage }
	}
	if json.Unmarshal(value, &m) != nil || m.Data.Set == nil {
		return anything
	}
	for _, pair := range m.Data.Set {
		var right any
		var verdict map[string]json.RawMessage
		if json.Unmarshal(pair[0], &right) != nil || json.Unmarshal(pair[1], &verdict) != nil {
			return anything
		}
		next := r.apply(p, rule{u.Family, u.Table, u.Chain, []map[string]json.RawMessage{verdict}}, depth)
		switch p.is(m.Key, right) {
		case yes:
			return next
		case maybe:
			f |= next
		}
	}
	return f | goesOn
}

// jump is what may become of a packet in another chain, from which goto does not come back.
func (r ruleset) jump(p packet, u rule, verb string, value json.RawMessage, depth int) fate {
	var to struct{ Target string }
	if json.Unmarshal(value, &to) != nil {
		return anything
	}
	f := r.walk(p, chain{Family: u.Family, Table: u.Table, Name: to.Target}, depth+1)
	if verb == "goto" && f&goesOn != 0 {
		f = f&^goesOn | leaves
	}
	return f
}

// An answer is whether a packet is what a rule asks for.
type answer int

// The answers.
const (
	maybe answer = iota
	no
	yes
)

// A key is what a rule asks of a packet, as far as it is understood here.
type key struct {
	Payload struct{ Protocol, Field string }
	Meta    struct{ Key string }
	CT      struct{ Key string }
}

// matches answers a match statement.
func (p packet) matches(statement json.RawMessage) answer {
	var m struct {
		Op    string
		Left  key
		Right any
	}
	if json.Unmarshal(statement, &m) != nil {
		return maybe
	}
	is := p.is(m.Left, m.Right)
	switch {
	case !p.has(m.Left.Payload.Protocol): // Whatever is asked of it
		return no
	case m.Op == "!=" && is == yes:
		return no
	case m.Op == "!=" && is == no:
		return yes
	case m.Op == "==" || m.Op == "in" || m.Op == "!=":
		return is
	}
	return maybe
}

// is answers whether what is asked of the packet is one value, or among several.
func (p packet) is(k key, right any) answer {
	switch {
	case k.Payload.Protocol != "":
		return p.payload(k.Payload.Protocol, k.Payload.Field, right)
	case k.Meta.Key == "l4proto":
		return among(right, p.protocol())
	case k.Meta.Key == "nfproto":
		return among(right, string(p.family))
	case (k.Meta.Key == "iifname" || k.Meta.Key == "iif") && right == "lo":
		return no
	case k.CT.Key == "state":
		return among(right, "new")
	}
	return maybe
}

// protocol is the name of the packet's.
func (p packet) protocol() string {
	if p.over == servers.UDP {
		return "udp"
	}
	return "tcp"
}

// has says whether the packet can have a header of a protocol.
func (p packet) has(protocol string) bool {
	switch protocol {
	case "ip":
		return p.family == netwatch.IPv4
	case "ip6":
		return p.family == netwatch.IPv6
	case "udp", "tcp":
		return p.protocol() == protocol
	case "icmp", "icmpv6", "igmp", "arp":
		return false
	}
	return true
}

// payload answers what is asked of a header. Whoever comes from the internet does not have
// an address that is private.
func (p packet) payload(protocol, field string, right any) answer {
	switch {
	case !p.has(protocol):
		return no
	case field == "dport":
		return among(right, float64(p.port))
	case field == "protocol" || field == "nexthdr":
		return among(right, p.protocol())
	case field == "saddr" && private(right):
		return no
	}
	return maybe
}

// among answers whether a value is what the right side of a match names.
func among(right, value any) answer {
	switch r := right.(type) {
	case string:
		if strings.HasPrefix(r, "@") {
			return maybe
		}
	case []any:
		return anyOf(r, value)
	case map[string]any:
		if set, is := r["set"].([]any); is {
			return anyOf(set, value)
		}
		bounds, _ := r["range"].([]any)
		number, isNumber := value.(float64)
		if len(bounds) != 2 || !isNumber {
			return maybe
		}
		from, okFrom := bounds[0].(float64)
		to, okTo := bounds[1].(float64)
		return answerOf(okFrom && okTo && from <= number && number <= to)
	}
	return answerOf(right == value)
}

func anyOf(all []any, value any) answer {
	is := no
	for _, one := range all {
		switch among(one, value) {
		case yes:
			return yes
		case maybe:
			is = maybe
		}
	}
	return is
}

func answerOf(is bool) answer {
	if is {
		return yes
	}
	return no
}

// private says whether the right side of a match names one address, or prefix, that nobody
// on the internet has.
func private(right any) bool {
	text, ok := right.(string)
	if object, is := right.(map[string]any); is {
		prefix, _ := object["prefix"].(map[string]any)
		text, ok = prefix["addr"].(string)
	}
	a, err := netip.ParseAddr(text)
	return ok && err == nil && netwatch.CheckPublic(a, nil) != nil
}
