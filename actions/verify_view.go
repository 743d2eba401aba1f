package actions

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/servers"
)

// A view is what another machine saw of a place.
type view struct {
	*proof
	place netwatch.Place
	seen  netwatch.Seen
	// span are the ports that are relayed from, and own the address of this machine by
	// which it goes out.
	span string
	own  netip.Addr
}

// judge says what it means. Nothing is known of data through a relay that nobody got.
func (v view) judge(by string) {
	said := map[netwatch.Word][]string{}
	for i, w := range v.place.Ways {
		said[v.seen.Ways[i]] = append(said[v.seen.Ways[i]], fmt.Sprintf("%s %d", strings.ToUpper(w.Over), w.Port))
	}
	if slices.Contains(v.seen.Ways, netwatch.WordOK) {
		said[v.seen.Relay] = append(said[v.seen.Relay], v.relay())
	}
	right := said[netwatch.WordOK]
	delete(said, netwatch.WordOK)
	if len(said) > 0 {
		if p := v.proof; p.err == nil {
			err := fmt.Errorf("%s: %s (seen by %s)", v.place.Address, v.found(said, right), by)
			p.err = netwatch.WithHint(err, v.remedy(said))
		}
		return
	}
	for _, way := range right {
		v.got(fmt.Sprintf("%s %s", netwatch.FamilyOf(v.place.Address), v.place.Address), way)
	}
	v.words = append(v.words, "seen by "+by)
}

// relay are the ports that are relayed from, as a router names them.
func (v view) relay() string { return strings.TrimSpace("UDP " + v.span) }

// found says what is wrong, and what is not beside it.
func (v view) found(said map[netwatch.Word][]string, right []string) string {
	var all []string
	for _, c := range []struct {
		word netwatch.Word
		text string
	}{
		{netwatch.WordSilent, "%s not reachable from outside"},
		{netwatch.WordRefused, "%s refused to who comes from outside"},
		{netwatch.WordWrong, "%s answered with another address"},
	} {
		if ways := said[c.word]; len(ways) > 0 {
			all = append(all, fmt.Sprintf(c.text, are(ways)))
		}
	}
	if len(right) > 0 {
		all = append(all, are(right)+" right")
	}
	return strings.Join(all, "; ")
}

// are are some ways with their verb.
func are(ways []string) string {
	if len(ways) == 1 {
		return ways[0] + " is"
	}
	return listed(ways) + " are"
}

// listed are some ways, for a person.
func listed(ways []string) string {
	last := len(ways) - 1
	if last < 1 {
		return strings.Join(ways, "")
	}
	return strings.Join(ways[:last], ", ") + " and " + ways[last]
}

// remedy says what to do about all that is wrong.
func (v view) remedy(said map[netwatch.Word][]string) string {
	var all []string
	if ways := said[netwatch.WordSilent]; len(ways) > 0 {
		all = append(all, v.forward(ways))
	}
	here := fmt.Sprintf("`verify %s %s` without from= says whether it is right here", v.server, v.file)
	refused := said[netwatch.WordRefused]
	if i := slices.Index(refused, v.relay()); i >= 0 {
		refused = slices.Delete(slices.Clone(refused), i, i+1)
		all = append(all, fmt.Sprintf("see whether %s forbids peers on the internet, as denied-peer-ip does, or another "+
			"firewall rejects %s", v.file, v.relay()))
	}
	if len(refused) > 0 {
		all = append(all, fmt.Sprintf("see that %s come to this machine%s, and to this server: %s",
			listed(ports(refused)), v.here(), here))
	}
	if len(said[netwatch.WordWrong]) > 0 {
		all = append(all, fmt.Sprintf("%s, or another server answers from outside; see that %s in %s is %s, and %s", here,
			servers.Target{Server: v.server}.Key(), v.file, v.place.Address, v.say().Again))
	}
	return strings.Join(all, "; ")
}

// forward has packets come in that do not.
func (v view) forward(ways []string) string {
	if v.own == v.place.Address {
		return fmt.Sprintf("have the firewalls of this machine and of its provider let in %s", listed(ports(ways)))
	}
	return fmt.Sprintf("have the router hand on %s to this machine%s, and the firewalls of both let them in",
		listed(ports(ways)), v.here())
}

// here is the address of this machine, in brackets, if it is known.
func (v view) here() string {
	if !v.own.IsValid() {
		return ""
	}
	return fmt.Sprintf(" (%s)", v.own)
}

// ports are ways as a router or a firewall names them.
func ports(ways []string) (all []string) {
	for _, way := range ways {
		all = append(all, strings.Replace(way, "TLS", "TCP", 1))
	}
	return all
}

// errUnconfirmed says that there is nothing to compare with.
var errUnconfirmed = netwatch.WithHint(errors.New("the public address is not known yet: no server has told it since "+
	"netwatch started"), "run `netwatch probe` to see what each STUN server says")
