package hooks

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
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
		{"look again: what is not said excludes nothing", "ip-changed", "fire", nil, []string{"any ip", "twice", "v6", "by hand", "bad glob"}},
		{"another event by hand does not look again", "addr-changed", "fire", nil, []string{}},
		{"another event of a rule", "started", "netwatch", nil, []string{"any ip"}},
		{"all fields must fit", "addr-changed", "netlink", map[string]string{"interface": "tun0", "family": "ipv6"}, []string{}},
		{"glob fits", "addr-changed", "netlink", map[string]string{"interface": "tun0", "family": "ipv4"}, []string{"tunnels"}},
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

func TestEventsOfTable(t *testing.T) {
	table := NewTable([]*Rule{{Name: "a", On: []string{"x", "b"}}, {Name: "c", On: []string{"x"}}})
	if diff := cmp.Diff([]string{"b", "x"}, table.Events()); diff != "" {
		t.Error(diff)
	}
}

// BenchmarkMatch shows that rules that do not match cost nothing.
func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			rules := []*Rule{{Name: "fits", On: []string{"ip-changed"}}}
			for i := range n {
				rules = append(rules, &Rule{Name: fmt.Sprint(i), On: []string{fmt.Sprint("other-", i)}})
			}
			table, ev := NewTable(rules), netwatch.NewEvent("ip-changed", "stun", map[string]string{"family": "ipv4"})
			b.ReportAllocs()
			for b.Loop() {
				if len(table.Match(ev)) != 1 {
					b.Fatal("the rule was not found")
				}
			}
		})
	}
}

// A glob takes a file for text like any other.
func TestMatchFiles(t *testing.T) {
	r := &Rule{Match: map[string]string{"file": "*/matrix.example.org/*"}}
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
