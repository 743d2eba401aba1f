package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch/actions"
	"netwatch/config"
)

// base is a configuration with what can stand in one: comments, blanks, lists on one line
// and on several.
const base = `# Ours.
[source.stun]   # asks
agree = 2 # two
servers = [
  "a.example.org", # a
  "b.example.org",
]

# Who looks.
[source.netlink]

[[rule]]
name = "coturn"
on   = ["started", "ip-changed"]
do   = [
  "rotate coturn /etc/turnserver.conf",
  "restart coturn.service", # not twice
]

[[rule]]
on = ["route-changed"]
do = ["probe stun"]

# The end.
`

// set sets values one after the other.
func set(t *testing.T, text string, values ...string) string {
	t.Helper()
	for _, v := range values {
		name, value, _ := strings.Cut(v, "=")
		out, err := config.Set("t.toml", []byte(text), name, value)
		if err != nil {
			t.Fatalf("setting %s: %v", v, err)
		}
		text = string(out)
	}
	return text
}

// TestSet holds what each value does to the text: those lines, and no other.
func TestSet(t *testing.T) {
	mqtt := "\n[source.mqtt]\nbroker = \"mqtts://b.example.org\"\nhost = \"t\"\n"
	week := "\n[source.timer]\nat = [\"Mon 07:00\"]\n\n# What happened, every week.\n[[rule]]\n" +
		"name  = \"report of the week\"\non    = [\"due\"]\nmatch = { at = \"Mon 07:00\" }\n" +
		"do    = [\"mail root@localhost report=7d\"]\n"
	for name, c := range map[string]struct {
		values   []string
		old, new string
	}{
		"another value":        {[]string{"source.stun.agree=1"}, "agree = 2 # two", "agree = 1 # two"},
		"a list":               {[]string{`source.netlink.ignore=["lo"]`}, "netlink]\n", "netlink]\nignore = [\"lo\"]\n"},
		"a new key":            {[]string{"source.stun.every=30s"}, "\n]\n\n# Who", "\n]\nevery = \"30s\"\n\n# Who"},
		"a new key, no others": {[]string{`source.netlink.kind="netlink"`}, "link]\n", "link]\nkind = \"netlink\"\n"},
		"a key goes":           {[]string{"source.stun.agree="}, "agree = 2 # two\n", ""},
		"a key is not there":   {[]string{"source.stun.every="}, "", ""},
		"a new section": {
			[]string{"source.mqtt.broker=mqtts://b.example.org", "source.mqtt.host=t"}, "The end.\n", "The end.\n" + mqtt,
		},
		"a section goes":         {[]string{"source.netlink="}, "\n# Who looks.\n[source.netlink]\n", ""},
		"a section is not there": {[]string{"source.mqtt="}, "", ""},
		"a quotation mark":       {[]string{`daemon.state=/a"b\`}, "end.\n", "end.\n\n[daemon]\nstate = \"/a\\\"b\\\\\"\n"},
		"mail": {
			[]string{"mail=root@localhost"},
			"restart coturn.service\", #",
			"restart coturn.service\",\n  \"mail root@localhost\", #",
		},
		"report": {[]string{"report=root@localhost"}, "# The end.\n", "# The end.\n" + week},
	} {
		t.Run(name, func(t *testing.T) {
			want := strings.Replace(base, c.old, c.new, 1)
			if diff := cmp.Diff(want, set(t, base, c.values...)); diff != "" {
				t.Errorf("wanted (-) and got (+):\n%s", diff)
			}
		})
	}
}

// TestSetMail holds that the address of the notices is another where it stood, that what
// goes to others stays, and that a rule that only tells is left.
func TestSetMail(t *testing.T) {
	const rules = `[[rule]]
on = ["started"]
do = ["restart a.service always", "mail a@example.org subject=x", "mail b@example.org"]

[[rule]]
on = ["due"]
do = ["mail a@example.org report=7d"]

[[rule]]
on = ["gone"]
do = ["mail a@example.org"]
`
	got := set(t, rules, "mail=root@localhost")
	want := strings.Replace(rules, "mail a@example.org subject", "mail root@localhost subject", 1)
	want = strings.Replace(want, `["mail a@example.org"]`, `["mail root@localhost"]`, 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("wanted (-) and got (+):\n%s", diff)
	}
	got = set(t, got, "mail=")
	want = strings.Replace(want, `"mail root@localhost subject=x", `, "", 1)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("without: wanted (-) and got (+):\n%s", diff)
	}
}

// TestSetReport holds that the time of the report stands beside others, and that both go
// as they came.
func TestSetReport(t *testing.T) {
	const timer = "[source.timer]\nat = [\"04:30\"]\n\n[[rule]]\non = [\"due\"]\ndo = [\"restart a.service always\"]\n"
	got := set(t, timer, "report=root@localhost", "report=a@example.org")
	if !strings.Contains(got, `at = ["04:30", "Mon 07:00"]`) || strings.Contains(got, "root@") ||
		strings.Count(got, "mail a@example.org report=7d") != 1 {
		t.Errorf("with a report it is:\n%s", got)
	}
	if _, err := config.Parse("t.toml", []byte(got), actions.Env{}); err != nil {
		t.Errorf("it has a mistake: %v", err)
	}
	if got := set(t, got, "report="); strings.Contains(got, "mail") || !strings.Contains(got, "04:30") {
		t.Errorf("without the report it is:\n%s", got)
	}
	weekly := strings.Replace(timer, "04:30", "Mon 07:00", 1) // For which another rule waits
	if diff := cmp.Diff(weekly, set(t, weekly, "report=root@localhost", "report=")); diff != "" {
		t.Errorf("the time of another: before (-) and after (+):\n%s", diff)
	}
}

// TestSetAndBack holds, of each configuration that init writes, that what is set is what is
// there then, and that taking it out leaves the text as it was, byte for byte.
func TestSetAndBack(t *testing.T) {
	files, err := filepath.Glob("../setup/testdata/*.toml")
	if err != nil || len(files) < 5 {
		t.Fatalf("there are no configurations: %v", err)
	}
	values := []string{"mail", "report", "source.stun.every", "source.mqtt.broker", "source.mqtt.host", "daemon.log"}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if len(text) == 0 {
			continue // Nothing was found there
		}
		now := string(text)
		for _, name := range values {
			now = set(t, now, name+"=root@localhost")
			if got, err := config.Get("t.toml", []byte(now), name); got != "root@localhost" {
				t.Errorf("%s: %s is %q, %v", file, name, got, err)
			}
		}
		now = set(t, now, "daemon=", "source.mqtt=", "source.stun.every=", "report=", "mail=")
		if diff := cmp.Diff(string(text), now); diff != "" {
			t.Errorf("%s before (-) and after (+):\n%s", file, diff)
		}
	}
}
