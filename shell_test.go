package netwatch_test

import (
	"os/exec"
	"strings"
	"testing"

	"netwatch"
)

// attacks are what somebody can call a file, a realm, a server or a unit of his own.
var attacks = []string{
	"plain", "two words", "it's", `a"b`, "a;id", "$(id)", "`id`", "a\\b", "-rf", "*", "~", "!x", "#x", "{a,b}", "x=y", "",
	"a\nhint: rm -rf /", "\x1b[2J\x1b]0;title\x07", "\u009b31m", "\u202egnp.txt", "\u2066x\u2069",
	"\u2028\u2029", "a\tb\r",
	"\U000e0041", "\xff\xfe\x1b", "\u200b", "\u00ad", "\x00"[:0], "gerät", "日本", "\u00a0",
}

// A path in a hint is the same path for the shell into which it is pasted, and no
// command.
func TestShellPath(t *testing.T) {
	for _, path := range attacks {
		quoted := netwatch.ShellPath(path)
		if netwatch.Printable(quoted) != quoted {
			t.Errorf("%q: %q is not printable", path, quoted)
		}
		want := path
		if strings.HasPrefix(path, "-") {
			want = "./" + path
		}
		out, err := exec.Command("bash", "-c", "printf %s "+quoted).Output()
		if err != nil || string(out) != want {
			t.Errorf("%q: %s is %q: %v", path, quoted, out, err)
		}
	}
	if got := netwatch.ShellPath("/etc/a-b_c.d/e@f:g+1"); got != "/etc/a-b_c.d/e@f:g+1" {
		t.Errorf("a plain path is quoted: %s", got)
	}
}
