package servers

import (
	"bytes"
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"netwatch"
)

// A model is coturn's view of its file, written from its C source and not from
// our code: what it keeps after reading all lines.
type model struct {
	plain string      // the first address without a slash that it could take
	maps  [][2]string // public and private of those with one
	rest  []string    // what all other lines say, in order
	bytes string      // their bytes
}

// read goes through the file as fgets does, with a buffer for 1023 bytes.
func read(conf []byte) model {
	var m model
	for len(conf) > 0 {
		n := 0
		for n < len(conf) && n < 1023 {
			n++
			if conf[n-1] == '\n' {
				break
			}
		}
		m.line(conf[:n])
		conf = conf[n:]
	}
	return m
}

// line is one turn of the loop in read_config_file.
func (m *model) line(raw []byte) {
	c := strings.SplitN(string(raw), "\x00", 2)[0]
	for c != "" && strings.IndexByte(" \t\n", c[0]) >= 0 {
		c = c[1:]
	}
	comment := c == "" || c[0] == '#'
	for c != "" && strings.IndexByte(" \t\n\v\f\r", c[len(c)-1]) >= 0 {
		c = c[:len(c)-1]
	}
	name, value := c, ""
	for i := range len(c) {
		if strings.IndexByte(" =\t", c[i]) >= 0 {
			name, value = c[:i], c[i:]
			break
		}
	}
	for value != "" && strings.IndexByte(" =\t", value[0]) >= 0 {
		value = value[1:]
	}
	if value != "" && value[0] == '"' {
		value = value[1:]
		for value != "" && strings.IndexByte("\n\r \t", value[len(value)-1]) >= 0 {
			value = value[:len(value)-1]
		}
		value = strings.TrimSuffix(value, `"`)
	}
	if comment || name != "external-ip" {
		m.rest = append(m.rest, c)
		m.bytes += string(raw)
		return
	}
	m.option(value)
}

// option is set_option for external-ip.
func (m *model) option(value string) {
	if i := strings.IndexByte(value, '/'); i >= 0 {
		public, private := take(value[:i]), take(value[i+1:])
		if public != "" && private != "" {
			m.maps = append(m.maps, [2]string{public, private})
		}
	} else if m.plain == "" {
		m.plain = take(value)
	}
}

// take is make_ioa_addr without name resolution: empty text is 0.0.0.0.
func take(text string) string {
	if len(text) > 256 {
		text = text[:256]
	}
	text = strings.Trim(text, " ")
	if text == "" {
		return "0.0.0.0"
	}
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return ""
	}
	return a.String()
}

// advertises is what a caller gets whose relay is at the address private.
func (m *model) advertises(private string) string {
	if m.plain != "" {
		return m.plain
	}
	for _, pair := range m.maps {
		if pair[1] == private {
			return pair[0]
		}
	}
	return private
}

// names says whether there is an address or a pair to name one.
func (m *model) names() bool {
	plain, _ := netip.ParseAddr(m.plain)
	return writable(plain) || slices.ContainsFunc(m.maps, func(pair [2]string) bool {
		public, private := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
		return writable(private) && public.Is4() == private.Is4()
	})
}

// crossed says whether an address is paired with one of the other family: what coturn
// makes of that nobody wants.
func (m *model) crossed(private string) bool {
	return slices.ContainsFunc(m.maps, func(pair [2]string) bool {
		return pair[1] == private && strings.Contains(pair[0], ":") != strings.Contains(private, ":")
	})
}

// A failer is testing.T, testing.F or rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkRewrite looks at all that a rewrite promises.
func checkRewrite(t failer, conf []byte, w Wanted) {
	t.Helper()
	before := bytes.Clone(conf)
	out, _, err := rewriteCoturn(conf, w)
	if !bytes.Equal(before, conf) {
		t.Fatalf("%q was changed in place to %q", before, conf)
	}
	if err != nil {
		if out != nil {
			t.Fatalf("%q: result and error %v", conf, err)
		}
		return
	}
	if again, _, err := rewriteCoturn(out, w); err != nil || !bytes.Equal(again, out) {
		t.Fatalf("twice is not once\n in    %q\n once  %q\n twice %q %v", conf, out, again, err)
	}
	was, is := read(conf), read(out)
	checkRest(t, conf, was, is)
	// Whoever is here, whatever the file has, may be relayed from.
	relays := map[string]bool{"192.0.2.250": true, "2001:db8:f::1": true}
	for _, pair := range append(was.maps, is.maps...) {
		relays[pair[1]] = true
	}
	for _, own := range w.Here {
		relays[own.String()] = true
	}
	for relay := range relays {
		if was.crossed(relay) || !writable(netip.MustParseAddr(relay)) {
			continue
		}
		checkRelay(t, relay, &was, &is, w, out)
	}
}

// checkRelay compares what callers get whose relay is at an address. What was right
// stays right, what was ours becomes the new one, and nothing else changes.
func checkRelay(t failer, relay string, was, is *model, w Wanted, out []byte) {
	t.Helper()
	before, after := netip.MustParseAddr(was.advertises(relay)), netip.MustParseAddr(is.advertises(relay))
	ours := after == w.Public[netwatch.FamilyOf(after)].Address
	switch {
	case after == before:
		if !writable(before) && len(is.maps) == 0 && w.private() != PrivateNone {
			t.Fatalf("callers still get %s: %q", after, out)
		}
	case ours && netwatch.FamilyOf(after) != netwatch.FamilyOf(before) && writable(before) && was.names() &&
		w.private() == PrivateKeep:
		t.Fatalf("relay at %s: the family changed from %s to %s: %q", relay, before, after, out)
	case !ours && writable(before) && after.String() != relay && w.private() != PrivateNone:
		t.Fatalf("relay at %s: callers got %s and get %s: %q", relay, before, after, out)
	}
	if w.private() == PrivateKeep && was.plain == "" && is.plain != "" && was.names() {
		t.Fatalf("a pair became plain: %q", out)
	}
	if plain, _ := netip.ParseAddr(was.plain); w.private() == PrivateKeep && writable(plain) && is.plain == "" {
		t.Fatalf("a plain line became a pair: %q", out)
	}
}

// private is the option of that name.
func (w Wanted) private() Private {
	return cmp.Or(Private(w.Options[privateOption.Name]), PrivateKeep)
}

// checkRest wants everything but external-ip to be the same to coturn, and to
// the byte unless coturn cuts lines; a missing last newline may be added.
func checkRest(t failer, conf []byte, was, is model,
) {
	t.Helper()
	blank := func(s string) bool { return s == "" }
	a, b := slices.DeleteFunc(slices.Clone(was.rest), blank), slices.DeleteFunc(slices.Clone(is.rest), blank)
	if !slices.Equal(a, b) {
		t.Fatalf("other lines\n before %q\n after  %q", a, b)
	}
	for line := range strings.Lines(string(conf)) {
		if len(line) > 1023 {
			return
		}
	}
	added := strings.TrimPrefix(is.bytes, was.bytes)
	if !strings.HasPrefix(is.bytes, was.bytes) || added != "" && added != "\n" && added != "\r\n" {
		t.Fatalf("other bytes\n before %q\n after  %q", was.bytes, is.bytes)
	}
}

// choices are what a case draws from besides the file.
var (
	choicesPublic = []string{"198.51.100.7", "2001:db8::7", "198.51.100.7 2001:db8::7"}
	choicesOwn    = []string{own46, own46, "192.168.50.10", "fd50::10", ""}
	choicesMode   = []Private{PrivateKeep, PrivateKeep, PrivateAuto, PrivateNone}
)

func TestRewriteProperties(t *testing.T) {
	address := rapid.SampledFrom([]string{
		"203.0.113.5", "198.51.100.7", "2001:db8::5", "2001:DB8::7", "192.168.50.10", "10.0.0.9", "fd50::10", "fd00::9",
		"", "0.0.0.0", "::", "::ffff:203.0.113.5", "fe80::1%eth0", "24", "999.1.1.1", "bad name", "a;", "203.0.113.5 # c",
	})
	line := rapid.Custom(func(t *rapid.T) string {
		if rapid.IntRange(0, 2).Draw(t, "other") == 0 {
			return rapid.SampledFrom([]string{
				"", "#external-ip=1", "external-ip-foo=1", "External-IP=1", "-external-ip=1", "X=1", "realm=r", "relay-ip=10.0.0.9",
				"listening-ip=fd00::9", "\x00", "\uFEFF#", "\xff\xfe", "\r", strings.Repeat("x", 1022), "#" +
					strings.Repeat("x", 1022),
				strings.Repeat(" ", 1000),
			}).Draw(t, "line")
		}
		value := address.Draw(t, "public")
		if rapid.Bool().Draw(t, "pair") {
			value += rapid.SampledFrom([]string{"/", " / "}).Draw(t, "slash") + address.Draw(t, "private")
		}
		pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
		return pick("indent", "", "", " \t", strings.Repeat(" ", 1000)) + "external-ip" +
			pick("separator", "=", "=", " = ", "\t", "==", "") +
			pick("quote", "", "", `"`) + value + pick("closed", "", "", `"`) +
			pick("blanks", "", "", " \t", "\x00x", strings.Repeat(" ", 1000))
	})
	rapid.Check(t, func(t *rapid.T) {
		var conf strings.Builder
		for _, l := range rapid.SliceOfN(line, 0, 6).Draw(t, "lines") {
			conf.WriteString(l + rapid.SampledFrom([]string{"\n", "\n", "\n", "\r\n", ""}).Draw(t, "end"))
		}
		public := rapid.SampledFrom(choicesPublic).Draw(t, "known")
		own := rapid.SampledFrom(choicesOwn).Draw(t, "own")
		mode := rapid.SampledFrom(choicesMode).Draw(t, "mode")
		checkRewrite(t, []byte(conf.String()), wanted(public, own, mode))
	})
}

func FuzzRotateCoturn(f *testing.F) {
	for i, g := range goldens {
		f.Add([]byte(g.in), uint8(i), uint8(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, conf []byte, public, own, mode uint8) {
		checkRewrite(t, conf, wanted(choicesPublic[int(public)%len(choicesPublic)],
			choicesOwn[int(own)%len(choicesOwn)], choicesMode[int(mode)%len(choicesMode)]))
	})
}
