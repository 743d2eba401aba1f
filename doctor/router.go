package doctor

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"

	"netwatch"
	"netwatch/sources"
)

// checkRouter looks what the router says that the configuration has asked, and whether
// what it announces can arrive here.
func checkRouter(ctx context.Context, s *scene) (found []Finding) {
	asked := false
	for _, source := range s.cfg.Sources {
		routed, ok := source.Settings.(sources.Routed)
		if !ok {
			continue
		}
		asked = true
		r, err := routed.AskRouter(ctx, sources.AskedOf(s.allTold()))
		found = append(found, judgeRouter(r, err, s.known()[netwatch.IPv4]))
		if r.Healthy {
			found = append(found, s.deaf(ctx, r.Gateway)...)
		}
	}
	if asked {
		return found
	}
	if r, err := sources.AskRouter(ctx, sources.AskedOf(s.allTold())); err == nil {
		found = unasked(r)
	}
	return found
}

// unasked says that a router would answer whom nobody asks.
func unasked(r netwatch.Router) []Finding {
	if !r.Healthy {
		return nil
	}
	return []Finding{{
		Note, "router", fmt.Sprintf("%s says its address, by %s, and nobody asks it", r.Gateway, r.Protocol),
		"add a section [source.router]: a new address is then found within seconds, and not at the next poll",
	}}
}

// allTold is what the servers of all sources say.
func (s *scene) allTold() (all []sources.Told) {
	for _, t := range s.told() {
		all = append(all, t.Told)
	}
	return all
}

// judgeRouter says what it means what a router says.
func judgeRouter(r netwatch.Router, err error, known netip.Addr) Finding {
	const what = "router"
	word := r.Word(known)
	switch {
	case !r.Gateway.IsValid() && err == nil:
		return Finding{OK, what, "there is none on the way out: nobody is asked", ""}
	case err != nil:
		return Finding{
			Note, what, fmt.Sprintf("%s: %s: %v", r.Gateway, word, err),
			"switch NAT-PMP, PCP or UPnP on in the router, so that a new address is found within seconds and not at the " +
				"next poll; or take [source.router] out of the configuration",
		}
	case word == "":
		return Finding{OK, what, fmt.Sprintf("%s says %s, by %s", r.Gateway, r.Address, r.Protocol), ""}
	}
	return Finding{Warning, what, fmt.Sprintf("%s says %s: %s", r.Gateway, said(r.Address), word), remedyOf(r.Address)}
}

// said is an address that a router says, for a person.
func said(a netip.Addr) string {
	if !a.IsValid() {
		return "nothing"
	}
	return a.String()
}

// remedyOf is what helps where the router has that address.
func remedyOf(a netip.Addr) string {
	switch {
	case !a.IsValid():
		return "see whether its line is up"
	case netwatch.Shares(a):
		return "callers reach coturn only if the provider gives this line a public address of its own, or over a VPN that " +
			"has one"
	case netwatch.CheckPublic(a, nil) != nil:
		return "forward the ports of coturn on the router before it as well, or have one of the two pass everything on " +
			"(bridge mode)"
	}
	return "see which way its packets take; callers must be able to come in by that address"
}

// deaf says that what the router announces does not arrive here: the daemon has heard
// nothing where there was something to hear, or a firewall lets nothing in.
func (s *scene) deaf(ctx context.Context, gateway netip.Addr) []Finding {
	d, err := s.daemon()
	known := err == nil && d.Router != nil && d.Router.Gateway == gateway
	if known && d.Router.Announces {
		return nil
	}
	chain := closedChain(ctx)
	if chain == nil && !(known && d.Router.Unheard > 0) {
		return nil
	}
	return []Finding{{
		Note, "router", fmt.Sprintf(
			"a firewall here lets in nothing that %s announces: a new address is found by asking, some time later", gateway),
		chain.open(gateway),
	}}
}

// open is the command by which the router's announcements may come in to a chain that
// drops them.
func (c *chain) open(gateway netip.Addr) string {
	rule := fmt.Sprintf("ip saddr %s udp sport 5351 udp dport 5350 accept", gateway)
	switch {
	case c == nil:
		return "have the firewall let them in; with nftables the rule is: " + rule
	case c.Table == "filter" && c.Name == "INPUT":
		return fmt.Sprintf("iptables -I INPUT -s %s -p udp --sport 5351 --dport 5350 -j ACCEPT", gateway)
	}
	return fmt.Sprintf("nft insert rule %s %s %s %s", c.Family, c.Table, c.Name, rule)
}

// closedChain is a chain that drops what comes in, and that has no rule about the port
// of announcements; nil if there is none or if it may not be looked at.
func closedChain(ctx context.Context) *chain {
	rules, err := firewall(ctx)
	if err != nil {
		return nil
	}
	return readRuleset(rules)
}

// readRuleset finds such a chain in what nft prints.
func readRuleset(rules []byte) *chain {
	var set ruleset
	if json.Unmarshal(rules, &set) != nil || bytes.Contains(rules, []byte("5350")) {
		return nil
	}
	for _, object := range set.Nftables {
		if c := object.Chain; c != nil && c.Hook == "input" && c.Policy == "drop" && c.Family != "ip6" {
			return c
		}
	}
	return nil
}
