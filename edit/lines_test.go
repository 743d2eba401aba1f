package edit

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

var iniGoldens = []golden{
	{"plain", "[a]\nb=192.0.2.1\n[c]\nb=1\n", "a.b", "192.0.2.2", "[a]\nb=192.0.2.2\n[c]\nb=1\n"},
	{"blanks", "[a]\n b = 192.0.2.1 \t\n", "a.b", "192.0.2.2", "[a]\n b = 192.0.2.2 \t\n"},
	{"no newline, carriage returns", "[a]\r\n\r\nb = 192.0.2.1", "a.b", "192.0.2.2", "[a]\r\n\r\nb = 192.0.2.2"},
	{"nothing", "[a]\nb =\nc = \n", "a.c", "192.0.2.2", "[a]\nb =\nc = 192.0.2.2\n"},
	{"quotes", "[a]\nb = \"\"\n", "a.b", "192.0.2.2", "[a]\nb = \"192.0.2.2\"\n"},
	{"an arrow", "[a](x)\nb => 192.0.2.1 ; here\n", "a.b", "192.0.2.2", "[a](x)\nb => 192.0.2.2 ; here\n"},
	{"a colon", "[a]\nb: 192.0.2.1\n", "a.b", "2001:db8::1", "[a]\nb: 2001:db8::1\n"},
	{"a comment behind", "[a]\nb=192.0.2.1\t# x = y\n", "a.b", "192.0.2.2", "[a]\nb=192.0.2.2\t# x = y\n"},
	{"comments", "; b=1\n[a]\n# b=1\n;;\nb=192.0.2.1\n", "a.b", "192.0.2.2", "; b=1\n[a]\n# b=1\n;;\nb=192.0.2.2\n"},
	{"above all", "b=192.0.2.1\n[a]\nb=1\n", "b", "192.0.2.2", "b=192.0.2.2\n[a]\nb=1\n"},
	{"a section with dots", "[a.b]\nc=192.0.2.1\n", "a.b.c", "192.0.2.2", "[a.b]\nc=192.0.2.2\n"},
	{"a section again", "[a]\nx=1\n[a]\nb=192.0.2.1\n", "a.b", "192.0.2.2", "[a]\nx=1\n[a]\nb=192.0.2.2\n"},
	{"whatever bytes", "[a]\n\xff = \xfe\nb=192.0.2.1\n", "a.b", "192.0.2.2", "[a]\n\xff = \xfe\nb=192.0.2.2\n"},
	{"lines of hyphens", ";------\n[a] ;--- x\nb=192.0.2.1\n", "a.b", "192.0.2.2", ";------\n[a] ;--- x\nb=192.0.2.2\n"},
	{
		"all of it", "[r]\ninterface = a/10.0.0.1;b/10.0.0.2\n", "r.interface", "10.0.0.1!192.0.2.2",
		"[r]\ninterface = 10.0.0.1!192.0.2.2\n",
	},
}

func TestINI(t *testing.T) { testGoldens(t, INI, iniGoldens) }

func TestINIRefuses(t *testing.T) {
	testRefusals(t, INI, []refusal{
		{"[a]\nb=1\nB=2\n", "a.b", "line 3, column 1: here is the key a second time"},
		{"[a]\nb=1\n[A]\nb=2\n", "a.b", "line 4, column 1: here is the key a second time"},
		{"[a]\nb=1\n", "c.b", ErrMissing.Error()},
		{"[a]\nB=1\n", "a.b", ErrMissing.Error()},
		{"[a\nb=1\n", "a.b", "line 1, column 1: a bracket is not closed"},
		{"[a]\nb=192.0.2.1\n  192.0.2.2=x\n", "a.b", "line 2, column 1: to some readers this is a part"},
		{"[a]\nx=1\n b=192.0.2.1\n", "a.b", "line 3, column 1: to some readers this is a part"},
		{"[a]\nb=192.0.2.1\\\n\n", "a.b", "line 2, column 1: to some readers this is a part"},
		{"[a]\nx=\\\nb=192.0.2.1\n", "a.b", "line 3, column 1: to some readers this is a part"},
		{
			"[a]\nx ;-- secret\nb=192.0.2.1\n--;\n", "a.b",
			"line 2, column 3: to some readers a comment of several lines begins",
		},
		{"[a]\nb=192.0.2.1\x00\n", "a.b", "line 2, column 12: there is a zero byte"},
		{"[a]\nb:192.0.2.1 # x=\n", "a.b", "line 2, column 1: to some readers the name goes on up to the ="},
		{"[a]\rb=192.0.2.1\n", "a.b", "line 1, column 4: a carriage return"},
	})
	for _, key := range []string{"", "a.", "a.b=c", "a.b c\n", "a. b", "[a].b"} {
		if INI.Check(key) == nil {
			t.Errorf("%q is a key", key)
		}
	}
}

var envGoldens = []golden{
	{"plain", "A=1\nB=192.0.2.1\n", "B", "192.0.2.2", "A=1\nB=192.0.2.2\n"},
	{"nothing", "B=\r\nA=1\r\n", "B", "192.0.2.2", "B=192.0.2.2\r\nA=1\r\n"},
	{"no newline", "B=192.0.2.1", "B", "2001:db8::1", "B=2001:db8::1"},
	{"double quotes", "B=\"192.0.2.1\" \n", "B", "192.0.2.2", "B=\"192.0.2.2\" \n"},
	{"single quotes", "B=''\n", "B", "192.0.2.2", "B='192.0.2.2'\n"},
	{
		"exported", "export A=\"x y\"\n export  B=192.0.2.1\n", "B", "192.0.2.2",
		"export A=\"x y\"\n export  B=192.0.2.2\n",
	},
	{"comments", "# B=1\n; it's\nB=192.0.2.1\n", "B", "192.0.2.2", "# B=1\n; it's\nB=192.0.2.2\n"},
	{"longer names", "AB=1\nB_=2\nB=192.0.2.1\n_B=3\n", "B", "192.0.2.2", "AB=1\nB_=2\nB=192.0.2.2\n_B=3\n"},
	{"quotes elsewhere", "A='x'\"y'\"z\nB=192.0.2.1\n", "B", "192.0.2.2", "A='x'\"y'\"z\nB=192.0.2.2\n"},
}

func TestEnv(t *testing.T) { testGoldens(t, Env, envGoldens) }

func TestEnvRefuses(t *testing.T) {
	testRefusals(t, Env, []refusal{
		{"B=1\nB=2\n", "B", "line 2, column 1: here is B= a second time"},
		{"A=1; B=2\nB=2\n", "B", "line 2, column 1: here is B= a second time"},
		{"A=1\n", "B", ErrMissing.Error()},
		{"b=1\n", "B", ErrMissing.Error()},
		{"B =1\n", "B", "line 1, column 1: this is neither NAME=VALUE nor a comment"},
		{"if secret; then\nB=1\nfi\n", "B", "line 1, column 1: this is neither"},
		{"A=\"secret\nB=1\n\"\n", "B", "line 1, column 1: to some readers this line goes on in the next one: a quote"},
		{"A=it's\nB=1\n", "B", "line 1, column 1: to some readers this line goes on"},
		{"A=1\\\nB=1\n", "B", "line 1, column 4: to some readers this line goes on in the next one"},
		{"# x \\\nB=1\n", "B", "line 1, column 5: to some readers this line goes on in the next one"},
		{"é=1\nB=1\n", "B", "line 1, column 1: this is neither"},
	})
	for _, key := range []string{"", "1A", "A-B", "A.B", "A B", "A\n"} {
		if Env.Check(key) == nil {
			t.Errorf("%q is a name", key)
		}
	}
}

// checkLinesEdit looks at all that is promised of a text with lines, to each of its
// readers. What is no address is not given a value.
func checkLinesEdit(t failer, form Form, readers []reader, in []byte, key, value string) {
	t.Helper()
	before := bytes.Clone(in)
	old, err := form.Get(in, key)
	if err != nil || old.Text != "" && !addresses(old.Text) {
		return
	}
	out, err := form.Set(in, key, value)
	switch {
	case !bytes.Equal(before, in):
		t.Fatalf("%q was changed in place to %q", before, in)
	case err != nil && out != nil:
		t.Fatalf("%q: a text and an error: %v", in, err)
	case err != nil:
		return
	}
	checkSpan(t, in, out, value)
	if again, err := form.Set(out, key, value); err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%q becomes %q, and then %q: %v", in, out, again, err)
	}
	if now, err := form.Get(out, key); err != nil || now.Text != value {
		t.Fatalf("%q becomes %q, which has %q: %v", in, out, now.Text, err)
	}
	for name, read := range readers {
		was, is := read(in), read(out)
		if was == nil && is == nil {
			continue // He reads neither
		}
		for key, now := range is {
			if now != was[key] && strings.Contains(now, value) && len(was) == len(is) {
				was[key] = now // To him it may have another name
				break
			}
		}
		if !maps.Equal(was, is) {
			t.Fatalf("%q becomes %q\nand to reader %d is %q, not %q", in, out, name, is, was)
		}
	}
}

// A reader is what a program that has such a file makes of it: values by their keys, of
// several the last; nil if it refuses it.
type reader func(text []byte) map[string]string

// strictINI reads as GLib's key files are read: no comment behind a value, no line that
// goes on.
func strictINI(text []byte) map[string]string {
	all, section := map[string]string{}, ""
	for l := range strings.Lines(string(text)) {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") && strings.HasSuffix(l, "]") {
			section = l[1:len(l)-1] + "."
		} else if key, value, ok := strings.Cut(l, "="); ok && !strings.HasPrefix(l, "#") {
			all[section+strings.TrimRight(key, " \t")] = strings.TrimLeft(value, " \t")
		}
	}
	return all
}

// looseINI reads as Python's configparser does: a line with more indent goes on with the
// one before, a comment may stand behind a value, and keys are the same in capitals.
func looseINI(text []byte) map[string]string {
	all, section, key, depth := map[string]string{}, "", "", 0
	for l := range strings.Lines(string(text)) {
		said := strings.TrimSpace(l)
		indent := len(l) - len(strings.TrimLeft(l, " \t"))
		switch {
		case said == "" || said[0] == '#' || said[0] == ';':
		case key != "" && indent > depth:
			all[key] += "\n" + said
		case said[0] == '[' && strings.Contains(said, "]"):
			section, key = said[1:strings.Index(said, "]")]+".", ""
		default:
			name, value, ok := strings.Cut(said, "=")
			if i := strings.IndexAny(said, "=:"); i >= 0 {
				name, value, ok = said[:i], said[i+1:], true
			}
			if !ok {
				return nil
			}
			if i := strings.Index(value, " ;"); i >= 0 {
				value = value[:i]
			}
			key, depth = section+strings.ToLower(strings.TrimSpace(name)), indent
			all[key] = strings.TrimSpace(value)
		}
	}
	return all
}

// asteriskINI reads as Asterisk does, where a comment begins with a semicolon anywhere, or
// goes over several lines.
func asteriskINI(text []byte) map[string]string {
	all, section, within := map[string]string{}, "", false
	for l := range strings.Lines(string(text)) {
		if from := strings.Index(l, ";--"); from >= 0 && !strings.HasPrefix(l[from+3:], "-") {
			within = true
		}
		if within {
			within = !strings.Contains(l, "--;")
			continue
		}
		l, _, _ = strings.Cut(l, ";")
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") && strings.Contains(l, "]") {
			section = l[1:strings.Index(l, "]")] + "."
		} else if key, value, ok := strings.Cut(l, "="); ok {
			all[section+strings.TrimSpace(key)] = strings.TrimSpace(strings.TrimPrefix(value, ">"))
		}
	}
	return all
}

// containerEnv reads as a container's runtime does: each line is as it is.
func containerEnv(text []byte) map[string]string {
	all := map[string]string{}
	for l := range strings.Lines(string(text)) {
		l = strings.TrimLeft(strings.TrimRight(l, "\r\n"), " \t")
		key, value, ok := strings.Cut(strings.TrimPrefix(l, "export "), "=")
		if ok && l[0] != '#' {
			all[strings.TrimLeft(key, " \t")] = value
		}
	}
	return all
}

// shellEnv reads words as a shell and systemd do: quotes go over the ends of lines, and a
// backslash takes such an end away.
func shellEnv(text []byte) map[string]string {
	all, quote, word, comment := map[string]string{}, byte(0), "", false
	take := func() {
		if key, value, ok := strings.Cut(word, "="); ok {
			all[key] = value
		}
		word = ""
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case comment:
			comment = c != '\n'
		case c == '\\' && quote != '\'' && i+1 < len(text):
			if i++; text[i] != '\n' {
				word += string(text[i])
			}
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case c == quote:
			quote = 0
		case quote == 0 && word == "" && (c == '#' || c == ';'):
			comment = true
		case quote == 0 && strings.IndexByte(" \t\r\n;&|", c) >= 0:
			take()
		default:
			word += string(c)
		}
	}
	take()
	return all
}

var (
	iniReaders = []reader{strictINI, looseINI, asteriskINI}
	envReaders = []reader{containerEnv, shellEnv}
)

// lineValues are the new values that lines can have.
var lineValues = newValues[:5]

func FuzzINI(f *testing.F) {
	for i, g := range iniGoldens {
		f.Add([]byte(g.in), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, value uint8) {
		for _, key := range []string{"a.b", "b"} {
			checkLinesEdit(t, INI, iniReaders, in, key, lineValues[int(value)%len(lineValues)])
		}
	})
}

// A zone may be any text (found by FuzzEnv).
func TestZones(t *testing.T) {
	if addresses("::%x;B=1") || !addresses("192.0.2.1,2001:db8::1") {
		t.Error("what are addresses is not known")
	}
}

func FuzzEnv(f *testing.F) {
	for i, g := range envGoldens {
		f.Add([]byte(g.in), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, value uint8) {
		checkLinesEdit(t, Env, envReaders, in, "B", lineValues[int(value)%len(lineValues)])
	})
}

// texts draws texts of lines, which are joined by whatever ends lines.
func texts(lines ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		var text strings.Builder
		for _, l := range rapid.SliceOfN(rapid.SampledFrom(lines), 0, 7).Draw(t, "lines") {
			indent := rapid.SampledFrom([]string{"", "", "", " ", "\t"}).Draw(t, "indent")
			end := rapid.SampledFrom([]string{"\n", "\n", "\n", "\r\n", "", "\\\n", " \n"}).Draw(t, "end")
			text.WriteString(indent + l + end)
		}
		return text.String()
	})
}

func TestINIProperties(t *testing.T) {
	text := texts("", "[a]", "[c]", "[a](x)", "b=192.0.2.1", "b = ", "b => 192.0.2.1 ; x", "b: 2001:db8::1",
		"B=1", "x = y",
		"; b=192.0.2.1", "#b=1", ";-- x", "--;", "b = \"192.0.2.1\"", "b=192.0.2.1 # x", "[a", "b", "=", "\xff")
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom(lineValues).Draw(t, "value")
		checkLinesEdit(t, INI, iniReaders, []byte(text.Draw(t, "text")), "a.b", value)
	})
}

func TestEnvProperties(t *testing.T) {
	text := texts("", "B=192.0.2.1", "B=", "export B='192.0.2.1'", "B=\"\"", "A=x", "A=\"x", "A='", "# B=1", ";x",
		"A=1;B=2",
		"A=\\'", "AB=1", "x", "A=\"B=1\"", "B =1", "\xff=1")
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.SampledFrom(lineValues).Draw(t, "value")
		checkLinesEdit(t, Env, envReaders, []byte(text.Draw(t, "text")), "B", value)
	})
}

func TestNoValue(t *testing.T) {
	long := strings.Repeat("1", maxValue+1)
	for _, value := range []string{"", "a b", "a\nb", "a\"b", "a#b", "a'b", "$a", "{a", long} {
		for _, form := range []Form{YAML, INI, Env} {
			if out, err := form.Set([]byte("B=\n"), "B", value); err == nil || errors.Is(err, ErrMissing) || out != nil {
				t.Errorf("%s takes %q: %q, %v", form.Name, value, out, err)
			}
		}
	}
	if !reflect.DeepEqual(strictINI([]byte("[a]\nb = 1\n")), map[string]string{"a.b": "1"}) {
		t.Error("the reader of the tests reads nothing")
	}
}
