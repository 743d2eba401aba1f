package edit

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	_ "netwatch/lab/drawn" // Alike in every run
)

var libconfigGoldens = []golden{
	{"plain", "nat: {\n\tip = \"192.0.2.1\"\n}\n", "nat.ip", "192.0.2.2", "nat: {\n\tip = \"192.0.2.2\"\n}\n"},
	{"at the top", "a = 1; ip=\"\";", "ip", "192.0.2.2", "a = 1; ip=\"192.0.2.2\";"},
	{
		"comments", "# nat: {\n// ip = \"1\"\n/* nat: { ip = \"2\" */ nat = { ip: \"192.0.2.1\" /* x */; };\n", "nat.ip",
		"192.0.2.2",
		"# nat: {\n// ip = \"1\"\n/* nat: { ip = \"2\" */ nat = { ip: \"192.0.2.2\" /* x */; };\n",
	},
	{
		"others",
		"a: { nat: { ip = \"1\" } }\nl = ( { ip = \"2\" }, [ 1 ] )\nnat: { s = \"\\\"}\"; ip = \"192.0.2.1\" }\n",
		"nat.ip",
		"192.0.2.2",
		"a: { nat: { ip = \"1\" } }\nl = ( { ip = \"2\" }, [ 1 ] )\nnat: { s = \"\\\"}\"; ip = \"192.0.2.2\" }\n",
	},
}

var libconfigAdded = []golden{
	{
		"own line", "nat: {\r\n  #ip = \"1\"\r\n  a = 1\r\n}", "nat.ip", "192.0.2.2",
		"nat: {\r\n  ip = \"192.0.2.2\";\r\n  #ip = \"1\"\r\n  a = 1\r\n}",
	},
	{"an empty group", "nat: { # x\n}\n", "nat.ip", "192.0.2.2", "nat: { # x\n\tip = \"192.0.2.2\";\n}\n"},
	{"in the line", "nat = { a = 1 };", "nat.ip", "192.0.2.2", "nat = { ip = \"192.0.2.2\"; a = 1 };"},
}

func TestLibconfig(t *testing.T) {
	testGoldens(t, Libconfig, libconfigGoldens)
	for _, g := range libconfigAdded {
		if _, err := Libconfig.Set([]byte(g.in), g.key, g.value); !errors.Is(err, ErrMissing) {
			t.Errorf("%s: to set it: %v", g.name, err)
		}
		if out, err := Libconfig.Add([]byte(g.in), g.key, g.value); err != nil || string(out) != g.out {
			t.Errorf("%q becomes\n%q, and should\n%q: %v", g.in, out, g.out, err)
		}
	}
}

// A group with a long name that holds many settings takes no more memory than the text asks for.
func TestLibconfigOfLongNames(t *testing.T) {
	text := []byte(strings.Repeat("a", 50_000) + "={" + strings.Repeat("b=1;", 10_000) + "}\nnat: { ip = \"1\" }\n")
	taken := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if value, err := Libconfig.Get(text, "nat.ip"); err != nil || value.Text != "1" {
				b.Error(value, err)
			}
		}
	}).AllocedBytesPerOp()
	if taken > 16<<20 {
		t.Errorf("%d KiB of text take %d MiB", len(text)>>10, taken>>20)
	}
}

func TestLibconfigRefuses(t *testing.T) {
	testRefusals(t, Libconfig, []refusal{
		{"ip = \"1\"\nip = \"2\"\n", "ip", "line 2, column 1: here is the key a second time"},
		{"nat: { ip = \"1\" }\nnat: { ip = \"2\" }\n", "nat.ip", "line 2, column 8: here is the key a second time"},
		{"ip = 1\n", "ip", "line 1, column 1: the value of this key is not one string"},
		{"ip = \"1\" \"2\"\n", "ip", "line 1, column 1: the value of this key is not one string"},
		{"ip = \"\\x31\"\n", "ip", "line 1, column 1: the value of this key is not one string"},
		{"ip = [\"1\"]\n", "ip", "line 1, column 1: the value of this key is not one string"},
		{"a = \"secret\nip = \"1\"\n", "ip", "line 1, column 5: a quote is not closed"},
		{"/* ip = \"1\"\n", "ip", "a comment is not closed"},
		{"nat: {\nip = \"1\"\n", "ip", "a bracket is not closed"},
		{"nat: {\n]\n", "ip", "line 2, column 1: a bracket is closed that is not open"},
		{"a = 1\n", "ip", ErrMissing.Error()},
		{strings.Repeat("a={", 300000), "ip", "line 1, column 192: more than 64 brackets are open"},
	})
	for in, said := range map[string]string{
		"@include \"x\"\nnat: { }\n": "it includes other files", "a: { }\n": "there is no group nat",
		"nat = ( )\n": "there is no group nat", "nat: { ip = \"\" }\n": "the key is there already",
	} {
		if _, err := Libconfig.Add([]byte(in), "nat.ip", "192.0.2.2"); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v", in, err)
		}
	}
	for _, key := range []string{"", "a.", "1", "a b", "a..b"} {
		if Libconfig.Check(key) == nil {
			t.Errorf("%q is a key", key)
		}
	}
}

// strings of a text, with the two names before each, as another reader finds them: by its
// characters alone.
func stringsOf(text []byte) (all []string) {
	var now strings.Builder
	for i := 0; i < len(text); i++ {
		rest := string(text[i:])
		switch {
		case rest[0] == '#' || strings.HasPrefix(rest, "//"):
			i += len(strings.SplitN(rest, "\n", 2)[0]) - 1
		case strings.HasPrefix(rest, "/*"):
			i += strings.Index(rest[2:], "*/") + 3
		case rest[0] == '"':
			end := 1
			for rest[end] != '"' {
				if rest[end] == '\\' {
					end++
				}
				end++
			}
			all = append(all, strings.Join(strings.Fields(now.String()), ""), rest[:end+1])
			now.Reset()
			i += end
		default:
			now.WriteByte(rest[0])
		}
	}
	return append(all, strings.Join(strings.Fields(now.String()), ""))
}

// checkLibconfigEdit looks at all that is promised of a text.
func checkLibconfigEdit(t failer, in []byte, value string) {
	t.Helper()
	before := bytes.Clone(in)
	out, err := Libconfig.Set(in, "nat.ip", value)
	if errors.Is(err, ErrMissing) {
		out, err = Libconfig.Add(in, "nat.ip", value)
	}
	switch {
	case !bytes.Equal(before, in):
		t.Fatalf("%q was changed in place to %q", before, in)
	case err != nil && out != nil:
		t.Fatalf("%q: a text and an error: %v", in, err)
	case err != nil:
		return
	}
	checkSpan(t, in, out, value)
	if again, err := Libconfig.Set(out, "nat.ip", value); err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%q becomes %q, and then %q: %v", in, out, again, err)
	}
	was, is := stringsOf(in), stringsOf(out)
	i := slices.Index(is, `"`+value+`"`)
	if len(was) == len(is) && i >= 0 {
		was[i] = is[i]
	} else if i > 0 { // It was added
		is[i+1] = strings.TrimSuffix(is[i-1], "ip=") + strings.TrimPrefix(is[i+1], ";")
		is = slices.Delete(is, i-1, i+1)
	}
	if i < 0 || !slices.Equal(was, is) {
		t.Fatalf("%q becomes %q\nwith %q, not %q", in, out, is, was)
	}
}

func FuzzLibconfig(f *testing.F) {
	for i, g := range append(libconfigGoldens, libconfigAdded...) {
		f.Add([]byte(g.in), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, value uint8) {
		checkLibconfigEdit(t, in, newValues[int(value)%len(newValues)])
	})
}

func TestLibconfigProperties(t *testing.T) {
	part := rapid.SampledFrom([]string{
		"nat: {", "}", "};", "ip = \"192.0.2.1\"", "ip = \"\";", "a = 1", "# nat: {", "// }", "/* ip = \"1\" */", "l = (",
		")", "s = \"{\"",
		"b = { ip = \"1\" }", "other: {", "[", "]",
	})
	rapid.Check(t, func(t *rapid.T) {
		var text strings.Builder
		for _, p := range rapid.SliceOfN(part, 0, 9).Draw(t, "parts") {
			text.WriteString(p + rapid.SampledFrom([]string{"\n", "\n\t", " ", "\r\n"}).Draw(t, "blank"))
		}
		checkLibconfigEdit(t, []byte(text.String()), rapid.SampledFrom(newValues).Draw(t, "value"))
	})
}
