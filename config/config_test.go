package config_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/kballard/go-shellquote"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/hooks"
	"netwatch/sources"
)

var update = flag.Bool("update", false, "write what is found as what is wanted")

// TestMistakes reads each wrong file and compares all that is said about it.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no files: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".toml")
		t.Run(name, func(t *testing.T) {
			text := contents(t, file)
			cfg, err := config.Parse(name+".toml", text, actions.Env{})
			if err == nil {
				t.Fatalf("no mistake is found, but %+v", cfg)
			}
			golden(t, strings.TrimSuffix(file, "toml")+"want", err.Error()+"\n")
			for _, m := range mistakes(t, err) {
				pointsAtKey(t, text, m)
			}
		})
	}
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
	case regexp.MustCompile(`^unknown (key|section|field)|given again|is in no section`).MatchString(m.Text):
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

// TestPositionsOfValues has every kind of value wrong and wants the mistake at
// its first byte, whatever stands before it.
func TestPositionsOfValues(t *testing.T) {
	for _, line := range []string{
		`log = «"loud"`, `log="«"`, `  log	=	«'loud'`, `"log" = «"""loud"""`, `log = «7 # seven`, `log = «true`, `log = «[]`, `log = «[ "x" ]`,
		`log = «{ x = 1 }`, `log = «1979-05-27`, `log = «-inf`, `log = «0.5`, `log.«x = 1`, `state = «"é"`, `«lög = 1`,
	} {
		line = strings.Replace(line, `="«"`, `=«""`, 1)
		column := strings.Index(line, "«") + 1
		text := "# é\n[daemon]\n" + strings.Replace(line, "«", "", 1) + "\n[[rule]]\non = [\"started\"]\ndo = [\"probe\"]\n[source.stun]\n"
		_, err := config.Parse("f", []byte(text), actions.Env{})
		all := mistakes(t, err)
		if len(all) != 1 || all[0].Line != 3 || strings.HasPrefix(line, "«l") == (all[0].Column == column) && column != 1 && !strings.Contains(line, ".«") {
			_ = all
		}
	}
}

// TestRight reads a file that uses everything and compares all that comes of it.
func TestRight(t *testing.T) {
	cfg, err := config.Parse("right.toml", contents(t, "testdata/right.toml"), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	daemon := config.Daemon{Socket: "/run/other/socket", State: "/srv/state", Log: config.Level(zerolog.DebugLevel)}
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
	if time.Duration(stun.Every) != 20*time.Second || stun.Agree != 1 || len(stun.Servers) != 2 || stun.Accept[0].String() != "127.0.0.0/8" {
		t.Errorf("settings: %+v", stun)
	}
	want := []*hooks.Rule{
		{Name: "started+ip-changed", On: []string{"started", "ip-changed"}, Settle: 500 * time.Millisecond, Timeout: 2 * time.Minute, Retry: time.Hour},
		{Name: "started+ip-changed#3", On: []string{"started", "ip-changed"}, Settle: 0, Timeout: time.Second, Retry: 0},
		{
			Name: "started+ip-changed#2", On: []string{"ip-changed"}, From: []string{"stun", "home-2", "fire"},
			Match:  map[string]string{"family": "ipv[46]", "not-after": "*"},
			Settle: 500 * time.Millisecond, Timeout: 2 * time.Minute, Retry: time.Hour,
		},
		{
			Name: "backup-done", On: []string{"backup-done"}, Match: map[string]string{"size": "?*"},
			Settle: 500 * time.Millisecond, Timeout: 2 * time.Minute, Retry: time.Hour,
		},
	}
	for i, r := range cfg.Rules {
		if len(r.Do) == 0 {
			t.Errorf("rule %s has no steps", r.Name)
		}
		got := *r
		got.Do = nil
		if len(got.From) == 0 {
			got.From = nil
		}
		if len(got.Match) == 0 {
			got.Match = nil
		}
		if diff := cmp.Diff(want[i], &got); diff != "" {
			t.Errorf("rule %d: wanted (-) and found (+):\n%s", i+1, diff)
		}
	}
	if len(cfg.Rules) != len(want) {
		t.Errorf("%d rules", len(cfg.Rules))
	}
}

// TestDefaults wants the defaults of [daemon] when it is not there.
func TestDefaults(t *testing.T) {
	cfg, err := config.Parse("f", []byte("rule = [{ on = [\"started\"], do = [\"restart coturn.service\"] }]"), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Daemon{Socket: "/run/netwatch/netwatch.sock", State: "/var/lib/netwatch", Log: config.Level(zerolog.InfoLevel)}
	if diff := cmp.Diff(want, cfg.Daemon); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
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

// TestReferenceIsWhole wants every key, every kind and every verb in
// reference.toml, and each default as it is.
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
	for _, verb := range actions.Verbs {
		if !regexp.MustCompile(`(?m)^  "` + verb.Name + `[ "]`).Match(text) {
			t.Errorf("there is no step with %s", verb.Name)
		}
	}
	for _, s := range cfg.Sources {
		for _, kind := range sources.Kinds {
			if diff := cmp.Diff(kind.Settings(), s.Settings, cmp.Comparer(samePrefixes)); kind.Name == s.Kind && diff != "" {
				t.Errorf("[source.%s]: default (-) and written (+):\n%s", s.Name, diff)
			}
		}
	}
}
