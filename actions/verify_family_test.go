package actions

import (
	"strings"
	"testing"

	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/servers"
	"netwatch/turn/turntest"
)

// Callers name no family. Where they can be right, they are stood in for; where none
// can, those are who name IPv6, unless that would take IPv4 from others.
func TestVerifyApproach(t *testing.T) {
	const secret = "realm=" + turntest.Realm + "\nstatic-auth-secret=" + turntest.Secret + "\n"
	const six, both, pair6 = "2001:db8::7", "203.0.113.9 2001:db8::7", "external-ip=2001:db8::7/2001:db8::1\n"
	const not, byName = "callers who name no family are not reached: ", "ipv6 2001:db8::7 (udp)"
	const keep, keeps = "allocation-default-address-family=keep\n", " (allocation-default-address-family=keep in "
	for name, c := range map[string]struct {
		conf, known string
		no4         bool
		unnamed     string // What they get
		outcome     netwatch.Outcome
		want        []string
	}{
		"no IPv4": {
			"", six, true, "127.0.0.1", netwatch.Unchanged,
			[]string{byName, not + "this machine has no way out over IPv4" + keeps},
		},
		"no IPv4, everywhere": {
			"listening-ip=::\n", six, true, "", netwatch.Unchanged,
			[]string{byName, not},
		},
		"no IPv4, kept": {
			keep, six, true, six, netwatch.Unchanged,
			[]string{byName},
		},
		"no IPv4, kept, another": {
			keep, six, true, "2001:db8::8", netwatch.Failed,
			[]string{"relays over 2001:db8::8"},
		},
		"no IPv4, promised": {
			turnConfig, six, true, "127.0.0.1", netwatch.Unchanged,
			[]string{byName, not},
		},
		"IPv6 alone promised": {
			pair6, both, false, "192.168.1.2", netwatch.Unchanged,
			[]string{byName, not + "external-ip in ", "names IPv6 alone" + keeps},
		},
		"IPv6 alone promised, kept": {
			pair6 + keep, both, false, six, netwatch.Unchanged,
			[]string{byName},
		},
		"IPv6 alone promised, everywhere": {
			pair6 + "relay-ip=0.0.0.0\n", both, false, "192.168.1.2", netwatch.Skipped,
			[]string{"unknown: " + not, "asking for IPv6 would take IPv4 from others"},
		},
		"IPv6 alone promised, not known": {
			pair6, "203.0.113.9", false, "192.168.1.2", netwatch.Skipped,
			[]string{"unknown: " + not},
		},
		"IPv6 promised, IPv4 is our own": {
			pair6, "127.0.0.1 " + six, false, "127.0.0.1", netwatch.Unchanged,
			[]string{"ipv4 127.0.0.1 (udp)"},
		},
		"nothing promised": {
			"", both, false, "192.168.1.2", netwatch.Failed,
			[]string{"relays over 192.168.1.2"},
		},
		"IPv4 not known": {
			"", six, false, "192.168.1.2", netwatch.Unchanged,
			[]string{byName, not, "names no IPv4 address, and none is known"},
		},
		"both promised": {
			turnConfig, both, false, "192.168.1.2", netwatch.Failed,
			[]string{"relays over 192.168.1.2"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := startTurn(t, turntest.Proper(t, c.unnamed, func(request *stun.Message) []stun.Setter {
				if _, err := request.Get(stun.AttrRequestedAddressFamily); err != nil {
					return nil
				}
				return turntest.Lends(request, six)
			}))
			f.no4 = c.no4
			r := f.verify(t, secret+c.conf, strings.Fields(c.known)...)
			text := r.Detail
			if r.Err != nil {
				text = r.Err.Error()
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("%q is not in %q", want, text)
				}
			}
			if r.Outcome != c.outcome || !strings.Contains(strings.Join(c.want, " "), not) && strings.Contains(text, not) {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Without IPv4, IPv6 is asked for by name wherever the server relays from.
func TestVerifyIPv6WithoutIPv4(t *testing.T) {
	f := startTurn(t, turntest.Proper(t, "2001:db8::7", nil))
	f.families, f.no4 = servers.Families{IPv6: true}, true
	wantTurn(t, f.verify(t, turnConfig+"relay-ip=::\n", "2001:db8::7"), "ipv6 2001:db8::7 (udp)")
	f.no4 = false
	r := f.verify(t, turnConfig+"relay-ip=::\n", "2001:db8::7")
	if r.Outcome != netwatch.Skipped || !strings.Contains(r.Detail, "no ipv6 relay: neither") {
		t.Errorf("%+v", r)
	}
}
