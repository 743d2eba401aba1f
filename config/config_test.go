package config_test

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/kballard/go-shellquote"
	"github.com/pelletier/go-toml/v2"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/hooks"
	_ "netwatch/lab/drawn" // Alike in every run
	"netwatch/sources"
)

var update = flag.Bool("update", false, "write what is found as what is wanted")

// TestMistakes reads each wrong file and compares all that is said about it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files: %v", err)
	}
	lists := known()
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			text := contents(t, file)
			cfg, err := config.Parse(name+".toml", text, actions.Env{})
			if err == nil {
				t.Fatalf("no mistake is found, but %+v", cfg)
			}
			golden(t, strings.TrimSuffix(file, "toml")+"want", lists.Replace(err.Error()+"\n"))
			for _, m := range mistakes(t, err) {
				pointsAtKey(t, text, m)
			}
		})
	}
}

// known puts a word in the place of each list that one more of its kind would make
// longer.
func known() *strings.Replacer {
	var kinds, verbs []string
	for _, kind := range sources.Kinds {
		kinds = append(kinds, kind.Name)
	}
	for _, verb := range actions.Verbs {
		verbs = append(verbs, verb.Name)
	}
	fields := append(strings.Fields("error event host id ipv4 ipv6 outcome rule source step"), netwatch.FieldNames()...)
	slices.Sort(fields)
	return strings.NewReplacer(
		"there are "+strings.Join(kinds, ", ")+"\n", "there are KINDS\n",
		"there are "+strings.Join(verbs, ", ")+"\n", "there are VERBS\n",
		"there are "+strings.Join(fields, ", ")+"\n", "there are PLACEHOLDERS\n",
	)
}

func contents(t *testing.T, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(string(contents(t, file)), got); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
}

// mistakes are those that an error of Parse is.
func mistakes(t *testing.T, err error) config.Mistakes {
	t.Helper()
	var all config.Mistakes
	if !errors.As(err, &all) || len(all) == 0 {
		t.Fatalf("the error is no mistakes but a %T: %v", err, err)
	}
	return all
}

// pointsAtKey fails for an "unknown" or "given again" mistake that does not
// stand right at the last word of its key, and for one in a value that stands
// at a blank or an equals sign.
func pointsAtKey(t *testing.T, text []byte, m config.Mistake) {
	t.Helper()
	at := textAt(t, text, m)
	words := strings.FieldsFunc(m.Key, func(c rune) bool { return c == '.' || c == '[' || c == ']' })
	switch {
	case regexp.MustCompile(`^unknown (key|section|field)|cannot be a field|given again|is in no ` +
		`section`).MatchString(m.Text):
		if key := words[len(words)-1]; !strings.HasPrefix(at, key) {
			t.Errorf("%v: %q stands there", m, at)
		}
	case m.Key != "" && !strings.Contains(m.Text, "TOML") && at != "" && strings.ContainsAny(at[:1], " \t="):
		t.Errorf("%v: %q stands there", m, at)
	}
}

// textAt is the rest of the line at which a mistake points.
func textAt(t *testing.T, text []byte, m config.Mistake) string {
	t.Helper()
	lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
	if m.Line < 1 || m.Line > len(lines) || m.Column < 1 || m.Column > len(lines[m.Line-1])+1 {
		t.Fatalf("%v: there is no such position", m)
	}
	return lines[m.Line-1][m.Column-1:]
}

// TestPositions has every kind of thing wrong and wants the mistakes, and no
// others, right where the marks stand. Columns count bytes.
func TestPositions(t *testing.T) {
	const rule = "\n[[rule]]\non = ['started']\ndo = ['restart coturn.service']\n"
	for _, text := range []string{
		"[daemon]\nlog = «\"loud\"" + rule, "[daemon]\nlog=«'loud'" + rule, "# é\n[daemon]\n  \tlog\t = «'''loud'''" + rule,
		"[daemon]\n\"log\" = «\"\"\"\nloud\"\"\"" + rule, "[daemon]\nlog = «7 # seven" + rule, "[daemon]\nlog = «true" + rule,
		"[daemon]\nlog = «-0.5" + rule, "[daemon]\nlog = «1979-05-27" + rule, "[daemon]\nlog = «[]" + rule,
		"[daemon]\nlog\t=\t«[ 'x',\n 'y' ]" + rule, "[daemon]\nlog = «{ x = 1 }" + rule, "[daemon]\n«log.x = 1" + rule,
		"daemon . «log . x = 1" + rule, "daemon = { log = «1, «lag = 2 }" + rule, "[ daemon . «\"log\" ]" + rule,
		"«daemn = { log = 1 }" + rule, "[«\"daémon\"]" + rule, "[daemon]\n«\"é\" = 1" + rule, "[[«source]]" + rule,
		"[source.stun]\nservers = [«'é é', 'stun.example.org', «'', «3, # three\r\n «[ 'x' ], «{ a = 1 }]" + rule,
		"[source.stun]\nagree = «-1" + rule, "[source.«stum]" + rule, "[source.x]\nkind = «'stum'" + rule,
		"[[rule]]\non = ['started']\ndo = ['probe', «'restart', 'start a.service', «\"\"]\n\n[source.stun]",
		"[[rule]]\non = ['started']\ndo = ['start a.service']\n[[«rule]]\non = ['started']\n", "«",
	} {
		clean, want := marks(text)
		_, err := config.Parse("f", []byte(clean), actions.Env{})
		if err == nil {
			t.Errorf("%s\nno mistake is found", text)
			continue
		}
		var got [][2]int
		for _, m := range mistakes(t, err) {
			got = append(got, [2]int{m.Line, m.Column})
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s\n%v\nwanted (-) and found (+):\n%s", text, err, diff)
		}
	}
}

// marks is a text without its marks, and the line and column of each.
func marks(text string) (clean string, at [][2]int) {
	for i, part := range strings.Split(text, "«") {
		if i > 0 {
			lines := strings.Split(clean, "\n")
			at = append(at, [2]int{len(lines), len(lines[len(lines)-1]) + 1})
		}
		clean += part
	}
	return clean, at
}

// TestRight reads a file that uses everything and compares all that comes of it.
func TestRight(t *testing.T) {
	cfg, err := config.Parse("right.toml", contents(t, "testdata/right.toml"), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	daemon := config.Daemon{
		Socket: "/run/other/socket", State: "/srv/state", Log: config.Level(zerolog.DebugLevel), SMTP: "mail.example.org:25",
	}
	if diff := cmp.Diff(daemon, cfg.Daemon); diff != "" {
		t.Errorf("daemon: wanted (-) and found (+):\n%s", diff)
	}
	var names []string
	for _, s := range cfg.Sources {
		names = append(names, s.Kind+" "+s.Name)
	}
	if diff := cmp.Diff([]string{"stun stun", "stun home-2"}, names); diff != "" {
		t.Errorf("sources: wanted (-) and found (+):\n%s", diff)
	}
	stun := cfg.Sources[1].Settings.(*sources.STUN)
	if time.Duration(stun.Every) != 20*time.Second || stun.Agree != 1 || len(stun.Servers) != 2 ||
		stun.Accept[0].String() != "127.0.0.0/8" {
		t.Errorf("settings: %+v", stun)
	}
	want := []*hooks.Rule{
		{
			Name: "started+ip-changed", On: []string{"started", "ip-changed"}, Settle: 500 * time.Millisecond,
			Prompt: true, Timeout: 2 * time.Minute, Retry: time.Hour,
		},
		{Name: "started+ip-changed#3", On: []string{"started", "ip-changed"}, Settle: 0, Timeout: time.Second, Retry: 0},
		{
			Name: "started+ip-changed#2", On: []string{"ip-changed", "cert-renewed"}, From: []string{"stun", "home-2", "fire"},
			Match:  map[string]string{"family": "ipv[46]", "not-after": "*"},
			Settle: 500 * time.Millisecond, Prompt: true, Timeout: 2 * time.Minute, Retry: time.Hour,
		},
		{
			Name: "backup-done", On: []string{"backup-done"}, Match: map[string]string{"size": "?*"},
			Settle: 500 * time.Millisecond, Prompt: true, Timeout: 2 * time.Minute, Retry: time.Hour,
		},
	}
	for i, r := range cfg.Rules {
		if len(r.Do) == 0 {
			t.Errorf("rule %s has no steps", r.Name)
		}
		if diff := cmp.Diff(want[i], r, cmpopts.IgnoreFields(hooks.Rule{}, "Do"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("rule %d: wanted (-) and found (+):\n%s", i+1, diff)
		}
	}
	if len(cfg.Rules) != len(want) {
		t.Errorf("%d rules", len(cfg.Rules))
	}
}

// TestDefaults wants the defaults of [daemon] when it is not there.
func TestDefaults(t *testing.T) {
	cfg, err := config.Parse("f", []byte("rule = [{ on = [\"started\"], do = [\"restart coturn.service\"] }]"),
		actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Daemon{
		Socket: "/run/netwatch/netwatch.sock", State: "/var/lib/netwatch",
		Log: config.Level(zerolog.InfoLevel), SMTP: "localhost:25",
	}
	if diff := cmp.Diff(want, cfg.Daemon); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
}

// TestPaceOfTheUser wants a pace that is written to be told from the default.
func TestPaceOfTheUser(t *testing.T) {
	for keys, want := range map[string]bool{"": false, "agree = 1": false, "every = \"15s\"": true} {
		cfg, err := config.Parse("f", []byte("[source.stun]\n"+keys+
			"\n[[rule]]\non = [\"started\"]\ndo = [\"restart coturn.service\"]\n"), actions.Env{})
		if err != nil {
			t.Fatal(err)
		}
		if stun := cfg.Sources[0].Settings.(*sources.STUN); stun.Kept != want {
			t.Errorf("with %q: %t", keys, stun.Kept)
		}
	}
}

// TestRuleOfTheRouter wants a rule on what the router says to go by each of its fields, and
// by no other.
func TestRuleOfTheRouter(t *testing.T) {
	for field, want := range map[string]bool{"gateway": true, "old": true, "new": true, "family": false} {
		_, err := config.Parse("f", []byte("[source.stun]\n[source.router]\n[[rule]]\non = [\"router-changed\"]\n"+
			"match = { "+field+" = \"192.0.2.1\" }\ndo = [\"probe stun\"]\n"), actions.Env{})
		if (err == nil) != want {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestPackaged reads the configurations that are shipped.
func TestPackaged(t *testing.T) {
	for _, file := range []string{"../packaging/netwatch.toml", "../packaging/reference.toml"} {
		cfg, err := config.Parse(file, contents(t, file), actions.Env{})
		if err != nil {
			t.Errorf("%v", err)
			continue
		}
		if len(cfg.Sources) == 0 || len(cfg.Rules) == 0 {
			t.Errorf("%s does nothing", file)
		}
	}
}

// TestNeedsOfRules wants what all rules need, and each file to rewrite once.
func TestNeedsOfRules(t *testing.T) {
	cfg, err := config.Parse("f", []byte(`[[rule]]
on = ["started"]
do = ["rotate coturn /a private=none", "restart a.service"]
[[rule]]
on = ["ip-changed"]
do = ["rotate coturn /b", "rotate coturn /a private=auto", "restart a.service", "verify turn /b", "mail a@example.org"]
`), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	const want = "{[{a.service restart}] [/b] [] [{coturn /a map[private:none]} {coturn /b map[]}] [] [] [] " +
		"[localhost:25] [a@example.org]}"
	if got := fmt.Sprint(cfg.Needs()); got != want {
		t.Error(got)
	}
}

// TestReferenceIsWhole wants every key, every kind, every event with its fields and
// every verb in reference.toml, and each default as it is.
func TestReferenceIsWhole(t *testing.T) {
	text := contents(t, "../packaging/reference.toml")
	cfg, err := config.Parse("reference.toml", text, actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	keys := config.Keys(reflect.TypeFor[config.Daemon]())
	keys = append(keys, config.RuleKeys()...)
	for _, kind := range sources.Kinds {
		if !bytes.Contains(text, []byte("[source."+kind.Name+"]")) {
			t.Errorf("there is no [source.%s]", kind.Name)
		}
		keys = append(keys, config.Keys(reflect.TypeOf(kind.Settings()))...)
	}
	for _, key := range keys {
		if !regexp.MustCompile(`(?m)^` + key + ` = `).Match(text) {
			t.Errorf("there is no %s", key)
		}
	}
	for _, event := range netwatch.Events {
		lines := regexp.MustCompile(`(?m)^#   `+event.Name+` +(.*)$`).FindAllSubmatch(text, -1)
		fields := strings.Join(event.Fields, ", ")
		if len(lines) == 0 || fields != "" && string(lines[len(lines)-1][1]) != fields {
			t.Errorf("there is no line for %s, or not one with its fields: %q", event.Name, lines)
		}
	}
	for _, verb := range actions.Verbs {
		if !regexp.MustCompile(`(?m)^  "` + verb.Name + `[ "]`).Match(text) {
			t.Errorf("there is no step with %s", verb.Name)
		}
	}
	for _, s := range cfg.Sources {
		for _, kind := range sources.Kinds {
			if diff := cmp.Diff(kind.Settings(), s.Settings, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }),
				cmpopts.EquateEmpty(), withoutDefault(kind)); kind.Name == s.Kind && diff != "" {
				t.Errorf("[source.%s]: default (-) and written (+):\n%s", s.Name, diff)
			}
		}
	}
}

// withoutDefault leaves out of a comparison what must be written because it has
// no default: what is a mistake when nothing is. What is no key has none either.
func withoutDefault(kind sources.Kind) cmp.Option {
	bare := kind.Settings().Check()
	return cmp.FilterPath(func(path cmp.Path) bool {
		field, ok := path.Last().(cmp.StructField)
		if !ok {
			return false
		}
		settings := reflect.TypeOf(kind.Settings()).Elem()
		return settings.Field(field.Index()).Tag.Get("toml") == "" || slices.ContainsFunc(bare,
			func(m sources.Mistake) bool { return settings.Field(field.Index()).Tag.Get("toml") == m.Key })
	}, cmp.Ignore())
}

// TestStepTextRoundTrip wants each step to print as the line that it was read
// from, and that line to be read as the same step.
func TestStepTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.StringMatching(`[^\x00-\x1f\x7f]{0,8}`), 0, 4).Draw(t, "words")
		line := "exec " + shellquote.Join(append([]string{"/bin/echo"}, words...)...)
		padded := rapid.StringMatching(` {0,3}`).Draw(t, "before") + line + rapid.StringMatching(` {0,3}`).Draw(t, "after")
		first := onlyStep(t, padded)
		if first.String() != line {
			t.Fatalf("%q prints as %q", padded, first)
		}
		second := onlyStep(t, first.String())
		if !reflect.DeepEqual(first.Action, second.Action) {
			t.Fatalf("%q is read as %+v, then as %+v", line, first.Action, second.Action)
		}
	})
	for _, line := range []string{
		"rotate coturn /etc/turnserver.conf private=auto", "restart coturn.service  always", "signal USR2 " +
			"coturn.service", "probe", "probe stun",
		"exec /bin/echo \u0085", "exec /bin/echo \u00a0",
	} {
		if step := onlyStep(t, line); step.String() != line {
			t.Errorf("%q prints as %q", line, step)
		}
	}
}

type fataler interface {
	Fatalf(format string, args ...any)
}

// onlyStep is a line read as the only step of a configuration.
func onlyStep(t fataler, line string) netwatch.Step {
	text := "[source.stun]\n[[rule]]\non = ['started']\ndo = [" + quoted(line) + "]\n"
	cfg, err := config.Parse("f", []byte(text), actions.Env{})
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return cfg.Rules[0].Do[0]
}

// quoted is text as a TOML string.
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// isTOML fails for what the library's own decoder refuses.
func isTOML(t *testing.T, text []byte) {
	t.Helper()
	var all map[string]any
	if err := toml.Unmarshal(bytes.TrimPrefix(text, []byte("\ufeff")), &all); err != nil {
		t.Errorf("this is not TOML, and was read: %v", err)
	}
}

// FuzzParse wants a configuration or mistakes in the file, whatever the text, and
// a configuration only from TOML.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range append(files, "testdata/right.toml", "../packaging/netwatch.toml",
		"../packaging/reference.toml") {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		cfg, err := config.Parse("f", text, actions.Env{})
		if !bytes.Equal(before, text) {
			t.Error("the text was changed")
		}
		if err == nil {
			if len(cfg.Rules) == 0 && len(cfg.Sources) < 2 { // Who tells others needs none
				t.Error("there is no rule")
			}
			isTOML(t, text)
			return
		}
		last := [2]int{1, 1}
		for _, m := range mistakes(t, err) {
			textAt(t, text, m)
			if m.Text == "" || m.Line < last[0] || m.Line == last[0] && m.Column < last[1] {
				t.Errorf("%v comes after %v", m, last)
			}
			last = [2]int{m.Line, m.Column}
		}
	})
}

// What is no file is not waited for.
func TestSocketOfAPipe(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if socket, err := config.Socket(pipe); err == nil {
		t.Errorf("the socket is %s", socket)
	}
}

// A name of one's own that is as short as due is none of it with two letters wrong.
func TestSlip(t *testing.T) {
	for name, want := range map[string]string{
		"dies": "", "use": "", "dues": "due", "ip-chnaged": "ip-changed", "start": "started", "mark": "",
	} {
		if got := config.Slip(name, netwatch.EventNames()); got != want {
			t.Errorf("%s is taken for %q", name, got)
		}
	}
}
