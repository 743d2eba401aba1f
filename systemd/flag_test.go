package systemd_test

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"netwatch/systemd"
)

func TestFindFlag(t *testing.T) {
	for line, want := range map[string]struct {
		without, address string
	}{
		"/x --config /etc/l.yml --node-ip 203.0.113.5":   {"/x --config /etc/l.yml", "203.0.113.5"},
		"-/x --node-ip=203.0.113.5 --config /etc/%i.yml": {"-/x --config /etc/%i.yml", "203.0.113.5"},
		"/x --node-ip \"2001:db8::5\" -c /l":             {"/x -c /l", "2001:db8::5"},
		"/x --node-ip ${NODE_IP} -c /l":                  {"/x -c /l", "invalid IP"},
		"/x --node-ip 203.0.113.5 --node-ip 203.0.113.6": {},
		"/x --node-ip":           {},
		"/x --node-ipv4 1.2.3.4": {},
		"/x --config /--node-ip 203.0.113.5/l --node-ip-auto-generated yes": {},
		"/x --node-ip 203.0.113.5 \u202e":                                   {},
		`/bin/sh -c "exec /x -c /l --node-ip 203.0.113.5"`:                  {},
		"/bin/sh -c '/x --node-ip $(curl -4 ifconfig.me) -c /l'":            {},
		"/bin/sh -c '/x --node-ip `hostname -I` -c /l'":                     {},
		`/bin/sh -c "/x --node-ip 203.0.113.5 -c /l"`:                       {`/bin/sh -c "/x -c /l"`, "203.0.113.5"},
	} {
		f, found := systemd.FindFlag("u.service", "--node-ip", []byte("[Service]\nExecStart="+line+"\n"))
		if found != (want.without != "") {
			t.Errorf("%s: that it is there is %v", line, found)
		}
		if !found {
			continue
		}
		again := systemd.CommandLine([]byte("[Service]\nExecStart=/other\n"), []byte(f.Text()))
		if again != want.without || f.Address.String() != want.address {
			t.Errorf("%s: %q, %s", line, again, f.Address)
		}
	}
}

// A line in many pieces is no long work: the file may be that of an app, and root reads it.
func TestAssignmentInPieces(t *testing.T) {
	text := []byte("[S]\na=" + strings.Repeat("\\\n", 1<<19) + "b\n")
	began := time.Now()
	all := systemd.Assignments(text)
	if len(all) != 1 || all[0].Value != "b" || time.Since(began) > 5*time.Second {
		t.Errorf("%d after %s", len(all), time.Since(began))
	}
}

// The one command of a unit is what systemd starts, without our own drop-in.
func TestCommandLine(t *testing.T) {
	texts := map[string]string{
		"unit": "[Unit]\nExecStart=/not\n[Service]\n# ExecStart=/not\nExecStart=/a \\\n# a comment\n  -b\n" +
			"[Install]\nExecStart=/not\n",
		"more": "[Service]\nExecStart=/b\n", "reset": "[Service]\nExecStart=\nExecStart = /c %i\n",
		"/d/" + systemd.FlagDropIn: "[Service]\nExecStart=\nExecStart=/ours\n",
		"slashes":                  "[Service]\nExecStart=/s \\\\\n-x=\nUser=\\\n", "ends": "[Service]\nExecStart=/e \\\n",
	}
	read := func(name string) ([]byte, error) {
		if name == "closed" {
			return nil, fs.ErrPermission
		}
		if _, is := texts[name]; !is {
			return nil, os.ErrNotExist
		}
		return []byte(texts[name]), nil
	}
	for want, names := range map[string][]string{
		"/a  -b": {"unit", "/d/" + systemd.FlagDropIn}, "": {"unit", "more"}, "/c %i": {"unit", "reset", "gone"},
		"/b": {"more"}, `/s \\`: {"slashes"}, "/e": {"ends"},
	} {
		all, err := systemd.UnitTexts(append([]string{""}, names...), read)
		if got := systemd.CommandLine(all...); err != nil || got != want {
			t.Errorf("%v: %q, %v", names, got, err)
		}
	}
	if _, err := systemd.UnitTexts([]string{"unit", "closed"}, read); !errors.Is(err, fs.ErrPermission) {
		t.Error(err)
	}
	want := []systemd.Assignment{{"", "a", "b  c"}, {"[S]", "d", "e=f"}}
	if got := systemd.Assignments([]byte("a = b \\\n c\nnothing\n[S]\r\n;x=y\n d=e=f")); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}
