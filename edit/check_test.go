package edit

import (
	"strings"
	"testing"
)

// A value has addresses in it and nothing that means more, and not too many.
func TestCheckValue(t *testing.T) {
	for value, well := range map[string]bool{
		"192.0.2.1": true, "a/2001:db8::1!192.0.2.1": true, "": false, "a b": false, "\"": false, "#": false,
		strings.Repeat("1", maxValue): true, strings.Repeat("1", maxValue+1): false,
	} {
		if err := checkValue(value); (err == nil) != well {
			t.Errorf("%.20q: %v", value, err)
		}
	}
	if out, err := Libconfig.Add([]byte("nat: { }"), "nat.ip", "a b"); err == nil || out != nil {
		t.Errorf("it becomes %q, %v", out, err)
	}
}

// Whatever an edit has done, a text that says anything else than before is not given out:
// these are texts that no edit makes.
func TestElsewhere(t *testing.T) {
	d, f, path, err := lookup([]byte("a: &x 1\nb: [192.0.2.1, c]\nd: 192.0.2.1\n"), "d")
	if err != nil || f.value == nil {
		t.Fatal(err)
	}
	const right = "a: &x 1\nb: [192.0.2.1, c]\nd: 192.0.2.2\n"
	if out, err := d.check([]byte(right), path, "192.0.2.2", false); err != nil || string(out) != right {
		t.Errorf("%q, %v", out, err)
	}
	for _, text := range []string{
		"a: &x 2\nb: [192.0.2.1, c]\nd: 192.0.2.2\n", "a: &y 1\nb: [192.0.2.1, c]\nd: 192.0.2.2\n",
		"a: &x 1\nb: [192.0.2.1]\nd: 192.0.2.2\n", "a: &x 1\nb: [192.0.2.1, \"c\"]\nd: 192.0.2.2\n",
		"a: &x 1\nb: [192.0.2.1, !!str c]\nd: 192.0.2.2\n", "a: &x 1\nb: [192.0.2.1, {c}]\nd: 192.0.2.2\n",
		"a: &x 1\nb: [192.0.2.1, c]\nd: 192.0.2.3\n", "a: &x 1\nb: [192.0.2.1, c]\nd: [192.0.2.2]\n",
		"a: &x 1\nb: [192.0.2.1, c]\nd: 192.0.2.2\ne: 1\n", "a: &x 1\nb: [192.0.2.1, c]\n", "\t",
	} {
		if _, err := d.check([]byte(text), path, "192.0.2.2", false); err == nil {
			t.Errorf("%q is given out", text)
		}
	}
	if _, err := d.check([]byte(right), path, "192.0.2.2", true); err == nil {
		t.Error("what was there is taken for added")
	}
}

func TestLinesElsewhere(t *testing.T) {
	was := []byte("[a]\nb=192.0.2.1\nc=1\n")
	l, err := reading(readINI).one(was, "a", "b")
	if err != nil {
		t.Fatal(err)
	}
	for text, well := range map[string]bool{
		"[a]\nb=192.0.2.2\nc=1\n": true, "[a]\nb=192.0.2.2\nc=2\n": false, "[a]\nb=192.0.2.3\nc=1\n": false,
		"[x]\nb=192.0.2.2\nc=1\n": false, "[a]\nb=192.0.2.2\nd=1\n": false, "[a]\nb=192.0.2.2\n": false, "[a": false,
	} {
		if err := reading(readINI).check(was, []byte(text), l, "192.0.2.2"); (err == nil) != well {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTokensElsewhere(t *testing.T) {
	tokens, err := scan([]byte("a = \"192.0.2.1\"; b = 1"))
	if err != nil {
		t.Fatal(err)
	}
	for text, well := range map[string]bool{
		"a = \"192.0.2.2\"; b = 1": true, "a = \"192.0.2.2\"; b = 2": false, "a = \"192.0.2.2\"; b = 1;": false,
		"a = \"192.0.2.3\"; b = 1": false, "a = \"192.0.2.2": false,
	} {
		if _, err := tokens.check([]byte(text), 2, []string{`"192.0.2.2"`}, 1); (err == nil) != well {
			t.Errorf("%q: %v", text, err)
		}
	}
}
