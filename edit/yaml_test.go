package edit

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"
)

// A golden is a text, and what it becomes when a key gets the value that it has there.
type golden struct{ name, in, key, value, out string }

var yamlGoldens = []golden{
	{"plain", "a: 1\nb: 192.0.2.1\n", "b", "192.0.2.2", "a: 1\nb: 192.0.2.2\n"},
	{"no newline", "b: 192.0.2.1", "b", "192.0.2.2", "b: 192.0.2.2"},
	{"carriage returns", "b: 192.0.2.1\r\nc: 1\r\n", "b", "192.0.2.2", "b: 192.0.2.2\r\nc: 1\r\n"},
	{"double quotes", "b: \"192.0.2.1\" # x\n", "b", "192.0.2.2", "b: \"192.0.2.2\" # x\n"},
	{"single quotes", "b: '192.0.2.1'\n", "b", "2001:db8::", "b: '2001:db8::'\n"},
	{"nothing", "b:\nc: 1\n", "b", "192.0.2.2", "b: 192.0.2.2\nc: 1\n"},
	{"nothing, and a comment", "b:  # x\n", "b", "192.0.2.2", "b: 192.0.2.2  # x\n"},
	{"nothing, and the key in quotes", "'b' :\n\"c\":\n", "b", "192.0.2.2", "'b' : 192.0.2.2\n\"c\":\n"},
	{"nothing at the end", "b:", "b", "192.0.2.2", "b: 192.0.2.2"},
	{"empty", "b: \"\"\n", "b", "192.0.2.2", "b: \"192.0.2.2\"\n"},
	{"null", "b: ~\n", "b", "192.0.2.2", "b: 192.0.2.2\n"},
	{"null by its name", "b: null\n", "b", "192.0.2.2", "b: 192.0.2.2\n"},
	{
		"below", "rtc:\n  node_ip: 192.0.2.1\nnode_ip: 1\n", "rtc.node_ip", "192.0.2.2",
		"rtc:\n  node_ip: 192.0.2.2\nnode_ip: 1\n",
	},
	{
		"braces", "rtc: {a: 1, node_ip: 192.0.2.1}\n", "rtc.node_ip", "2001:db8::1",
		"rtc: {a: 1, node_ip: \"2001:db8::1\"}\n",
	},
	{"braces, nothing", "rtc: {node_ip: , a}\n", "rtc.node_ip", "192.0.2.2", "rtc: {node_ip: 192.0.2.2 , a}\n"},
	{"JSON", `{"rtc":{"node_ip":"192.0.2.1"}}`, "rtc.node_ip", "192.0.2.2", `{"rtc":{"node_ip":"192.0.2.2"}}`},
	{"letters", "ä: é\nö: {ü: 192.0.2.1} # ß\n", "ö.ü", "192.0.2.2", "ä: é\nö: {ü: 192.0.2.2} # ß\n"},
	{"byte order mark", "\ufeffb: 192.0.2.1\n", "b", "192.0.2.2", "\ufeffb: 192.0.2.2\n"},
	{"document start", "%YAML 1.1\n---\nb: 192.0.2.1\n...\n", "b", "192.0.2.2", "%YAML 1.1\n---\nb: 192.0.2.2\n...\n"},
	{"quoted names", "\"a b\": {'c.d': 192.0.2.1}\n", `"a b"."c.d"`, "192.0.2.2", "\"a b\": {'c.d': 192.0.2.2}\n"},
	{
		"an item",
		"listen:\n  - port: 1\n    module: a\n    ip: 192.0.2.1\n  -\n    port: 2\n    module: b\n    ip: \"\"\n",
		"listen[module=b].ip", "192.0.2.2",
		"listen:\n  - port: 1\n    module: a\n    ip: 192.0.2.1\n  -\n    port: 2\n    module: b\n    ip: \"192.0.2.2\"\n",
	},
	{"by place", "l: [1, {ip: }]\n", "l[1].ip", "192.0.2.2", "l: [1, {ip: 192.0.2.2 }]\n"},
	{"a number to some", "b: 2001:db8::1\n", "b", "2001:10:20:30:40:50:1:2", "b: \"2001:10:20:30:40:50:1:2\"\n"},
	{"a key to some", "b: 2001:db8::1\n", "b", "2001:db8::", "b: \"2001:db8::\"\n"},
	{"plain stays plain", "b: 2001:db8::1\n", "b", "2001:db8::2", "b: 2001:db8::2\n"},
	{
		"an alias elsewhere", "x: &x {y: 1}\nz: *x\nb: 192.0.2.1\n", "b", "192.0.2.2",
		"x: &x {y: 1}\nz: *x\nb: 192.0.2.2\n",
	},
	{"a text elsewhere", "t: |\n  b: 1\n   \nb: 192.0.2.1\n", "b", "192.0.2.2", "t: |\n  b: 1\n   \nb: 192.0.2.2\n"},
}

func TestYAML(t *testing.T) { testGoldens(t, YAML, yamlGoldens) }

// testGoldens wants each text to become what it should, and to stay that.
func testGoldens(t *testing.T, form Form, goldens []golden) {
	t.Helper()
	for _, g := range goldens {
		t.Run(g.name, func(t *testing.T) {
			for _, in := range []string{g.in, g.out} {
				out, err := form.Set([]byte(in), g.key, g.value)
				if err != nil || string(out) != g.out {
					t.Errorf("%q becomes\n%q, and should\n%q: %v", in, out, g.out, err)
				}
			}
			if is, err := form.Get([]byte(g.out), g.key); err != nil || is.Text != g.value {
				t.Errorf("the value is %q, %v", is.Text, err)
			}
		})
	}
}

// added has keys that were not there.
var added = []golden{
	{"a blank line first", "\nrtc:\n  a: 1\n", "rtc.node_ip", "192.0.2.2", "\nrtc:\n  node_ip: 192.0.2.2\n  a: 1\n"},
	{"own lines", "rtc:\n  a: 1\n", "rtc.node_ip", "192.0.2.2", "rtc:\n  node_ip: 192.0.2.2\n  a: 1\n"},
	{
		"a comment belongs to what follows", "k:\n    b: 1\nrtc: # x\n\n    # ports\n    a: 1\nz: 1\n", "rtc.node_ip",
		"192.0.2.2",
		"k:\n    b: 1\nrtc: # x\n    node_ip: 192.0.2.2\n\n    # ports\n    a: 1\nz: 1\n",
	},
	{"carriage returns", "rtc:\r\n  a: 1\r\n", "rtc.node_ip", "192.0.2.2", "rtc:\r\n  node_ip: 192.0.2.2\r\n  a: 1\r\n"},
	{"behind a dash", "l:\n- a: 1\n  b: 2\n", "l[a=1].ip", "192.0.2.2", "l:\n- a: 1\n  ip: 192.0.2.2\n  b: 2\n"},
	{"behind a dash alone", "l:\n- a: 1", "l[a=1].ip", "192.0.2.2", "l:\n- a: 1\n  ip: 192.0.2.2"},
	{"below a dash", "l:\n  -\n    a: 1\n", "l[a=1].ip", "192.0.2.2", "l:\n  -\n    ip: 192.0.2.2\n    a: 1\n"},
	{"braces", "rtc: {a: 1}\n", "rtc.node_ip", "2001:db8::1", "rtc: {node_ip: \"2001:db8::1\", a: 1}\n"},
	{"braces with nothing", "rtc: {}\n", "rtc.node_ip", "192.0.2.2", "rtc: {node_ip: 192.0.2.2}\n"},
	{"at the top", "# x\na: 1\n", "b", "192.0.2.2", "b: 192.0.2.2\n# x\na: 1\n"},
	{"a name in quotes", "a: 1\n", `"b c"`, "192.0.2.2", "\"b c\": 192.0.2.2\na: 1\n"},
}

func TestAddYAML(t *testing.T) {
	for _, g := range added {
		t.Run(g.name, func(t *testing.T) {
			if _, err := YAML.Set([]byte(g.in), g.key, g.value); !errors.Is(err, ErrMissing) {
				t.Errorf("to set it: %v", err)
			}
			out, err := YAML.Add([]byte(g.in), g.key, g.value)
			if err != nil || string(out) != g.out {
				t.Errorf("%q becomes\n%q, and should\n%q: %v", g.in, out, g.out, err)
			}
			if out, err := YAML.Add([]byte(g.out), g.key, g.value); err == nil {
				t.Errorf("once more makes %q", out)
			}
		})
	}
}

// A tab in the line is refused where a key is added, too.
func TestAddYAMLRefuses(t *testing.T) {
	out, err := YAML.Add([]byte("rtc: {a: 1,\tb: 2}\n"), "rtc.node_ip", "192.0.2.2")
	if err == nil || out != nil || !strings.Contains(err.Error(), "there is a tab") {
		t.Errorf("it becomes %q, %v", out, err)
	}
}

// A refusal is a text that is not changed, and what is said of it.
type refusal struct{ in, key, said string }

var yamlRefusals = []refusal{
	{"a: &x {b: 192.0.2.1}\nc: *x\n", "c.b", "line 2, column 4: here is an alias"},
	{"a: &x {b: 192.0.2.1}\nc: *x\n", "a.b", "line 1, column 4: here is an anchor"},
	{"a: &x 192.0.2.1\nc: *x\n", "a", "line 1, column 4: here is an anchor"},
	{"a: &x 192.0.2.1\nc: *x\n", "c", "line 2, column 4: here is an alias"},
	{"a: !!str 192.0.2.1\n", "a", "line 1, column 4: here is a tag"},
	{"a: !x\n  b: 192.0.2.1\n", "a.b", "line 1, column 4: here is a tag"},
	{"é: 1\na: >-\n  192.0.2.1\n", "a", "line 2, column 4: here is a text of several lines"},
	{"a: |\n  192.0.2.1\n", "a", "line 1, column 4: here is a text of several lines"},
	{"a: 192.0.2.1\na: 192.0.2.1\n", "a", "line 2, column 1: here is a second a"},
	{"a:\n  b: 1\n\"a\":\n  b: 2\n", "a.b", "line 3, column 1: here is a second a"},
	{"<<: {a: 1}\nb: 1\n", "b", "line 1, column 1: here is an alias"},
	{"a: 1\n---\na: 2\n", "a", "line 2, column 1: a second document begins"},
	{"a: 1\n---\n{{\n", "a", "from here on it is not YAML"},
	{"a:\t192.0.2.1\n", "a", "line 1, column 3: there is a tab"},
	{"a:\n\tb: 192.0.2.1\n", "a.b", "line 2, column 1: from here on it is not YAML"},
	{"a: {{ address }}\n", "a", "line 1, column 5: a key is no name here: this looks like a template"},
	{"{{ toYaml . }}\n", "a", "this looks like a template"},
	{"{% if x %}\na: 192.0.2.1\n{% endif %}\n", "a", "line 1, column 1: from here on it is not YAML"},
	{"a: 192.0.2.1\n? [b]\n: 1\n", "a", "line 2, column 3: a key is no name here"},
	{"a: [192.0.2.1]\n", "a", "line 1, column 4: here should be one value"},
	{"a: {b: 1}\n", "a", "line 1, column 4: here should be one value"},
	{"a: \"192.0.2.\\x31\"\n", "a", "line 1, column 4: this is not written as it is read"},
	{"a: 192.0.2.1\n  192.0.2.2\n", "a", "line 1, column 4: this is not written as it is read"},
	{"- a\n", "a", "line 1, column 1: here should be a mapping"},
	{"a: 1\n", "a.b", "line 1, column 4: here should be a mapping"},
	{"a: {}\n", "a.b.c", "line 1, column 4: here is no b"},
	{"a: 1\n", "b", ErrMissing.Error()},
	{"l: [{m: 1}, {m: 1}]\n", "l[m=1].a", "line 1, column 13: here is a second such item"},
	{"l: [{m: 1}]\n", "l[m=2].a", "line 1, column 4: this list has no such item"},
	{"l: [{m: 1}]\n", "l[1].a", "line 1, column 4: this list has no such item"},
	{"x: &x {m: 1}\nl: [*x]\n", "l[m=1].a", "line 2, column 5: here is an alias"},
	{"x: &x 1\nl: [{m: *x}]\n", "l[m=1].a", "line 2, column 9: here is an alias"},
	{"l: [{m: 1, m: 2}]\n", "l[m=1].a", "line 1, column 12: here is a second m"},
	{"l: {}\n", "l[m=2].a", "line 1, column 4: here should be a list"},
	{"", "a", "there is nothing in it"},
	{"# a: 1\n", "a", "there is nothing in it"},
	{"a: 1\x00\n", "a", "line 1, column 5: there is a zero byte"},
	{"b: é\na: \xff\n", "a", "line 2, column 4: this is not UTF-8"},
	{"a: 1\rb: 2\n", "a", "line 1, column 5: a carriage return"},
	{"a: 1\u2028b: 2\n", "a", "line 1, column 5: a line ends in a character"},
	{"? a\n", "a", "line 1, column 3: there is no colon"},
	{"a: *secret\n", "a", "line 1, column 1: from here on it is not YAML"},
}

func TestYAMLRefuses(t *testing.T) { testRefusals(t, YAML, yamlRefusals) }

// testRefusals wants nothing of a text to be said.
func testRefusals(t *testing.T, form Form, refusals []refusal) {
	t.Helper()
	for _, r := range refusals {
		out, err := form.Set([]byte(r.in), r.key, "203.0.113.7")
		if err == nil || out != nil || !strings.Contains(err.Error(), r.said) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.200q: %v, and should say %q", r.in, err, r.said)
		}
	}
}

func TestKeys(t *testing.T) {
	for key, said := range map[string]string{
		"": "a name is missing", "a.": "a name is missing", ".a": "a name is missing",
		"a b": `" b" in it is not understood`,
		`"a`:  "a double quote is not closed", `a."".b`: "there is nothing in it", "a[b=c]": "ends with an item of a list",
		"a[b].c": `"[b].c" in it is not understood`, "a[b=c]d": "d", "a[1234567].b": "not understood",
	} {
		if err := YAML.Check(key); err == nil || !strings.Contains(err.Error(), said) {
			t.Errorf("%q: %v, and should say %q", key, err, said)
		}
	}
	for _, key := range []string{
		"a", "a.b-c.d_e", `a."b.c"`, `a["b c"="d e"].f`, `a[b=""].c`, "a[0].b", "a[b=1.2.3.4].c", "é",
	} {
		if err := YAML.Check(key); err != nil {
			t.Error(err)
		}
	}
}

// A large file takes no more memory than the daemon can have for it.
func TestLargeYAML(t *testing.T) {
	const most = 256 << 10
	text := []byte("ip: \n" + strings.Repeat("#\n", most/2))
	if _, err := YAML.Get(text[:most], "ip"); err != nil {
		t.Error(err)
	}
	for _, err := range []error{
		second(YAML.Get(text, "ip")), second(YAML.Set(text, "ip", "::1")), second(YAML.Add(text, "ipv6", "::1")),
	} {
		if !errors.Is(err, ErrTooLarge) {
			t.Error(err)
		}
	}
}

// second is the error of a pair.
func second(_ any, err error) error { return err }

func TestItems(t *testing.T) {
	text := []byte("l:\n- {m: a}\n- b\n- {m: c, n: y}\n- m: \"a\"\n  n: y\n" +
		"- {m: a, n: [y]}\n- {m: a, n: !!x y}\n- {m: a, n: z}\n")
	for want, items := range map[string][]string{
		"": {"l[0]", "l[4]", "l[5]"}, "y": {"l[3]"}, "z": {"l[6]"}, "q": nil,
	} {
		is := func(value string) bool { return value == want }
		if all, err := Items(text, "l", "m", "a", "n", is); err != nil || !reflect.DeepEqual(all, items) {
			t.Error(want, all, err)
		}
		if all, err := Items(text, "x", "m", "a", "n", is); err != nil || all != nil {
			t.Error(all, err)
		}
	}
}

// newValues are what the cases of the fuzzers write.
var newValues = []string{
	"203.0.113.7", "2001:db8::7", "2001:1:2:3:4:5:6:7", "2001:db8::", "203.0.113.7,2001:db8::7", "::1",
	"10.0.0.1!203.0.113.7",
}

// A failer is testing.T, testing.F or rapid.T.
type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkSpan wants the new text to have one piece of the old one replaced, and that to be
// something in a line.
func checkSpan(t failer, in, out []byte, value string) {
	t.Helper()
	from := 0
	for from < len(in) && from < len(out) && in[from] == out[from] {
		from++
	}
	rest := 0
	for rest < min(len(in), len(out))-from && in[len(in)-1-rest] == out[len(out)-1-rest] {
		rest++
	}
	if gone := in[from : len(in)-rest]; bytes.ContainsAny(gone, "\r\n") {
		t.Fatalf("%q is gone from %q", gone, in)
	}
	if !bytes.Contains(out, []byte(value)) {
		t.Fatalf("there is no %s in %q", value, out)
	}
}

// plainly is a text as any program reads it, which is another way than ours.
func plainly(t failer, text []byte) any {
	t.Helper()
	var all any
	if err := yaml.Unmarshal(text, &all); err != nil {
		return err.Error()
	}
	return alike(all)
}

// put is what was read with another value at a path.
func put(all any, path []step, value any) any {
	if len(path) == 0 {
		return value
	}
	if all == nil {
		all = map[any]any{}
	}
	m, ok := all.(map[any]any)
	if !ok {
		return all
	}
	if path[0].of == whole {
		m[path[0].name] = put(m[path[0].name], path[1:], value)
		return m
	}
	list, _ := m[path[0].name].([]any)
	for i, item := range list {
		if has, ok := item.(map[any]any); path[0].of == byIndex && i == path[0].index ||
			path[0].of == byValue && ok && has[path[0].key] == path[0].value {
			list[i] = put(item, path[1:], value)
		}
	}
	return m
}

// alike has one type for all mappings.
func alike(all any) any {
	switch v := all.(type) {
	case map[string]any:
		m := map[any]any{}
		for key, value := range v {
			m[key] = alike(value)
		}
		return m
	case map[any]any:
		for key, value := range v {
			v[key] = alike(value)
		}
	case []any:
		for i, value := range v {
			v[i] = alike(value)
		}
	}
	return all
}

var yamlKeys = []string{"a", "rtc.node_ip", "l[m=x].ip", "l[1].ip", `"a b".c`}

// checkYAMLEdit looks at all that is promised of a text.
func checkYAMLEdit(t failer, in []byte, key, value string) {
	t.Helper()
	before := bytes.Clone(in)
	out, err := YAML.Set(in, key, value)
	if errors.Is(err, ErrMissing) {
		out, err = YAML.Add(in, key, value)
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
	if again, err := YAML.Set(out, key, value); err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%q becomes %q, and then %q: %v", in, out, again, err)
	}
	path, err := parsePath(key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	want, is := put(plainly(t, in), path, value), plainly(t, out)
	if _, unread := want.(string); !unread && !reflect.DeepEqual(want, is) {
		t.Fatalf("%q becomes %q\nand is %v, not %v", in, out, is, want)
	}
}

func FuzzYAML(f *testing.F) {
	for i, g := range append(yamlGoldens, added...) {
		f.Add([]byte(strings.NewReplacer("b:", "a:", "ip:", "node_ip:").Replace(g.in)), uint8(i), uint8(i))
	}
	for i, r := range yamlRefusals {
		f.Add([]byte(r.in), uint8(i), uint8(i))
	}
	f.Fuzz(func(t *testing.T, in []byte, key, value uint8) {
		checkYAMLEdit(t, in, yamlKeys[int(key)%len(yamlKeys)], newValues[int(value)%len(newValues)])
	})
}

// TestYAMLProperties makes texts of parts, and knows where the value is.
func TestYAMLProperties(t *testing.T) {
	lines := rapid.SampledFrom([]string{
		"", "# node_ip: 192.0.2.9", "port: 7880", "keys: {k: v}", "text: |\n    node_ip: 192.0.2.9\n", "q: \"a \\\" b\"",
		"é: ü # ß", "x: &x 1", "y: [1, 'it''s']", "z: >\n    folded\n    more", "n: ~",
	})
	rapid.Check(t, func(t *rapid.T) {
		pick := func(name string, from ...string) string { return rapid.SampledFrom(from).Draw(t, name) }
		end := pick("end", "\n", "\r\n")
		var in strings.Builder
		seen := map[string]bool{}
		some := func(name, indent string) {
			for _, l := range rapid.SliceOfN(lines, 0, 4).Draw(t, name) {
				if l == "" || l[0] == '#' || !seen[name+l] {
					in.WriteString(indent + strings.ReplaceAll(l, "\n", end+indent) + end)
				}
				seen[name+l] = true
			}
		}
		some("above", "")
		in.WriteString("rtc:" + pick("comment", "", " # x") + end)
		some("before", "  ")
		head := in.String() + "  node_ip:"
		quote := pick("quote", "", `"`, "'")
		old := pick("old", "192.0.2.1", "2001:db8::5", "null", "")
		value := rapid.SampledFrom(newValues).Draw(t, "value")
		in.Reset()
		in.WriteString(pick("blanks", "", "  ", " # x") + end)
		some("after", "  ")
		some("below", "")
		tail := in.String()
		now := quote + value + quote
		if quote == "" {
			now = scalar(value, false)
		}
		was := " " + quote + old + quote
		if old == "" && quote == "" {
			was = ""
		}
		text := head + was + tail
		out, err := YAML.Set([]byte(text), "rtc.node_ip", value)
		if err != nil || string(out) != head+" "+now+tail {
			t.Fatalf("%q becomes\n%q\nand should\n%q: %v", text, out, head+" "+now+tail, err)
		}
		checkYAMLEdit(t, []byte(text), "rtc.node_ip", value)
	})
}
