package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

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
	for _, line := range []string{"", "hook", "hook opnvpn", "fire hook openvpn", "hook openvpn --help", "hook openvpn -c f -h", "-c hook openvpn", "--json hook openvpn"} {
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

// Who does not wait may have gone before his event is accepted.
func TestFireOfWhoHasGone(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "netwatch.toml")
	text := fmt.Sprintf("[daemon]\nsocket = %q\nstate = %q\n[[rule]]\non = [\"vpn-changed\"]\ndo = [\"exec /bin/true\"]\n", dir+"/s", dir+"/state")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(file, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer d.store.Close()
	gone, leave := context.WithCancel(t.Context())
	leave()
	a, err := d.Fire(gone, control.OpenVPNRequest(nil, os.Getenv), nil)
	if err != nil || len(a.Rules) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	d.rules.Drain(t.Context())
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
	cmd.Args[0] = "netwatch" // for testscript.Main
	cmd.Env = []string{"script_type=up"}
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Run(); err != nil {
		t.Error(err)
	}
}

// An event is of the source that lets its user fire.
func TestSourceOfTheUser(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "netwatch.toml")
	text := fmt.Sprintf("[daemon]\nsocket = %q\nstate = %q\n[source.office]\nkind = \"openvpn\"\nusers = [\"root\"]\n"+
		"[source.guest]\nkind = \"openvpn\"\nusers = [\"nobody\"]\n[[rule]]\non = [\"vpn-changed\"]\ndo = [\"exec /bin/true\"]\n", dir+"/s", dir+"/state")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := newDaemon(file, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	defer d.store.Close()
	for uid, want := range map[uint32]string{0: "office", 65534: "guest"} {
		r := control.OpenVPNRequest(nil, os.Getenv)
		r.UID = uid
		if got, err := d.sourceOf(r); got != want || err != nil {
			t.Errorf("of user %d: %s, %v", uid, got, err)
		}
	}
}
