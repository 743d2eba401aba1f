package grant

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"netwatch/servers"
)

func TestWithoutFlag(t *testing.T) {
	for line, want := range map[string]struct {
		without, address string
		found            bool
	}{
		"/x --config /etc/l.yml --node-ip 203.0.113.5":   {"/x --config /etc/l.yml", "203.0.113.5", true},
		"-/x --node-ip=203.0.113.5 --config /etc/%i.yml": {"-/x --config /etc/%i.yml", "203.0.113.5", true},
		"/x --node-ip \"2001:db8::5\" -c /l":             {"/x -c /l", "2001:db8::5", true},
		"/x --node-ip ${NODE_IP} -c /l":                  {"/x -c /l", "invalid IP", true},
		"/x --node-ip 203.0.113.5 --node-ip 203.0.113.6": {"", "invalid IP", false},
		"/x --node-ip":           {"", "invalid IP", false},
		"/x --node-ipv4 1.2.3.4": {"", "invalid IP", false},
		"/x --config /--node-ip 203.0.113.5/l --node-ip-auto-generated yes": {"", "invalid IP", false},
	} {
		if !want.found {
			want.without = line
		}
		without, address, found := withoutFlag(line, "--node-ip")
		if without != want.without || address.String() != want.address || found != want.found {
			t.Errorf("%s: %q, %s, %v", line, without, address, found)
		}
	}
}

// The one command of a unit is what systemd starts, without our own drop-in.
func TestCommandOf(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"unit": "[Unit]\nExecStart=/not\n[Service]\n# ExecStart=/not\nExecStart=/a \\\n# a comment\n  -b\n" +
			"[Install]\nExecStart=/not\n",
		"more": "[Service]\nExecStart=/b\n", "reset": "[Service]\nExecStart=\nExecStart = /x\nExecStart=/c %i\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for want, names := range map[string][]string{
		"/a  -b": {"unit"}, "": {"unit", "more"}, "/c %i": {"unit", "reset", "gone"}, "/b": {"more"},
	} {
		var files []string
		for _, name := range names {
			files = append(files, filepath.Join(dir, name))
		}
		if got, err := commandOf(files); err != nil || got != want {
			t.Errorf("%v: %q, %v", names, got, err)
		}
	}
	if got := unitLines("a\\\nb\n"); !slices.Equal(got, []string{"a b", ""}) {
		t.Errorf("%q", got)
	}
}

// A mark says which flag of which unit is left out, and for which file.
func TestMark(t *testing.T) {
	want := flag{unit: "livekit@a.service", target: servers.Target{Server: "livekit", File: "/etc/a b=c.yml"}}
	mark := want.mark()
	if got := flagged(want.unit, mark.Text); got.unit != want.unit || !got.target.Equal(want.target) {
		t.Errorf("%+v of\n%s", got, mark.Text)
	}
	for line, is := range map[string]string{
		"/x --config /etc/%i/%%i.yml": "/x --config /etc/a/%i.yml", "%n %N %p": "livekit@a.service livekit@a livekit",
	} {
		if got := want.specified(line); got != is {
			t.Errorf("%s is %s, want %s", line, got, is)
		}
	}
	for _, f := range []flag{
		{unit: "no-such.service", target: want.target}, {unit: "x.service", target: servers.Target{Server: "coturn"}},
	} {
		if err := f.read(); err != nil || f.found {
			t.Errorf("%+v: %v", f, err)
		}
	}
	if f := flagged("x.service", "Server=other\n"); f.read() == nil {
		t.Error("a flag of a server that nobody knows is left out")
	}
}
