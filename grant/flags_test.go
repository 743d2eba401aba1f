package grant

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
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
