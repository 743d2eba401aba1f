package actions

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/turn/turntest"
)

// lookedAt runs the step of a server's file as another machine sees it, and returns what
// that was asked.
func lookedAt(
	t *testing.T, words, conf string, known netwatch.Addresses, sees ...netwatch.Sighting,
) (r netwatch.Result, asked []netwatch.Place) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "server.conf")
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	env := Env{Outside: func(_ context.Context, source string, p netwatch.Place) netwatch.Sighting {
		if source != "mqtt" {
			t.Errorf("%q is asked", source)
		}
		asked = append(asked, p)
		return sees[min(len(asked), len(sees))-1]
	}}
	server, options, _ := strings.Cut(words, " ")
	step, err := newVerify(env, "verify", append([]string{server, file, "from=mqtt"}, strings.Fields(options)...))
	if err != nil {
		t.Fatal(err)
	}
	o := step.Action.(*outsideProof)
	o.local = func(family netwatch.Family, _ netip.Addr) netip.Addr { return known[family].Own }
	return o.Do(t.Context(), netwatch.Job{Confirmed: known}), asked
}

// addresses are public addresses, each with the one that it is asked by.
func addresses(pairs ...string) netwatch.Addresses {
	all := netwatch.Addresses{}
	for _, pair := range pairs {
		public, own, _ := strings.Cut(pair, "/")
		a := netip.MustParseAddr(public)
		all[netwatch.FamilyOf(a)] = netwatch.Address{Address: a, Own: netip.MustParseAddr(own), Since: time.Now()}
	}
	return all
}

const coturnSecret = "realm=" + turntest.Realm + "\nstatic-auth-secret=" + turntest.Secret +
	"\nexternal-ip=203.0.113.7\nmin-port=49153\nmax-port=49193\n"

// said is a sighting of words: those of the ways, and behind a slash that of the relay.
func said(words string) (s netwatch.Sighting) {
	ways, relay, _ := strings.Cut(words, "/")
	for _, w := range strings.Fields(ways) {
		s.Seen.Ways = append(s.Seen.Ways, netwatch.Word(w))
	}
	s.Seen.Relay, s.By = netwatch.Word(relay), "outside"
	return s
}

// What another machine saw is said in the words of a router: which port is not reachable
// from outside, and which is.
func TestVerifyOutside(t *testing.T) {
	for _, c := range []struct {
		name, sees, found, hint string
		outcome                 netwatch.Outcome
	}{
		{
			"right", "ok ok/ok", "ipv4 203.0.113.7 (UDP 3478, TCP 3478, UDP 49153-49193), seen by outside", "",
			netwatch.Unchanged,
		},
		{
			"udp", "silent ok/ok", "verifying coturn from outside: 203.0.113.7: UDP 3478 is not reachable from outside; " +
				"TCP 3478 and UDP 49153-49193 are right (seen by outside)",
			"have the router hand on UDP 3478 to this machine (192.168.1.2), and the firewalls of both let them in",
			netwatch.Failed,
		},
		{
			"relay", "ok ok/silent", "UDP 49153-49193 is not reachable from outside; UDP 3478 and TCP 3478 are right",
			"hand on UDP 49153-49193 to", netwatch.Failed,
		},
		{
			"all", "silent silent/silent", "UDP 3478 and TCP 3478 are not reachable from outside (seen",
			"UDP 3478 and TCP 3478 to",
			netwatch.Failed,
		},
		{
			"wrong", "wrong-address wrong-address/silent", "UDP 3478 and TCP 3478 are answered with another address (seen",
			"see that external-ip in", netwatch.Failed,
		},
		{
			"refused", "refused ok/ok", "UDP 3478 is refused to who comes from outside; TCP 3478", "see that UDP 3478 come",
			netwatch.Failed,
		},
		{"forbidden", "ok ok/refused", "UDP 49153-49193 is refused", "denied-peer-ip", netwatch.Failed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, asked := lookedAt(t, "turn", coturnSecret, addresses("203.0.113.7/192.168.1.2"), said(c.sees))
			text := r.Detail
			if r.Err != nil {
				text = r.Err.Error()
			}
			if r.Outcome != c.outcome || !strings.Contains(text, c.found) || !strings.Contains(netwatch.Hint(r.Err), c.hint) {
				t.Errorf("%s: %s; hint: %s", r.Outcome, text, netwatch.Hint(r.Err))
			}
			if r.Dead != "" || len(asked) != 1 || asked[0].Address.String() != "203.0.113.7" ||
				!strings.Contains(asked[0].Name, ":") {
				t.Errorf("%q is dead; %+v is asked", r.Dead, asked)
			}
		})
	}
	r, _ := lookedAt(t, "turn", coturnSecret, addresses("203.0.113.7/203.0.113.7"), said("silent ok/ok"))
	if hint := netwatch.Hint(r.Err); !strings.HasPrefix(hint, "have the firewalls of this machine and of its provider") {
		t.Errorf("where the address is its own: %s", hint)
	}
}

// That nobody looked is no failure, and why is said.
func TestVerifyOutsideUnknown(t *testing.T) {
	nobody := netwatch.Sighting{Why: netwatch.WithHint(errors.New("no other machine is here"), "have one")}
	r, _ := lookedAt(t, "turn", coturnSecret, addresses("203.0.113.7/192.168.1.2"), nobody)
	if r.Outcome != netwatch.Skipped || r.Detail != "unknown: no other machine is here (have one)" {
		t.Errorf("%+v", r)
	}
	r, _ = lookedAt(t, "turn", coturnSecret, nil)
	if r.Outcome != netwatch.Failed || netwatch.Hint(r.Err) == "" {
		t.Errorf("without an address: %+v", r)
	}
}

// One family is looked at unless the step names both, and none where to ask for it would
// harm callers or where nobody comes in by it.
func TestVerifyOutsideFamilies(t *testing.T) {
	const v4, v6 = "203.0.113.7/192.168.1.2", "2001:db8::7/2001:db8::7"
	const lends6 = "listening-ip=192.168.1.2\nlistening-ip=2001:db8::7\n"
	for _, c := range []struct {
		name, words, more string
		known             []string
		asked, word       string
	}{
		{"both known", "turn", lends6, []string{v4, v6}, "203.0.113.7", ""},
		{"both wanted", "turn families=ipv4,ipv6", lends6, []string{v4, v6}, "203.0.113.7 2001:db8::7", ""},
		{"no relay for it", "turn families=ipv4,ipv6", "", []string{v4, v6}, "203.0.113.7", "no ipv6 relay: "},
		{"not known", "turn families=ipv4,ipv6", lends6, []string{v4}, "203.0.113.7", "no public IPv6 address is known"},
		{
			"another by default", "turn", "allocation-default-address-family=ipv6\n",
			[]string{v4},
			"",
			"callers who name no family are lent IPv6",
		},
		{"IPv6 alone", "turn", lends6, []string{v6}, "2001:db8::7", ""},
		{"a translator's", "turn", lends6, []string{"203.0.113.7/192.0.0.1", v6}, "2001:db8::7", ""},
		{"a translator's alone", "turn", "", []string{"203.0.113.7/192.0.0.1"}, "", "nobody comes in here (464XLAT)"},
	} {
		conf := coturnSecret + c.more
		if strings.Contains(c.name, "translator") {
			conf = strings.Replace(conf, "external-ip=203.0.113.7\n", "", 1)
		}
		r, asked := lookedAt(t, c.words, conf, addresses(c.known...), said("ok ok/ok"))
		var got []string
		for _, p := range asked {
			got = append(got, p.Address.String())
		}
		if strings.Join(got, " ") != c.asked || !strings.Contains(r.Detail, c.word) || r.Err != nil {
			t.Errorf("%s: %q is asked; %+v", c.name, got, r)
		}
	}
}

// Credentials that are good for ever are given to nobody, and ports of other services are
// not asked at.
func TestVerifyOutsideNot(t *testing.T) {
	for _, c := range []struct{ words, conf, want string }{
		{"turn", "user=a:b\n", "passwords alone"},
		{"turn", "listening-port=3478\n", "neither static-auth-secret nor user"},
		{"turn", coturnSecret + "listening-port=443\n", "at no port from 1024 on"},
		{"livekit", "keys: {k: s}\n", "turn is not enabled in"},
		{"livekit", "keys: {k: s}\nturn: {enabled: true, udp_port: 3478}\n", "which version this one is cannot be found out"},
		{"eturnal", "eturnal: {secret: s, listen: []}\n", "at no port from 1024 on"},
	} {
		r, asked := lookedAt(t, c.words, c.conf, addresses("203.0.113.7/192.168.1.2"), said("ok ok/ok"))
		if r.Outcome != netwatch.Failed || !strings.Contains(r.Err.Error(), c.want) || netwatch.Hint(r.Err) == "" ||
			len(asked) > 0 || !errors.As(r.Err, new(Unasked)) {
			t.Errorf("%s: %+v; %v are asked", c.want, r, asked)
		}
	}
}

// What is wrong with from= is a mistake.
func TestVerifyOutsideMistakes(t *testing.T) {
	for _, words := range []string{
		"turn /f from=", "turn /f from=a from=b", "tls a:1 from=mqtt", "tls a:1 /f from=mqtt", "janus /f from=mqtt",
		"from=mqtt",
	} {
		if step, err := newVerify(Env{}, "verify", strings.Fields(words)); err == nil {
			t.Errorf("%s is %+v", words, step)
		}
	}
	step, err := newVerify(Env{}, "verify", []string{"turn", "/f", "from=mqtt", "families=ipv6"})
	if err != nil || !slices.Equal(NeedsOf(step).Outside, []string{"mqtt"}) || len(NeedsOf(step).Reads) != 1 {
		t.Errorf("%+v, %v", NeedsOf(step), err)
	}
}
