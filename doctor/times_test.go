package doctor

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"netwatch/actions"
	"netwatch/config"
	"netwatch/machine/machinetest"
)

// configured is a scene of a configuration.
func configured(t *testing.T, text string) *scene {
	t.Helper()
	cfg, err := config.Parse("netwatch.toml", []byte(text), actions.Env{})
	if err != nil {
		t.Fatal(err)
	}
	return &scene{cfg: cfg}
}

// TestTimes finds rules that wait for a time that never comes, and no others.
func TestTimes(t *testing.T) {
	const rules = `
[[rule]]
name = "any"
on = ["due", "started"]
do = ["exec /bin/true"]
[[rule]]
name = "week"
on = ["due"]
match = { at = "Mon *" }
do = ["exec /bin/true"]
`
	for timer, want := range map[string][]string{
		"": {"rule any", "rule week"},
		"[source.timer]\nat = [\"04:30\", \"Mon 07:00\"]":  nil,
		"[source.night]\nkind = \"timer\"\nevery = \"6h\"": {"rule week"},
	} {
		found := checkTimes(t.Context(), configured(t, timer+rules))
		if len(found) != len(want) {
			t.Errorf("%s: %+v", timer, found)
			continue
		}
		for i, f := range found {
			wants(t, timer, f, Warning, "no [source.timer] has")
			if f.What != want[i] {
				t.Errorf("%s: it is about %s, not %s", timer, f.What, want[i])
			}
		}
	}
}

// TestMail finds that nobody takes the mail of a step, once for all of them.
func TestMail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { // Ends when the listener is closed
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = fmt.Fprint(conn, "220 here\r\n250 here\r\n221 bye\r\n")
		}
	}()
	const step = `[[rule]]
on = ["started"]
do = ["mail a@example.org", "mail b@example.org"]
`
	if found := checkMail(t.Context(), configured(t, "[[rule]]\non = ['x']\ndo = ['exec /bin/true']\n")); len(found) > 0 {
		t.Errorf("without mail: %+v", found)
	}
	s := configured(t, fmt.Sprintf("[daemon]\nsmtp = %q\n", l.Addr())+step)
	for _, level := range []Level{OK, Problem} {
		found := checkMail(t.Context(), s)
		if len(found) != 1 {
			t.Fatalf("%+v", found)
		}
		wants(t, "mail", found[0], level, l.Addr().String())
		_ = l.Close()
	}
}

// TestMailThatNobodyReads finds mail to root@localhost on a YunoHost, unless somebody reads
// what is for root; and to nobody else and nowhere else.
func TestMailThatNobodyReads(t *testing.T) {
	ynh := machinetest.Files{"/etc/yunohost/current_host": "example.org\n", "/etc/aliases": "postmaster: root\n"}
	for name, c := range map[string]struct {
		files  machinetest.Files
		to     string
		unread bool
	}{
		"a YunoHost":            {ynh, "root@localhost", true},
		"without aliases":       {machinetest.Files{"/etc/yunohost/current_host": "example.org\n"}, "root@localhost", true},
		"with one for root":     {ynh.And(machinetest.Files{"/etc/aliases": "Root : alice\n"}), "root@localhost", false},
		"to its administrators": {ynh, "root@example.org", false},
		"on any other machine":  {machinetest.Files{"/etc/aliases": "postmaster: root\n"}, "root@localhost", false},
	} {
		s := configured(t, "[[rule]]\non = ['started']\ndo = ['mail a@example.org', 'mail "+c.to+"']\n")
		s.Tree, s.Config = c.files.Build(t), "/etc/netwatch/netwatch.toml"
		found := s.judgeMailboxes(s.cfg.Needs().Mailboxes)
		if (len(found) > 0) != c.unread {
			t.Errorf("%s: %+v", name, found)
		}
		for _, f := range found {
			wants(t, name, f, Warning, "/var/mail/nobody")
			if !strings.Contains(f.Hint, "root@example.org") {
				t.Errorf("%s: the hint is %q", name, f.Hint)
			}
		}
	}
}
