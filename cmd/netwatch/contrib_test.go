package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch/actions"
	"netwatch/config"
)

// The hooks of contrib fire once with the right words, and end well however
// netwatch ends. The netwatch here is a fake that writes its words down, and so is
// openssl, which has no certificate to look at: the lab has a real one.
func TestContribHooks(t *testing.T) {
	dir := t.TempDir()
	fake := "#!/bin/sh\nprintf '%s\\n' \"$@\" >" + dir + "/words\nexit $CODE\n"
	if err := os.WriteFile(dir+"/netwatch", []byte(fake), 0o755); err != nil {
		t.Fatal(err)
	}
	says := "#!/bin/sh\necho sha256 Fingerprint=AB:0C\n"
	if err := os.WriteFile(dir+"/openssl", []byte(says), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct{ hook, argument, fields string }{
		{"certbot/netwatch", "", "file=/etc/letsencrypt/live/example.org/fullchain.pem\n" +
			"names=example.org,www.example.org\nnew=ab0c\n"},
		{"yunohost/50-netwatch", "example.org", "file=/etc/yunohost/certs/example.org/crt.pem\n" +
			"names=example.org\nnew=ab0c\n"},
	} {
		hook, err := filepath.Abs("../../contrib/" + test.hook)
		if err != nil {
			t.Fatal(err)
		}
		for _, code := range []string{"0", "1", "2", "3"} {
			cmd := exec.Command(hook, test.argument)
			cmd.Env = []string{
				"PATH=" + dir + ":/usr/bin:/bin", "CODE=" + code,
				"RENEWED_LINEAGE=/etc/letsencrypt/live/example.org", "RENEWED_DOMAINS=example.org www.example.org",
			}
			if out, err := cmd.CombinedOutput(); err != nil || (len(out) == 0) != (code == "0") {
				t.Errorf("%s when netwatch exits %s: %v, %s", test.hook, code, err, out)
			}
			words, err := os.ReadFile(dir + "/words")
			if diff := cmp.Diff("fire\n--no-wait\n--timeout\n5s\ncert-renewed\n"+test.fields, string(words)); err != nil ||
				diff != "" {
				t.Error(test.hook, err, diff)
			}
		}
	}
}

// The configuration of a router has no mistake as it is, and its init script is one that a
// shell without more than POSIX has reads.
func TestContribOfARouter(t *testing.T) {
	if _, err := config.Load("../../contrib/openwrt/netwatch.toml", actions.Env{}); err != nil {
		t.Error(err)
	}
	const script = "../../contrib/openwrt/netwatch"
	if out, err := exec.Command("sh", "-n", script).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if info, err := os.Stat(script); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("nobody can run it: %v, %v", info, err)
	}
}

// The units that restart a container leave one alone that somebody has stopped, and say so; the
// engine here is a fake that says how the container is: whether somebody has stopped it, as Podman
// 5 knows, or else whether it was not the kernel that killed it.
func TestContribOfContainers(t *testing.T) {
	for _, engine := range []string{"docker", "podman"} {
		line, dir := decides(t, engine), t.TempDir()
		fake := "#!/bin/sh\ncase $* in\n" +
			"'container inspect -f {{.State.Status}} {{.State.ExitCode}} {{.State.StoppedByUser}} -- turn') $STOPPED ;;\n" +
			"'container inspect -f {{.State.Status}} {{.State.ExitCode}} {{not .State.OOMKilled}} -- turn') $SAYS ;;\n" +
			"*) exit 9 ;;\nesac\n"
		if err := os.WriteFile(dir+"/"+engine, []byte(fake), 0o755); err != nil {
			t.Fatal(err)
		}
		for says, stays := range map[string]bool{
			"echo running 0 true": false, "echo exited 1 true": false, "echo exited 139 true": false, "false": false,
			"echo created 0 true": true, "echo created 128 true": false, "echo exited 0 true": true,
			"echo exited 137 true": true, "echo exited 137 false": false, "echo exited 143 true": true,
		} {
			stopped := map[string]string{"docker": "exit 9", "podman": "false"}[engine]
			judges(t, line, engine, dir, []string{"STOPPED=" + stopped, "SAYS=" + says}, stays)
			if engine == "podman" && says != "false" {
				judges(t, line, engine, dir, []string{"STOPPED=" + says, "SAYS=exit 9"}, stays)
			}
		}
	}
}

// decides is the line of a unit of contrib that decides whether a container stays as it is.
func decides(t *testing.T, engine string) string {
	t.Helper()
	text, err := os.ReadFile("../../contrib/docker/netwatch-" + engine + "@.service")
	if err != nil {
		t.Fatal(err)
	}
	unit := strings.ReplaceAll(string(text), "\\\n", " ")
	_, line, _ := strings.Cut(unit, "\nExecStartPre=:/bin/sh -c '")
	line, rest, _ := strings.Cut(line, "' %i\n")
	if want := "ExecStart=" + engine + " restart -- %i\n"; !strings.HasPrefix(rest, want) {
		t.Errorf("%s does %.60q", engine, rest)
	}
	return line
}

// judges wants that line to have a container stay as it is, and say how to start it, or not.
func judges(t *testing.T, line, engine, dir string, env []string, stays bool) {
	t.Helper()
	cmd := exec.Command("sh", "-c", line, "turn")
	cmd.Env = slices.Concat(env, []string{"PATH=" + dir + ":/usr/bin:/bin"})
	out, err := cmd.Output()
	if (err != nil) != stays || strings.Contains(string(out), "; to start it: "+engine+" start turn\n") != stays {
		t.Errorf("%s with %q: %v, %q", engine, env, err, out)
	}
}
