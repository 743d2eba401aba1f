package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/control"
)

func TestParseHook(t *testing.T) {
	t.Setenv("NETWATCH_CONFIG", "")
	const standard = "/etc/netwatch/netwatch.toml"
	cases := map[string]hook{
		"hook openvpn":                          {standard, nil},
		"hook openvpn add 10.8.0.2 --help":      {standard, []string{"add", "10.8.0.2", "--help"}},
		"-c f hook openvpn x":                   {"f", []string{"x"}},
		"-cf hook openvpn x":                    {"f", []string{"x"}},
		"-c=f hook openvpn x":                   {"f", []string{"x"}},
		"--config f hook openvpn x":             {"f", []string{"x"}},
		"--config=f hook openvpn x":             {"f", []string{"x"}},
		"hook -c f openvpn x":                   {"f", []string{"x"}},
		"hook openvpn -c f x -c g":              {"f", []string{"x", "-c", "g"}},
		"-c f hook --config g openvpn -c=h tun": {"h", []string{"tun"}},
		"hook openvpn -c":                       {standard, []string{"-c"}},
		"hook openvpn --json":                   {standard, []string{"--json"}},
	}
	for line, want := range cases {
		got, ok := parseHook(strings.Fields(line))
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(hook{})); !ok || diff != "" {
			t.Errorf("%s: %v\n%s", line, ok, diff)
		}
	}
	for _, line := range []string{
		"", "hook", "hook opnvpn", "fire hook openvpn", "hook openvpn --help",
		"hook openvpn -c f -h", "-c hook openvpn", "--json hook openvpn",
	} {
		if got, ok := parseHook(strings.Fields(line)); ok {
			t.Errorf("%q was taken for %+v", line, got)
		}
	}
}

// A full pipe is not waited for.
func TestComplaintIsNotWaitedFor(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	fd := int(w.Fd())
	if !writable(w) {
		t.Error("an empty pipe is full")
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = unix.Write(fd, make([]byte, 4096))
	}
	if writable(&output{file: w}) {
		t.Errorf("a full pipe is not (%v)", err)
	}
}

// What the hook tells is of OpenVPN's source, and nobody waits for what follows.
func TestHookRequest(t *testing.T) {
	t.Setenv("script_type", "ipchange")
	for _, name := range []string{"dev", "trusted_ip", "trusted_ip6"} {
		t.Setenv(name, "")
	}
	want := control.Request{
		Event: netwatch.VPNChanged, Source: "openvpn", NoWait: true,
		Fields: map[string]string{"script": "ipchange", "new": "192.0.2.1"},
	}
	if diff := cmp.Diff(want, hook{args: []string{"[AF_INET]192.0.2.1 1194"}}.request()); diff != "" {
		t.Errorf("wanted (-) and found (+):\n%s", diff)
	}
}

// Who does not read what went wrong cannot make the hook fail.
func TestHookOfDeafOpenVPN(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	_ = r.Close()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "-c", t.TempDir()+"/none.toml", "hook", "openvpn", "tun0")
	cmd.Args[0] = "netwatch" // For testscript.Main
	cmd.Env = []string{"script_type=up"}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}
