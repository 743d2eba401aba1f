package servers

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A target is read as a step has it, and each mistake is told.
func TestParseTarget(t *testing.T) {
	for line, want := range map[string]string{
		"":                            "what to rotate is missing",
		"openvpn /f":                  `"openvpn" cannot be rotated`,
		"coturn":                      "the file of coturn is missing",
		"coturn private=auto":         "the file of coturn is missing",
		"coturn f":                    "f",
		"coturn /f private=some":      "private",
		"coturn /f x=y":               `"x=y" is not understood after the file`,
		"coturn /f private=auto":      "",
		"yaml /f":                     "KEY is missing",
		"yaml /f a..b":                "a name is missing",
		"yaml /f a.b":                 "",
		"yaml /f a.b family=ipv6":     "",
		"coturn /f private=auto x":    `"x" is not understood`,
		"livekit /f families=ipv7":    "ipv7",
		"coturn /f private=a private": "private",
	} {
		_, err := ParseTarget(strings.Fields(line))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", line, err, want)
		}
	}
}

// For a person an address stands behind the key of its server, or that of the step.
func TestKey(t *testing.T) {
	for line, want := range map[string]string{
		"coturn /f": "external-ip", "livekit /f": "node_ip", "yaml /f a.b": "a.b",
	} {
		target, err := ParseTarget(strings.Fields(line))
		if err != nil || target.Key() != want {
			t.Errorf("%s: %s, %v", line, target.Key(), err)
		}
	}
	for key, want := range map[string]string{"a.b.c": "c", "c": "c"} {
		if got := lastPart(key); got != want {
			t.Errorf("of %s the last part is %s", key, got)
		}
	}
}

// What a file says of an address, and who finds it out, is known as far as it can be read.
func TestTargetOfAFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	asks := write("asks", "rtc: {use_external_ip: true, node_ip: 203.0.113.5}\n")
	names := write("names", "rtc: {node_ip: 203.0.113.5}\n")
	silent := write("silent", "rtc: {use_external_ip: false}\n")
	for _, c := range []struct {
		target        Target
		names, itself bool
	}{
		{Target{Server: "livekit", File: asks}, false, true},
		{Target{Server: "livekit", File: names}, true, false},
		{Target{Server: "livekit", File: silent}, false, false},
		{Target{Server: "coturn", File: silent}, false, false},
	} {
		names, err := c.target.Names()
		if itself := c.target.Itself(); names != c.names || itself != c.itself || err != nil {
			t.Errorf("%+v: it names an address: %v, it finds it out: %v, %v", c.target, names, itself, err)
		}
	}
	for _, server := range []string{"livekit", "none"} {
		target := Target{Server: server, File: dir + "/none"}
		names, err := target.Names()
		if names || target.Itself() || err == nil || server == "livekit" && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s, of none: %v, %v", server, names, err)
		}
	}
}
