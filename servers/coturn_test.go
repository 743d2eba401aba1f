package servers

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"netwatch"
)

// addresses reads "203.0.113.5 2001:db8::5", each for its family.
func addresses(text string) map[netwatch.Family]netip.Addr {
	all := make(map[netwatch.Family]netip.Addr)
	for _, word := range strings.Fields(text) {
		a := netip.MustParseAddr(word)
		all[netwatch.FamilyOf(a)] = a
	}
	return all
}

// wanted is the public addresses and the machine's own; the last of each family is
// that by which the public one was asked.
func wanted(public, own string, mode Private) Wanted {
	w := Wanted{Public: netwatch.Addresses{}, Version: Version{1, 13}, Options: Options{privateOption.Name: string(mode)}}
	for _, word := range strings.Fields(own) {
		w.Here = append(w.Here, netip.MustParseAddr(word))
	}
	for family, a := range addresses(public) {
		w.Public[family] = netwatch.Address{Address: a, Own: addresses(own)[family]}
	}
	return w
}

const (
	own4  = "192.168.50.10"
	own46 = "192.168.50.10 fd50::10"
)

// goldens are named after their case; empty own is own46, "-" none, empty mode keep.
var goldens = []struct {
	name, in, public, own string
	mode                  Private
	out                   string
}{
	{
		name: "plain", in: "realm=r\nexternal-ip=203.0.113.5\nport=3478\n", public: "198.51.100.7", own: "-",
		out: "realm=r\nexternal-ip=198.51.100.7\nport=3478\n",
	},
	{
		name: "plain, nothing to change", in: "external-ip=198.51.100.7", public: "198.51.100.7", own: "-",
		out: "external-ip=198.51.100.7",
	},
	{name: "none yet", in: "realm=r\n", public: "198.51.100.7", own: "-", out: "realm=r\nexternal-ip=198.51.100.7\n"},
	{
		name: "none yet, last newline missing", in: "realm=r", public: "198.51.100.7",
		out: "realm=r\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "none yet, carriage returns", in: "realm=r\r\nport=1", public: "198.51.100.7",
		out: "realm=r\r\nport=1\r\nexternal-ip=198.51.100.7\r\n",
	},
	{name: "nothing at all", in: "", public: "198.51.100.7", out: "external-ip=198.51.100.7\n"},
	{
		name: "empty value of a failed script", in: "external-ip=\nport=1\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\nport=1\n",
	},
	{
		name: "empty value behind a blank", in: "external-ip= \n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7 \n",
	},
	{name: "key alone", in: "external-ip  \n", public: "198.51.100.7", out: "external-ip=198.51.100.7  \n"},
	{
		name: "empty value before a good one", in: "external-ip=\nexternal-ip=203.0.113.5\n", public: "203.0.113.5",
		out: "external-ip=203.0.113.5\n",
	},
	{
		name: "pair stays a pair", in: "external-ip=203.0.113.5/192.168.99.99\n", public: "198.51.100.7",
		own: "192.168.99.99",
		out: "external-ip=198.51.100.7/192.168.99.99\n",
	},
	{
		name: "pair whose private part is gone", own: own4, public: "198.51.100.7",
		in:  "external-ip=203.0.113.5/192.168.99.99\nexternal-ip=203.0.113.5/192.168.99.99\nport=1\n",
		out: "external-ip=198.51.100.7/192.168.50.10\nport=1\n",
	},
	{
		name: "pair whose private part is gone, and one whose is not", own: "192.168.50.11 192.168.50.10",
		public: "198.51.100.7",
		in:     "external-ip=203.0.113.5/192.168.99.99\nexternal-ip=203.0.113.5/192.168.50.11\n",
		out:    "external-ip=198.51.100.7/192.168.50.10\nexternal-ip=198.51.100.7/192.168.50.11\n",
	},
	{
		name: "auto, plain, and no address of ours is certain", in: "external-ip=203.0.113.5\n", public: "198.51.100.7",
		own: "-", mode: PrivateAuto, out: "external-ip=198.51.100.7\n",
	},
	{
		name: "auto, pair, and no address of ours is certain", public: "198.51.100.7", own: "-", mode: PrivateAuto,
		in:  "relay-ip=192.168.99.99\nexternal-ip=203.0.113.5/192.168.99.99\n",
		out: "relay-ip=192.168.99.99\nexternal-ip=198.51.100.7/192.168.99.99\n",
	},
	{
		name: "auto, pair and an empty value", public: "198.51.100.7", mode: PrivateAuto,
		in:  "external-ip=203.0.113.5/192.168.50.10\nexternal-ip=\n",
		out: "external-ip=198.51.100.7/192.168.50.10\n",
	},
	{
		name: "none, none yet", in: "realm=r\n", public: "198.51.100.7", mode: PrivateNone,
		out: "realm=r\nexternal-ip=198.51.100.7\n",
	},
	{name: "none, none yet and IPv6 alone", in: "realm=r\n", public: "2001:db8::7", mode: PrivateNone, out: "realm=r\n"},
	{
		name: "pair without public part", in: "external-ip=/192.168.50.10\n", public: "198.51.100.7", own: "192.168.50.10",
		out: "external-ip=198.51.100.7/192.168.50.10\n",
	},
	{
		name: "pair with host name", in: "external-ip=turn.example.org/192.168.50.10\n", public: "198.51.100.7",
		own: "192.168.50.10",
		out: "external-ip=198.51.100.7/192.168.50.10\n",
	},
	{
		name: "pair after an empty value", in: "external-ip=203.0.113.5/192.168.50.10\nexternal-ip=\n", public: "203.0.113.5",
		own: "192.168.50.10",
		out: "external-ip=203.0.113.5/192.168.50.10\n",
	},
	{
		name: "pair without private part", in: "external-ip=203.0.113.5/\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\n",
	},
	{
		name: "pair with a prefix length", in: "external-ip=203.0.113.5/24\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\n",
	},
	{
		name: "pair across families", in: "external-ip=203.0.113.5/fd50::10\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\n",
	},
	{
		name: "two families", in: "a\nexternal-ip=203.0.113.5\nb\n", public: "198.51.100.7 2001:db8::7",
		out: "a\nexternal-ip=198.51.100.7\nb\n",
	},
	{
		name: "two families, two plain lines of a template", in: "external-ip=203.0.113.5\n#\nexternal-ip=2001:db8::5\n",
		public: "198.51.100.7 2001:db8::7",
		out:    "external-ip=198.51.100.7\n#\nexternal-ip=2001:db8::7\n",
	},
	{
		name: "two families, from nothing", in: "a", public: "198.51.100.7 2001:db8::7",
		out: "a\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "two families, last newline missing", in: "external-ip=", public: "198.51.100.7 2001:db8::7",
		out: "external-ip=198.51.100.7",
	},
	{
		name: "two families, one pair stands", in: "external-ip=203.0.113.5/10.0.0.9\n", public: "198.51.100.7 2001:db8::7",
		own: "10.0.0.9 fd50::10",
		out: "external-ip=198.51.100.7/10.0.0.9\n",
	},
	{
		name: "two families, relay-ip tells", in: "relay-ip=10.0.0.9\nlistening-ip=10.0.0.8\nlistening-ip=fd00::8\n" +
			"external-ip=\n", public: "198.51.100.7 2001:db8::7", own: "10.0.0.9 fd00::8", mode: PrivateAuto,
		out: "relay-ip=10.0.0.9\nlistening-ip=10.0.0.8\nlistening-ip=fd00::8\nexternal-ip=198.51.100.7/10.0.0.9\n",
	},
	{
		name: "two families, listening on loopback too", in: "listening-ip=127.0.0.1\nlistening-ip=10.0.0.8\n",
		public: "198.51.100.7 2001:db8::7", own: "10.0.0.8", mode: PrivateAuto,
		out: "listening-ip=127.0.0.1\nlistening-ip=10.0.0.8\nexternal-ip=198.51.100.7/10.0.0.8\n",
	},
	{
		name: "two families, several relay addresses", in: "relay-ip=10.0.0.8\nrelay-ip=10.0.0.9\n",
		public: "198.51.100.7 2001:db8::7", own: "10.0.0.8 10.0.0.9", mode: PrivateAuto,
		out: "relay-ip=10.0.0.8\nrelay-ip=10.0.0.9\nexternal-ip=198.51.100.7/10.0.0.8\nexternal-ip=198.51.100.7/10.0.0.9\n",
	},
	{
		name: "unknown family keeps its pair", in: "external-ip=203.0.113.5/10.0.0.9\nexternal-ip=2001:db8::5/fd00::9\n",
		public: "198.51.100.7", own: "10.0.0.9",
		out: "external-ip=198.51.100.7/10.0.0.9\nexternal-ip=2001:db8::5/fd00::9\n",
	},
	{
		name: "unknown family stood plain", in: "external-ip=203.0.113.5\n", public: "2001:db8::7",
		out: "external-ip=203.0.113.5\n",
	},
	{
		name: "unknown family, its line was never honoured", in: "external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n",
		public: "203.0.113.5", own: "-",
		out: "external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n",
	},
	{
		name: "unknown family, its pair has no public part", in: "external-ip=203.0.113.5/10.0.0.9\nexternal-ip=/fd00::9\n",
		public: "203.0.113.5", own: "10.0.0.9",
		out: "external-ip=203.0.113.5/10.0.0.9\nexternal-ip=/fd00::9\n",
	},
	{
		name: "multi-homed", in: "external-ip=203.0.113.5/10.0.0.8\n#\nexternal-ip=203.0.113.6/10.0.0.9\n",
		public: "198.51.100.7", own: "10.0.0.9 10.0.0.8",
		out: "external-ip=198.51.100.7/10.0.0.8\n#\nexternal-ip=203.0.113.6/10.0.0.9\n",
	},
	{
		name: "same private part twice", in: "external-ip=203.0.113.5/10.0.0.8\nexternal-ip=203.0.113.6/10.0.0.8\n",
		public: "198.51.100.7", own: "10.0.0.8",
		out: "external-ip=198.51.100.7/10.0.0.8\nexternal-ip=203.0.113.6/10.0.0.8\n",
	},
	{
		name: "plain wins over a pair", in: "external-ip=203.0.113.5/10.0.0.8\nexternal-ip=203.0.113.6\n",
		public: "198.51.100.7", own: "10.0.0.8",
		out: "external-ip=203.0.113.5/10.0.0.8\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "plain twice", in: "external-ip=203.0.113.5\nexternal-ip=203.0.113.5\n", public: "203.0.113.5", own: "-",
		out: "external-ip=203.0.113.5\nexternal-ip=203.0.113.5\n",
	},
	{name: "garbage", in: "external-ip=999.1.1.1\n", public: "198.51.100.7", out: "external-ip=198.51.100.7\n"},
	{
		name: "garbage before a good one", in: "external-ip=a,b\n#\nexternal-ip=203.0.113.5\n", public: "198.51.100.7",
		out: "external-ip=a,b\n#\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "address and port", in: "external-ip=203.0.113.5:3478\n", public: "203.0.113.5",
		out: "external-ip=203.0.113.5\n",
	},
	{
		name: "address and comment", in: "external-ip=203.0.113.5 # home\n", public: "203.0.113.5",
		out: "external-ip=203.0.113.5\n",
	},
	{name: "host name", in: "external-ip=localhost\n", public: "198.51.100.7", out: "external-ip=198.51.100.7\n"},
	{
		name: "mapped address", in: "external-ip=::ffff:203.0.113.5\n", public: "203.0.113.5",
		out: "external-ip=203.0.113.5\n",
	},
	{name: "leading zero", in: "external-ip=203.0.113.05\n", public: "203.0.113.5", out: "external-ip=203.0.113.5\n"},
	{
		name: "spelled otherwise but the same", in: "external-ip=2001:DB8:0::5 / FD50::10\n",
		public: "2001:db8::5", own: "fd50::10",
		out: "external-ip=2001:DB8:0::5 / FD50::10\n",
	},
	{
		name: "indented, blanks around", in: " \texternal-ip = 203.0.113.5 \t\n", public: "198.51.100.7",
		out: " \texternal-ip = 198.51.100.7 \t\n",
	},
	{
		name: "blank for a separator", in: "external-ip\t203.0.113.5\n", public: "198.51.100.7",
		out: "external-ip\t198.51.100.7\n",
	},
	{name: "quotes", in: "external-ip=\"203.0.113.5\" \n", public: "198.51.100.7", out: "external-ip=\"198.51.100.7\" \n"},
	{
		name: "quotes, a second line", in: "external-ip = \"203.0.113.5\"\r\n", public: "198.51.100.7 2001:db8::7",
		mode: PrivateAuto,
		out:  "external-ip = \"198.51.100.7/192.168.50.10\"\r\n",
	},
	{
		name: "quotes not closed", in: "external-ip=\"203.0.113.5\n", public: "198.51.100.7",
		out: "external-ip=\"198.51.100.7\n",
	},
	{
		name: "quotes with nothing in them", in: "external-ip=\"\"\n", public: "198.51.100.7",
		out: "external-ip=\"198.51.100.7\"\n",
	},
	{
		name: "carriage return", in: "external-ip=203.0.113.5\r\nport=1\r\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\r\nport=1\r\n",
	},
	{
		name: "look-alikes", in: "#external-ip=1\n-external-ip=1\nExternal-IP=1\nX=1\nexternal-ip-foo=1\n\rexternal-ip=1\n",
		public: "198.51.100.7",
		out: "#external-ip=1\n-external-ip=1\nExternal-IP=1\nX=1\nexternal-ip-foo=1\n\rexternal-ip=1\n" +
			"external-ip=198.51.100.7\n",
	},
	{
		name: "byte order mark", in: "\uFEFFexternal-ip=203.0.113.5\n", public: "198.51.100.7",
		out: "\uFEFFexternal-ip=203.0.113.5\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "NUL hides the rest", in: "external-ip=203.0.113.5\x00junk\n", public: "198.51.100.7 2001:db8::7",
		out: "external-ip=198.51.100.7\x00junk\n",
	},
	{
		name: "not UTF-8", in: "realm=\xff\xfe\nexternal-ip=\xff\n", public: "198.51.100.7",
		out: "realm=\xff\xfe\nexternal-ip=198.51.100.7\n",
	},
	{
		name: "end of a line too long", in: "#" + strings.Repeat("x", 1022) + "external-ip=203.0.113.5\na\n",
		public: "198.51.100.7",
		out:    "#" + strings.Repeat("x", 1022) + "external-ip=198.51.100.7\na\n",
	},
	{
		name: "surplus end of a line too long", in: "external-ip=203.0.113.5\n#" + strings.Repeat("x", 1022) +
			"external-ip=203.0.113.6\na\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\n#" + strings.Repeat("x", 1022) + "external-ip=198.51.100.7\na\n",
	},
	{
		name: "start of a line too long", in: "external-ip=1" + strings.Repeat(" ", 1010) + "port=1\n",
		public: "198.51.100.7",
		out:    "external-ip=198.51.100.7\nport=1\n",
	},
	{
		name: "indented too far", in: strings.Repeat(" ", 1009) + "external-ip=1\na\n", public: "198.51.100.7",
		out: "external-ip=198.51.100.7\na\n",
	},
	{
		name: "indented too far, last newline missing", in: strings.Repeat(" ", 1009) + "external-ip=1",
		public: "198.51.100.7", out: "external-ip=198.51.100.7",
	},
	{
		name: "auto", in: "external-ip=203.0.113.5\n", public: "198.51.100.7", mode: PrivateAuto,
		out: "external-ip=198.51.100.7/192.168.50.10\n",
	},
	{
		name: "auto replaces private parts", in: "external-ip=203.0.113.5/10.0.0.8\nexternal-ip=203.0.113.5/10.0.0.9\n",
		public: "198.51.100.7", mode: PrivateAuto,
		out: "external-ip=198.51.100.7/192.168.50.10\n",
	},
	{
		name: "auto keeps an unknown family", in: "external-ip=2001:db8::5/fd00::9\n", public: "198.51.100.7",
		mode: PrivateAuto,
		out:  "external-ip=2001:db8::5/fd00::9\n",
	},
	{
		name: "none", in: "external-ip=203.0.113.5/10.0.0.8\nexternal-ip=2001:db8::5/fd00::9\n",
		public: "198.51.100.7 2001:db8::7", own: "-", mode: PrivateNone,
		out: "external-ip=198.51.100.7\n",
	},
	{
		name: "none, IPv6 alone", in: "external-ip=\n", public: "2001:db8::7", own: "-", mode: PrivateNone,
		out: "external-ip=2001:db8::7\n",
	},
	{
		name: "none, IPv4 not known now", in: "external-ip=203.0.113.5\n", public: "2001:db8::7", own: "-", mode: PrivateNone,
		out: "external-ip=203.0.113.5\n",
	},
}

func TestRewrite(t *testing.T) {
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			if g.mode == "" {
				g.mode = PrivateKeep
			}
			own := strings.TrimPrefix(cmp.Or(g.own, own46), "-")
			got, _, err := rewriteCoturn([]byte(g.in), wanted(g.public, own, g.mode))
			if err != nil {
				t.Fatal(err)
			}
			if diff := gocmp.Diff(g.out, string(got)); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			checkRewrite(t, []byte(g.in), wanted(g.public, own, g.mode))
		})
	}
}

// Each line is compared with each: there may not be so many that it takes long.
func TestRewriteOfManyLines(t *testing.T) {
	for _, key := range []string{"external-ip=/::", "relay-ip=::", "listening-ip=::"} {
		for n, well := range map[int]bool{maxNamed: true, maxNamed + 1: false, 1 << 16: false} {
			conf := []byte(strings.Repeat(key+"1\n", n))
			_, _, err := rewriteCoturn(conf, wanted("2001:db8::1", "", PrivateKeep))
			if (err == nil) != well || !well && (!strings.Contains(err.Error(), "lines of external-ip") ||
				netwatch.Hint(err) == "") {
				t.Errorf("%d lines of %s: %v", n, key, err)
			}
		}
	}
}

func TestRewriteRefuses(t *testing.T) {
	for _, c := range []struct {
		name, in, own string
		public        map[netwatch.Family]netip.Addr
		mode          Private
		want, hint    string
	}{
		{"nothing known", "external-ip=\n", own46, nil, PrivateKeep, "no public address", ""},
		{
			"mapped", "", own46,
			map[netwatch.Family]netip.Addr{netwatch.IPv6: netip.MustParseAddr("::ffff:198.51.100.7")},
			PrivateKeep, "::ffff:198.51.100.7", "",
		},
		{
			"zone", "", own46,
			map[netwatch.Family]netip.Addr{netwatch.IPv6: netip.MustParseAddr("2001:db8::7%eth0")},
			PrivateKeep, "%eth0", "",
		},
		{
			"unspecified", "", own46,
			map[netwatch.Family]netip.Addr{netwatch.IPv4: netip.IPv4Unspecified()},
			PrivateKeep, "0.0.0.0", "",
		},
		{
			"other family", "", own46,
			map[netwatch.Family]netip.Addr{netwatch.IPv4: netip.MustParseAddr("2001:db8::7")},
			PrivateKeep, "ipv4", "",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := wanted("", c.own, c.mode)
			for family, a := range c.public {
				w.Public[family] = netwatch.Address{Address: a}
			}
			got, _, err := rewriteCoturn([]byte(c.in), w)
			if err == nil || got != nil {
				t.Fatalf("got %q and error %v", got, err)
			}
			if !strings.Contains(err.Error(), c.want) || !strings.Contains(netwatch.Hint(err), c.hint) {
				t.Errorf("error %q, hint %q; want %q, %q", err, netwatch.Hint(err), c.want, c.hint)
			}
		})
	}
}

func TestAdvertised(t *testing.T) {
	for in, want := range map[string]string{
		"": "none", "external-ip=\n": "0.0.0.0", "external-ip=x\n": "none",
		"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6":         "203.0.113.6",
		"external-ip=2001:db8::5/fd00::9\nexternal-ip=203.0.113.5/10.0.0.1": "203.0.113.5, 2001:db8::5",
	} {
		if got := list(coturnAdvertised([]byte(in), nil)); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

// What nobody gets is what stands beside a plain line, and the later pairs of one private
// part.
func TestUnheeded(t *testing.T) {
	for in, want := range map[string]string{
		"": "none", "external-ip=203.0.113.5\nexternal-ip=203.0.113.5\n": "none",
		"external-ip=203.0.113.5\nexternal-ip=2001:db8::5\n":                                   "2001:db8::5",
		"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6":                            "203.0.113.5",
		"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.2":                   "none",
		"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=203.0.113.6/10.0.0.1":                   "203.0.113.6",
		"external-ip=203.0.113.5/10.0.0.1\nexternal-ip=2001:db8::5/fd00::9\nexternal-ip=x/y\n": "none",
	} {
		if got := list(coturnUnheeded([]byte(in))); got != want {
			t.Errorf("%q: %s, want %s", in, got, want)
		}
	}
}

func BenchmarkRewrite(b *testing.B) {
	conf := []byte(strings.Repeat("# a line of comment as Debian's turnserver.conf has many\n", 800) +
		"external-ip=203.0.113.5\nrealm=r\n")
	w := wanted("198.51.100.7", own46, PrivateKeep)
	b.SetBytes(int64(len(conf)))
	b.ReportAllocs()
	for b.Loop() {
		out, _, err := rewriteCoturn(conf, w)
		if err != nil || bytes.Equal(out, conf) {
			b.Fatal("not rewritten", err)
		}
	}
}

// What coturn is bound to is every line that names an address, and no comment.
func TestBound(t *testing.T) {
	const conf = "listening-ip=192.0.2.1\n listening-ip = 0.0.0.0\n#relay-ip=192.0.2.9\nrelay-ip=2001:db8::1\n" +
		"listening-ip=eth0\nexternal-ip=203.0.113.1/192.0.2.3\nlistening-ip=192.0.2.2\nrelay-device=eth1\n"
	want := []netip.Addr{
		netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1"),
		netip.MustParseAddr("192.0.2.2"),
	}
	if got := coturnBound([]byte(conf)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}
