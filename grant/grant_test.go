package grant

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/helper"
	"netwatch/servers"
)

// rotationsOf are what rotations of these files need.
func rotationsOf(t *testing.T, files ...string) (all []rotationGrant) {
	t.Helper()
	for _, f := range files {
		keep := servers.Options{"private": "keep"}
		g, err := rotationNeed(t.Context(), rotation{Target: servers.Target{Server: "coturn", File: f, Options: keep}})
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, g)
	}
	return all
}

// Without a need there is no file.
func TestGrantsNothing(t *testing.T) {
	dropIn, err := helperDropIn(nil, nil)
	if text := polkitRules(nil) + dropIn; text != "" || err != nil {
		t.Error(text, err)
	}
	files, err := Needs{}.Files(t.Context())
	if err != nil || !slices.Equal(files, []File{{polkitFile, ""}, {dropInFile, ""}}) {
		t.Error(files, err)
	}
}

func TestPolkitRules(t *testing.T) {
	text := polkitRules([]actions.UnitNeed{
		{Unit: "a.service", Verb: "kill"}, {Unit: `b\x2d"];//.service`, Verb: "restart"},
	})
	for _, want := range []string{
		"\n\t\t[\"a.service\",\"kill\"],\n\t\t[\"b\\\\x2d\\\"];//.service\",\"restart\"]\n\t];\n",
		`action.id !== "org.freedesktop.systemd1.manage-units"`, `subject.user !== "netwatch"`,
		`"start": "Authentication is required to start '$(unit)'."`,
		`verb in shown && action.lookup("polkit.message") !== shown[verb]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("there is no %s in\n%s", want, text)
		}
	}
}

// A path is a path whatever is in it.
func TestHelperDropIn(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.conf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rotations := rotationsOf(t, file, `/nowhere/"%i"\/y`)
	rotations[0].Readers = []access.Reader{{Unit: "x.service", User: "turnserver", Groups: []string{"ssl-cert"}}}
	got, err := helperDropIn(rotations, []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")})
	if err != nil {
		t.Fatal(err)
	}
	want := `[Service]
ReadWritePaths="-/nowhere/\"%%i\"\\"
ReadWritePaths="-DIR"
Environment="NETWATCH_GRANTED={\"granted\":[` +
		`{\"server\":\"coturn\",\"file\":\"DIR/x.conf\",\"options\":{\"private\":\"keep\"},\"readers\":[` +
		`{\"unit\":\"x.service\",\"user\":\"turnserver\",\"groups\":[\"ssl-cert\"]}]},` +
		`{\"server\":\"coturn\",\"file\":\"/nowhere/\\\"%%i\\\"\\\\/y\",` +
		`\"options\":{\"private\":\"keep\"}}],\"accept\":[\"127.0.0.0/8\"]}"
`
	if _, got, _ := strings.Cut(got, "\n"); got != strings.ReplaceAll(want, "DIR", filepath.Dir(file)) {
		t.Errorf("it is\n%s\nwant\n%s", got, want)
	}
}

// What several rules need alike stands there once.
func TestHelperDropInOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x.conf")
	const rule = "[[rule]]\non = [\"started\"]\ndo = [\"rotate coturn FILE\"]\n"
	cfg, err := config.Parse("", []byte(strings.ReplaceAll(rule+rule, "FILE", file)), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	files, err := needsOf(cfg).Files(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(files[1].Text, `\"file\"`); n != 1 {
		t.Errorf("the file is there %d times:\n%s", n, files[1].Text)
	}
}

// No text that is not plain comes into a unit, whoever chose it: what JSON does not
// escape is refused.
func TestHelperDropInPlain(t *testing.T) {
	for _, bad := range []string{"\n", "\r", "\x00", "\u0085", "\u2028", "\u202e", "\x1b", "\t", "\xff", "\u00a0"} {
		text := "a" + bad + "ExecStart=/evil"
		if out, err := helperDropIn([]rotationGrant{{dirs: []string{"/" + text}}}, nil); err == nil {
			t.Errorf("directory %+q: it is\n%q", text, out)
		}
		out, err := helperDropIn([]rotationGrant{{Grant: helper.Grant{
			Target:  servers.Target{File: text},
			Readers: []access.Reader{{User: text}},
		}}}, nil)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if err == nil && (len(lines) != 3 || netwatch.CheckPlain(lines[2]) != nil) {
			t.Errorf("%+q: it is\n%q", text, out)
		}
	}
}

// What is no way to a file opens nothing, and keeps nothing else from being granted.
func TestOpenedOfNoFile(t *testing.T) {
	for _, file := range []string{"/", "/etc/passwd/x", "/etc/" + strings.Repeat("n", 300) + "/x"} {
		if dirs := opened(file); dirs != nil {
			t.Errorf("%.20s opens %v", file, dirs)
		}
	}
	if dirs := opened("/lab-absent/x"); len(dirs) != 1 || dirs[0] != "/lab-absent" {
		t.Errorf("what is not there yet opens %v", dirs)
	}
}

// A file that is right is left alone, another is replaced, one too many removed.
func TestPut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "x.rules")
	for i, c := range []struct {
		before func() error
		text   string
		want   netwatch.Outcome
	}{
		{nil, "", netwatch.Unchanged},
		{nil, "one", netwatch.Changed},
		{nil, "one", netwatch.Unchanged},
		{nil, "two", netwatch.Changed},
		{func() error { return os.Chmod(path, 0o600) }, "two", netwatch.Changed},
		{func() error { return os.WriteFile(path, []byte("other"), 0o600) }, "two", netwatch.Changed},
		{nil, "", netwatch.Changed},
		{nil, "", netwatch.Unchanged},
	} {
		if c.before != nil {
			if err := c.before(); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := (File{Path: path, Text: c.text}).Put(); got != c.want || err != nil {
			t.Errorf("%d: %s %v, want %s", i, got, err, c.want)
		}
		text, err := os.ReadFile(path)
		if string(text) != c.text || os.IsNotExist(err) != (c.text == "") {
			t.Errorf("%d: the file is %q (%v)", i, text, err)
		}
		if info, err := os.Stat(path); err == nil && info.Mode() != 0o644 {
			t.Errorf("%d: the mode is %s", i, info.Mode())
		}
	}
}

// What a source takes for public, the helper takes for public, and no more.
func TestAccepted(t *testing.T) {
	cfg, err := config.Load("../packaging/reference.toml", actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got := needsOf(cfg).accept; len(got) != 0 {
		t.Errorf("the reference accepts %v", got)
	}
	text := "[source.stun]\naccept = [\"127.0.0.0/8\"]\n[[rule]]\non = [\"started\"]\ndo = [\"probe\"]\n"
	cfg, err = config.Parse("x", []byte(text), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	if got := needsOf(cfg).accept; len(got) != 1 || got[0].String() != "127.0.0.0/8" {
		t.Errorf("it accepts %v", got)
	}
}

// What the daemon reads itself is to be opened to it, the password of a broker among that,
// but certificates, keys and what else may hold a secret.
func TestReadings(t *testing.T) {
	cfg, err := config.Parse("x", []byte(`[source.file]
files = ["/etc/a", "/etc/b"]
[source.cert]
files = ["/etc/crt.pem"]
key = ["/etc/key.pem"]
[source.mqtt]
broker = "mqtts://b.example"
host = "a"
password = "@/etc/p"
ca = "/etc/ca"
[[rule]]
on = ["started"]
do = ["rotate coturn /etc/c", "verify turn /etc/d", "http GET http://host/",
  "http POST @/etc/url header=@/etc/header 'header=X: y' body=@/etc/body"]
`), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	n := needsOf(cfg)
	const want = "[{/etc/a true} {/etc/b true} {/etc/p false} {/etc/ca false} {/etc/d false}] " +
		"[/etc/url /etc/header /etc/body]"
	if got := fmt.Sprint(n.reads, n.secrets); got != want {
		t.Error(got)
	}
}

// A secret that the daemon cannot read is named, with what to do.
func TestClosed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	him := access.User{UID: 61007, GID: 61007}
	errs := closed(him, file)
	if len(errs) != 1 || !strings.Contains(errs[0].Error(), "netwatch cannot read "+file) ||
		!strings.Contains(netwatch.Hint(errs[0]), "chmod 640 "+file) {
		t.Errorf("of a closed one it says %v", errs)
	}
	for _, well := range []string{"/etc/passwd", file + "-absent"} {
		if errs := closed(him, well); errs != nil {
			t.Errorf("of %s it says %v", well, errs)
		}
	}
}
