package servers

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
)

// How coturn reads its file (read_config_file, parse_arg_string and set_option
// in its src/apps/relay/mainrelay.c, the same from 4.5 to 4.17): pieces of at
// most 1023 bytes, each up to a newline and seen up to a NUL; leading blanks
// skipped, trailing white space cut, # only at the start; a key up to a blank
// or =, any run of these, and a value that may begin with a quotation mark.
const (
	pieceSize   = 1023
	addressSize = 256 // what follows in a value is not seen
	externalKey = "external-ip"
)

// A piece is one line, or a part of a line too long for coturn, as it stands.
type piece struct {
	text []byte
	key  string
	// value is text[from:to]. keyEnd is where the key ends.
	keyEnd, from, to int
}

// split cuts conf into pieces. Joined they are conf.
func split(conf []byte) []piece {
	var all []piece
	for len(conf) > 0 {
		n := min(len(conf), pieceSize)
		if i := bytes.IndexByte(conf[:n], '\n'); i >= 0 {
			n = i + 1
		}
		all = append(all, parse(conf[:n]))
		conf = conf[n:]
	}
	return all
}

// parse finds key and value of one piece; both are empty in a comment.
func parse(text []byte) piece {
	seen, _, _ := bytes.Cut(text, []byte{0})
	start := len(seen) - len(bytes.TrimLeft(seen, " \t\n"))
	seen = bytes.TrimRight(seen, " \t\n\v\f\r")
	if start >= len(seen) || seen[start] == '#' {
		return piece{text: text}
	}
	keyEnd := len(seen)
	if i := bytes.IndexAny(seen[start:], " =\t"); i >= 0 {
		keyEnd = start + i
	}
	from := len(seen) - len(bytes.TrimLeft(seen[keyEnd:], " =\t"))
	to := len(seen)
	if from < to && seen[from] == '"' {
		from++
		inner := bytes.TrimRight(seen[from:], "\n\r \t")
		to = from + len(bytes.TrimSuffix(inner, []byte{'"'}))
	}
	return piece{text, string(seen[start:keyEnd]), keyEnd, from, to}
}

func (p piece) value() string { return string(p.text[p.from:p.to]) }

func (p piece) ended() bool { return bytes.HasSuffix(p.text, []byte{'\n'}) }

// end is how the line ends: "\n", "\r\n" or nothing.
func (p piece) end() string {
	switch {
	case bytes.HasSuffix(p.text, []byte("\r\n")):
		return "\r\n"
	case p.ended():
		return "\n"
	}
	return ""
}

// An external is what one external-ip line says; it has no family if coturn
// cannot take an address from it.
type external struct {
	piece           int // which one it stands in
	family          netwatch.Family
	public, private netip.Addr
	// useless is an address that coturn takes from it and nobody can use, as the
	// 0.0.0.0 that it takes for an empty one.
	useless netip.Addr
}

// isPlain says that coturn takes the address for everything it relays.
func (e external) isPlain() bool { return e.public.IsValid() && !e.private.IsValid() }

// says tells whether both say the same to coturn.
func (e external) says(o external) bool { return e.public == o.public && e.private == o.private }

// String is the value as it is written.
func (e external) String() string {
	if e.private.IsValid() {
		return e.public.String() + "/" + e.private.String()
	}
	return e.public.String()
}

// externals are all external-ip lines.
func externals(all []piece) []external {
	var found []external
	for i, p := range all {
		if p.key == externalKey {
			e := parseExternal(p.value())
			e.piece = i
			found = append(found, e)
		}
	}
	return found
}

// parseExternal reads ADDRESS or ADDRESS/PRIVATE. A pair keeps its private part
// though its public part be none: an empty one is what a script leaves that
// could not find out the address.
func parseExternal(value string) external {
	before, after, pair := strings.Cut(value, "/")
	public, private := parseAddress(before), parseAddress(after)
	switch {
	case !pair && public.IsValid():
		return external{family: netwatch.FamilyOf(public), public: public}
	case !pair:
		return external{useless: useless(value)}
	case !pair || !private.IsValid():
		return external{}
	case public.IsValid() && public.Is4() != private.Is4():
		return external{}
	}
	return external{family: netwatch.FamilyOf(private), public: public, private: private}
}

// useless is what coturn takes a value for that is no address for external-ip, if it
// takes it.
func useless(value string) netip.Addr {
	value = strings.Trim(value[:min(len(value), addressSize)], " ")
	if a, err := netip.ParseAddr(value); err == nil && a.Zone() == "" {
		return a
	} else if value == "" {
		return netip.IPv4Unspecified()
	}
	return netip.Addr{}
}

// parseAddress is the address in text, invalid when external-ip must not hold
// it. Like coturn it passes over blanks but not over tabs.
func parseAddress(text string) netip.Addr {
	a, err := netip.ParseAddr(strings.Trim(text[:min(len(text), addressSize)], " "))
	if err != nil || !writable(a) {
		return netip.Addr{}
	}
	return a
}

// relays are the machine's own addresses that conf tells coturn to relay from:
// every relay-ip, or else every listening-ip. Loopback ones reach nobody and
// count only when there is no other.
func relays(all []piece, family netwatch.Family) []netip.Addr {
	for _, key := range []string{"relay-ip", "listening-ip"} {
		var set, loopback []netip.Addr
		for _, p := range all {
			if p.key != key {
				continue
			}
			a := parseAddress(p.value())
			switch {
			case !a.IsValid() || netwatch.FamilyOf(a) != family || slices.Contains(set, a):
			case a.IsLoopback():
				loopback = append(loopback, a)
			default:
				set = append(set, a)
			}
		}
		if len(set) == 0 {
			set = loopback
		}
		if len(set) > 0 {
			return set
		}
	}
	return nil
}

// apply is the text with the plan carried out. What is added goes behind the last
// line of its kind that stays, or to the end.
func (p *plan) apply() []byte {
	end := lineEnd(p.all)
	var out bytes.Buffer
	anchor := p.anchor()
	for i, at := range p.all {
		last := i == len(p.all)-1
		switch c, changed := p.changed[i]; {
		case !changed:
			out.Write(at.text)
		case !c.gone:
			out.WriteString(at.with(c.to.String(), end, last))
		case i > 0 && !p.all[i-1].ended():
			out.WriteString(at.end()) // The line began in the piece before
		}
		if i == anchor {
			insert(&out, at, p.added, end, last)
		}
	}
	if anchor < 0 {
		insert(&out, piece{}, p.added, end, false)
	}
	return out.Bytes()
}

// anchor is the piece behind which lines are added; -1 is the end.
func (p *plan) anchor() int {
	anchor := -1
	for _, e := range p.lines {
		if !p.changed[e.piece].gone {
			anchor = e.piece
		}
	}
	return anchor
}

// insert writes more lines after p in its style, but without what a NUL hides.
func insert(out *bytes.Buffer, p piece, more []external, end string, last bool) {
	if bytes.ContainsRune(p.text, 0) {
		p.key = ""
	}
	for _, w := range more {
		if b := out.Bytes(); len(b) > 0 && b[len(b)-1] != '\n' {
			out.WriteString(end)
		}
		out.WriteString(p.with(w.String(), end, last))
	}
}

// with is the piece with another value, in the style that it has, or in a plain one
// if coturn would cut that off. It gets a line end if it had none and is not the last.
func (p piece) with(value, end string, last bool) string {
	if p.end() != "" {
		end = p.end()
	} else if last {
		end = ""
	}
	bare := externalKey + "=" + value + end
	if p.key == "" || p.end() == "" && !last {
		return bare
	}
	head, rest := string(p.text[:p.from]), string(p.text[p.to:])
	if p.from == p.keyEnd {
		head += "="
	}
	if styled := head + value + rest; len(styled) <= pieceSize {
		return styled
	}
	return bare
}

// lineEnd is how the last line that ends does so.
func lineEnd(all []piece) string {
	for _, p := range slices.Backward(all) {
		if end := p.end(); end != "" {
			return end
		}
	}
	return "\n"
}
