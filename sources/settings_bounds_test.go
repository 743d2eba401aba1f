package sources

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// What is wrong with settings is said of the key, and of the item that it is.
func TestMistakesOfEach(t *testing.T) {
	timer := &Timer{At: []Clock{"04:30", "05:00", "04:30"}}
	for name, c := range map[string]struct {
		settings Settings
		want     []string
	}{
		"mqtt": {&MQTT{}, []string{"broker -1", "host -1", "password -1"}},
		"mqtt, insecure": {
			&MQTT{Broker: "mqtt://203.0.113.5:1883", Host: "a", Password: "/p", CA: "/ca", User: "a\n"},
			[]string{"broker -1", "ca -1", "user -1"},
		},
		"router":        {&Router{Every: netwatch.Duration(hastyEvery - 1)}, []string{"every -1"}},
		"router, often": {&Router{Every: netwatch.Duration(hastyEvery)}, nil},
		"netlink": {
			&Netlink{Ignore: []string{"lo", "[", "", "a/b"}}, []string{"ignore 1", "ignore 2", "ignore 3", "interfaces -1"},
		},
		"timer":        {newTimer(), []string{"at -1"}},
		"timer, twice": {timer, []string{"at 2"}},
		"stun, IPv4's servers alone": {
			&STUN{
				Servers: []Server{"192.0.2.1:3478", "192.0.2.2:3478"}, Agree: 2, Families: netwatch.Families,
				Every: netwatch.Duration(time.Minute), Timeout: netwatch.Duration(time.Second),
			}, nil,
		},
		"stun, no server of the family": {
			&STUN{
				Servers: []Server{"192.0.2.1:3478", "192.0.2.2:3478"}, Agree: 2, Families: []netwatch.Family{netwatch.IPv6},
				Every: netwatch.Duration(time.Minute), Timeout: netwatch.Duration(time.Second),
			}, []string{"families -1"},
		},
	} {
		var got []string
		for _, m := range c.settings.Check() {
			got = append(got, fmt.Sprintf("%s %d", m.Key, m.Index))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
	for text, well := range map[string]bool{"1m": true, "59s": false, "x": false} {
		if err := new(Interval).UnmarshalText([]byte(text)); (err == nil) != well {
			t.Errorf("an interval of %s: %v", text, err)
		}
	}
	var ca CAFile
	for text, well := range map[string]bool{"": true, "/ca": true, "ca": false} {
		if err := ca.UnmarshalText([]byte(text)); (err == nil) != well || well && string(ca) != text {
			t.Errorf("%q is %q, %v", text, ca, err)
		}
	}
}

// A peer that learn-address deletes is gone, and it can be called without a word.
func TestSide(t *testing.T) {
	for _, c := range []struct {
		script string
		args   []string
		want   string
	}{
		{"learn-address", nil, "new"},
		{"learn-address", []string{"add"}, "new"},
		{"learn-address", []string{"delete"}, "old"},
		{"up", nil, "new"},
		{"down", nil, "old"},
	} {
		if got := side(c.script, c.args); got != c.want {
			t.Errorf("%s %q is %s", c.script, c.args, got)
		}
	}
}

// How soon the router is asked again follows from how it answers, up to each bound.
func TestPaceOfTheRouter(t *testing.T) {
	now, gateway := time.Now(), netip.MustParseAddr("192.168.1.1")
	const every = time.Minute
	for name, c := range map[string]struct {
		change func(*correspondence)
		want   time.Duration
	}{
		"in haste":      {func(c *correspondence) { c.hasty = now.Add(1) }, hastyEvery},
		"no haste left": {func(c *correspondence) { c.hasty, c.answers = now, true }, every},
		"it answers":    {func(c *correspondence) { c.answers = true }, every},
		"by UPnP":       {func(c *correspondence) { c.answers, c.protocol = true, upnp }, upnpFactor * every},
		"silent":        {func(c *correspondence) { c.ever, c.silent = true, now.Add(1-givenUp) }, every},
		"given up":      {func(c *correspondence) { c.ever, c.silent, c.tries = true, now.Add(-givenUp), mostTries }, every},
		"never answered": {
			func(c *correspondence) { c.silent, c.to.gateway, c.tries = now, gateway, mostTries-1 }, hastyEvery,
		},
		"tried enough": {func(c *correspondence) { c.silent, c.to.gateway, c.tries = now, gateway, mostTries }, every},
		"no router":    {func(c *correspondence) { c.silent = now }, every},
	} {
		one := &correspondence{routerSource: &routerSource{every: every}}
		if c.change(one); one.pace(now) != c.want {
			t.Errorf("%s: %s, want %s", name, one.pace(now), c.want)
		}
	}
	for silence, want := range map[time.Duration]time.Duration{givenUp - 1: hastyEvery, givenUp: silentEvery} {
		one := &correspondence{routerSource: &routerSource{every: hastyEvery}}
		if one.ever, one.silent, one.tries = true, now.Add(-silence), mostTries; one.pace(now) != want {
			t.Errorf("after %s it is asked in %s, want %s", silence, one.pace(now), want)
		}
	}
}

// While a hint is open, so many more are looked at, and what comes then counts later.
func TestFurtherHints(t *testing.T) {
	now := time.Now()
	h := &hints{address: host(1), open: true}
	for n := range mostExtra + 1 {
		if h.further(host(2), now); h.late != (n == mostExtra) {
			t.Errorf("the %d. counts later: %v", n+1, h.late)
		}
	}
	if h.extra != mostExtra || len(h.looks) != mostExtra {
		t.Errorf("%d are looked at, %d times", h.extra, len(h.looks))
	}
}

// In an outage the pauses grow after two minutes, up to the usual one.
func TestPaceOfAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pace{every: time.Hour, polled: time.Now()}
		for out, want := range map[time.Duration]time.Duration{
			0: outagePause, outageTime: outagePause, outageTime + 8: (outageTime + 8) / outageShare,
		} {
			if p.out = time.Now().Add(-out); p.after(false) != want {
				t.Errorf("after %s it waits %s, want %s", out, p.after(false), want)
			}
		}
		if p.out = time.Now(); p.spare() != 0 {
			t.Error("it can wait in an outage")
		}
		if p.after(true); !p.out.IsZero() {
			t.Error("it is not over")
		}
	})
}

// The address to ask from is the one of the family that files name, or the one before while
// they cannot be read.
func TestFromOfFiles(t *testing.T) {
	four, six := host(1), netip.MustParseAddr("2001:db8::1")
	named, failure := []netip.Addr{six, four}, error(nil)
	from := func(family netwatch.Family) netip.Addr {
		s := newSTUN().(*STUN)
		return s.from(family, host(9), func() ([]netip.Addr, error) { return slices.Clone(named), failure },
			func() []netip.Addr { return []netip.Addr{four, six} })
	}
	if from(netwatch.IPv4) != four || from(netwatch.IPv6) != six {
		t.Errorf("it is %s and %s", from(netwatch.IPv4), from(netwatch.IPv6))
	}
	if named = named[:1]; from(netwatch.IPv4).IsValid() {
		t.Errorf("of none it is %s", from(netwatch.IPv4))
	}
	if failure = errors.New("being written"); from(netwatch.IPv4) != host(9) {
		t.Errorf("while it is written it is %s", from(netwatch.IPv4))
	}
}

// Services of a version from 1 to 9 are known.
func TestServicesOfVersions(t *testing.T) {
	var text strings.Builder
	for _, version := range []string{"0", "1", "9", ":", "10", ""} {
		fmt.Fprintf(&text, "<service><serviceType>%s%s</serviceType></service>", wanServices[0], version)
	}
	all := readServices([]byte("<root>" + text.String() + "</root>"))
	if len(all) != 2 || all[0].Type != wanServices[0]+"1" || all[1].Type != wanServices[0]+"9" {
		t.Errorf("they are %+v", all)
	}
}
