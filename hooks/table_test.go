package hooks

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"netwatch"
	_ "netwatch/lab/drawn" // Alike in every run
)

func names(rules []*Rule) []string {
	all := []string{}
	for _, r := range rules {
		all = append(all, r.Name)
	}
	return all
}

func TestMatch(t *testing.T) {
	table := NewTable([]*Rule{
		{Name: "any ip", On: []string{"ip-changed", "started"}},
		{Name: "twice", On: []string{"ip-changed", "ip-changed"}},
		{Name: "v6", On: []string{"ip-changed"}, Match: map[string]string{"family": "ipv6"}},
		{Name: "tunnels", On: []string{"addr-changed"}, Match: map[string]string{"interface": "tun*", "family": "ipv4"}},
		{Name: "by hand", On: []string{"ip-changed"}, From: []string{"fire"}},
		{Name: "bad glob", On: []string{"ip-changed"}, Match: map[string]string{"family": "[ipv4"}},
	})
	cases := []struct {
		name   string
		event  string
		source string
		fields map[string]string
		want   []string
	}{
		{"each rule once, in order", "ip-changed", "stun", map[string]string{"family": "ipv4"}, []string{"any ip", "twice"}},
		{"field fits", "ip-changed", "stun", map[string]string{"family": "ipv6"}, []string{"any ip", "twice", "v6"}},
		{"absent field is empty", "ip-changed", "stun", nil, []string{"any ip", "twice"}},
		{"source fits", "ip-changed", "fire", map[string]string{"family": "ipv4"}, []string{"any ip", "twice", "by hand"}},
		{
			"look again: what is not said excludes nothing", "ip-changed", "fire", nil,
			[]string{"any ip", "twice", "v6", "by hand", "bad glob"},
		},
		{"another event by hand does not look again", "addr-changed", "fire", nil, []string{}},
		{"another event of a rule", "started", "netwatch", nil, []string{"any ip"}},
		{
			"all fields must fit", "addr-changed", "netlink",
			map[string]string{"interface": "tun0", "family": "ipv6"},
			[]string{},
		},
		{
			"glob fits", "addr-changed", "netlink",
			map[string]string{"interface": "tun0", "family": "ipv4"},
			[]string{"tunnels"},
		},
		{"no rule", "cert-renewed", "cert", nil, []string{}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got := names(table.Match(netwatch.NewEvent(c.event, c.source, c.fields)))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A table finds what a look at every rule in turn would.
func TestMatchIsThatOfEachRule(t *testing.T) {
	names, fields := []string{"ip-changed", "x"}, []string{"family", "interface", "old"}
	values := []string{"", "a", "b", "a*", "[a]", "?", `\a`}
	rapid.Check(t, func(t *rapid.T) {
		texts := rapid.MapOf(rapid.SampledFrom(fields), rapid.SampledFrom(values))
		var rules []*Rule
		for i := range rapid.IntRange(0, 8).Draw(t, "rules") {
			on := rapid.SliceOf(rapid.SampledFrom(names)).Draw(t, "on")
			rules = append(rules, &Rule{Name: fmt.Sprint(i), On: on, Match: texts.Draw(t, "match")})
		}
		ev := netwatch.NewEvent(rapid.SampledFrom(names).Draw(t, "event"),
			rapid.SampledFrom([]string{"stun", netwatch.Fired}).Draw(t, "source"), texts.Draw(t, "fields"))
		var want []*Rule
		for _, r := range rules {
			if slices.Contains(r.On, ev.Name) && r.fits(ev) {
				want = append(want, r)
			}
		}
		if got := NewTable(rules).Match(ev); !slices.Equal(got, want) {
			t.Errorf("%v matches %v, want %v", ev, got, want)
		}
	})
}

func TestEventsOfTable(t *testing.T) {
	table := NewTable([]*Rule{{Name: "a", On: []string{"x", "b"}}, {Name: "c", On: []string{"x"}}})
	if diff := cmp.Diff([]string{"b", "x"}, table.Events()); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkMatch shows what rules cost that do not match: those on other events,
// and those on the same event that want other fields.
func BenchmarkMatch(b *testing.B) {
	others := map[string]func(n int) *Rule{
		"events": func(n int) *Rule { return &Rule{Name: fmt.Sprint(n), On: []string{fmt.Sprint("other-", n)}} },
		"fields": func(n int) *Rule {
			return &Rule{
				Name: fmt.Sprint(n), On: []string{"ip-changed"},
				Match: map[string]string{"interface": fmt.Sprint("tun", n)},
			}
		},
	}
	for what, other := range others {
		for _, n := range []int{12, 100} {
			b.Run(fmt.Sprintf("%s/%d", what, n), func(b *testing.B) {
				rules := []*Rule{{Name: "fits", On: []string{"ip-changed"}}}
				for i := range n {
					rules = append(rules, other(i))
				}
				table, ev := NewTable(rules), netwatch.NewEvent("ip-changed", "stun", map[string]string{"interface": "eth0"})
				b.ReportAllocs()
				for b.Loop() {
					if len(table.Match(ev)) != 1 {
						b.Fatal("the rule was not found")
					}
				}
			})
		}
	}
}

// A glob takes a file for text like any other.
func TestMatchFiles(t *testing.T) {
	r := &Rule{On: []string{netwatch.CertRenewed}, Match: map[string]string{"file": "*/matrix.example.org/*"}}
	for file, want := range map[string]bool{
		"/etc/letsencrypt/live/matrix.example.org/fullchain.pem": true,
		"/etc/letsencrypt/live/other.example.org/fullchain.pem":  false,
	} {
		ev := netwatch.NewEvent(netwatch.CertRenewed, netwatch.Fired, map[string]string{"file": file})
		if got := r.fits(ev); got != want {
			t.Errorf("%s: %v", file, got)
		}
	}
}
