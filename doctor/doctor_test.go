package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/machine"
	"netwatch/packaging"
	"netwatch/servers"
	"netwatch/sources"
	"netwatch/systemd"
)

func addr(text string) netip.Addr {
	if text == "" {
		return netip.Addr{}
	}
	return netip.MustParseAddr(text)
}

// isWrong says whether there is something to be done.
func isWrong(f Finding) bool { return f.Level == Warning || f.Level == Problem }

// wants wants a finding of a level with these words, and a remedy where it is wrong.
func wants(t *testing.T, what string, f Finding, level Level, words string) {
	t.Helper()
	if f.Level != level || !strings.Contains(f.Found, words) || (isWrong(f) || f.Level == Note) && f.Hint == "" {
		t.Errorf("%s: %+v, and not %s with %q and, if it is wrong, a hint", what, f, level, words)
	}
}

// Without an answer, a family for which no server could be asked is no second problem.
func TestJudgeUnasked(t *testing.T) {
	silent := told{"stun", sources.Told{
		Family: netwatch.IPv4, Answers: []sources.Answer{{Server: "s:3478", Err: errors.New("no answer")}},
	}}
	unasked := told{"stun", sources.Told{Family: netwatch.IPv6}}
	for _, v := range []*told{&silent, &unasked} {
		v.Address, _, v.Err = sources.Verdict(v.Answers, 1)
	}
	found := judgeServers([]told{silent, unasked}, false)
	if len(found) != 2 || found[0].Level != Problem || found[1].Level == Problem {
		t.Errorf("one is silent: %+v", found)
	}
	found = judgeServers([]told{unasked}, false)
	if len(found) != 1 || found[0].Level != Problem || strings.Contains(found[0].Found, "()") {
		t.Errorf("nobody is asked: %+v", found)
	}
}

func TestJudgeServers(t *testing.T) {
	said := func(addresses ...string) (all []sources.Answer) {
		for i, a := range addresses {
			answer := sources.Answer{Server: sources.Server(fmt.Sprintf("s%d:3478", i)), Address: addr(a)}
			if a == "" {
				answer.Err = errors.New("no answer")
			}
			all = append(all, answer)
		}
		return all
	}
	for _, test := range []struct {
		name   string
		said   []sources.Answer
		some   bool
		here   string
		levels []Level
		words  string // Of the last
	}{
		{"all agree", said("203.0.113.1", "203.0.113.1", "203.0.113.1"), true, "", []Level{OK}, "said by 3 of 3"},
		{"one is silent", said("203.0.113.1", "", "203.0.113.1"), true, "", []Level{OK}, "said by 2 of 3"},
		{
			"one lies", said("203.0.113.1", "203.0.113.9", "203.0.113.1"), true, "",
			[]Level{OK, Problem},
			"s1:3478 says 203.0.113.9",
		},
		{"none agree", said("203.0.113.1", "203.0.113.2", "203.0.113.3"), true, "", []Level{Problem}, ""},
		{"all silent", said("", "", ""), false, "", []Level{Problem}, ""},
		{"a family that is not there", said("", "", ""), true, "", []Level{OK}, "none here"},
		{"a family that leads nowhere", said("", "", ""), true, "2001:db8::1", []Level{Note}, "this machine has 2001:db8::1"},
		{"a family of which nobody is asked", said(), true, "2001:db8::1", []Level{Note}, "nobody tells it"},
	} {
		v := told{"stun", sources.Told{Family: netwatch.IPv4, Answers: test.said}}
		v.Address, _, v.Err = sources.Verdict(v.Answers, 2)
		found := v.judge(test.some, addr(test.here))
		if len(found) != len(test.levels) {
			t.Errorf("%s: %+v", test.name, found)
			continue
		}
		for i, f := range found {
			words := test.words
			if i < len(found)-1 {
				words = ""
			}
			wants(t, test.name, f, test.levels[i], words)
		}
	}
}

func TestJudgeNAT(t *testing.T) {
	public := addr("203.0.113.1")
	homeRouter := []netip.Addr{addr("192.168.1.1"), {}, addr("198.51.100.1")}
	wants(t, "home router", judgeNAT("", public, addr("192.168.1.2"), homeRouter, addr("")), OK, "forward")
	wants(t, "own is shared", judgeNAT("", public, addr("100.64.0.2"), nil, addr("")), Warning, "100.64.0.2")
	providers := []netip.Addr{addr("192.168.1.1"), addr("100.127.255.1")}
	wants(t, "provider's router", judgeNAT("", public, addr("192.168.1.2"), providers, addr("")), Warning, "100.127.255.1")
	lite := []netip.Addr{addr("192.168.1.1"), addr("192.0.0.1")}
	six := addr("2001:db8::1")
	wants(t, "DS-Lite", judgeNAT("", public, addr("192.168.1.2"), lite, six), Warning, "192.0.0.1 on the way")
	xlat := judgeNAT("", public, addr("192.0.0.4"), nil, six)
	wants(t, "464XLAT", xlat, Warning, "192.0.0.4 on the way")
	if !strings.Contains(xlat.Hint, "AAAA record of coturn's name with 2001:db8::1") {
		t.Errorf("the remedy: %+v", xlat)
	}
}

func TestJudgeExternal(t *testing.T) {
	keep := servers.Options{"private": "keep"}
	r := servers.Rotation{
		Target: servers.Target{Server: "coturn", File: "f", Options: keep}, Here: []netip.Addr{addr("192.168.1.2")},
		Public: netwatch.Addresses{netwatch.IPv4: {Address: addr("203.0.113.1"), Own: addr("192.168.1.2")}},
	}
	for _, test := range []struct {
		text  string
		level Level
		words string
	}{
		{"external-ip=203.0.113.1\n", OK, "203.0.113.1"},
		{"external-ip=203.0.113.1/192.168.1.2\n", OK, "203.0.113.1"},
		{"external-ip=203.0.113.2\n", Problem, "external-ip is 203.0.113.2, and the public address 203.0.113.1"},
		{"external-ip=\n", Problem, "external-ip is 0.0.0.0"},
		{"external-ip=203.0.113.9/192.168.1.9\nexternal-ip=203.0.113.8/192.168.1.8\n", Warning, "not certain"},
		{"realm=x\n", Problem, "missing"},
		{"\n", Problem, "open relay"},
	} {
		wants(t, test.text, judgeExternal(r, []byte(test.text)), test.level, test.words)
	}
}

func TestJudgeDomain(t *testing.T) {
	known := map[netwatch.Family]netip.Addr{netwatch.IPv4: addr("203.0.113.1")}
	wants(t, "right", judgeDomain("d", []netip.Addr{addr("203.0.113.1")}, nil, known), OK, "203.0.113.1")
	wants(t, "elsewhere", judgeDomain("d", []netip.Addr{addr("203.0.113.2")}, nil, known), Problem, "leads to 203.0.113.2")
	wants(t, "one of two", judgeDomain("d", []netip.Addr{addr("203.0.113.1"), addr("203.0.113.2")}, nil, known),
		Problem, "leads to 203.0.113.2,")
	wants(t, "private here", judgeDomain("d", []netip.Addr{addr("127.0.0.1")}, nil, known), Unknown, "")
	wants(t, "not found", judgeDomain("d", nil, errors.New("no such host"), known), Unknown, "no such host")
	wants(t, "a family not known", judgeDomain("d", []netip.Addr{addr("2001:db8::1"), addr("203.0.113.1")}, nil, known),
		OK, "leads to 203.0.113.1")
}

func TestJudgeRelays(t *testing.T) {
	right := netwatch.Result{Outcome: netwatch.Unchanged, Detail: "ipv4 203.0.113.1 (tls)"}
	wants(t, "right", judgeRelays("r", right), OK, "callers get ipv4 203.0.113.1 (tls)")
	wants(t, "unknown", judgeRelays("r", netwatch.Result{Outcome: netwatch.Skipped, Detail: "unknown: x"}),
		Unknown, "unknown: x")
	wants(t, "wrong", judgeRelays("r", netwatch.Failure(netwatch.WithHint(errors.New("x"), "y"))), Problem, "x")
	for _, err := range []error{actions.ErrNoCredentials, servers.ErrNoKeys} {
		f := judgeRelays("r", netwatch.Failure(netwatch.WithHint(fmt.Errorf("x: %w", err), "write one")))
		if wants(t, "not to be asked", f, Unknown, err.Error()); f.Hint != "write one" {
			t.Errorf("not to be asked: the remedy is %q", f.Hint)
		}
	}
}

func TestJudgeUnit(t *testing.T) {
	wants(t, "runs", judgeUnit("u", systemd.UnitLook{
		State: "active (running)", Running: true, File: "enabled",
		Limit: "5 starts in 10s",
	}), OK, "5 starts in 10s")
	wants(t, "dead", judgeUnit("u", systemd.UnitLook{State: "failed (failed)"}), Problem, "failed")
	wants(t, "at its limit", judgeUnit("u", systemd.UnitLook{
		State: "failed (failed)", AtLimit: true,
		Limit: "5 starts in 10s",
	}), Problem, "more often than 5 starts in 10s")
	wants(t, "disabled", judgeUnit("u", systemd.UnitLook{Running: true, File: "disabled"}), Warning, "next boot")
	wants(t, "static", judgeUnit("u", systemd.UnitLook{Running: true, File: "static"}), OK, "")
}

func TestJudgeCertificate(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	wants(t, "long", judgeCertificate("f", now.AddDate(0, 0, 8), nil, now), OK, "2026-12-01")
	wants(t, "soon", judgeCertificate("f", now.AddDate(0, 0, 6), nil, now), Warning, "2026-11-29")
	wants(t, "over", judgeCertificate("f", now, nil, now), Problem, "expired")
	wants(t, "wrong", judgeCertificate("f", now, netwatch.WithHint(errors.New("no match"), "do"), now),
		Problem, "no match")
	wants(t, "not to be read", judgeCertificate("f", now, fmt.Errorf("opening: %w", fs.ErrPermission), now),
		Unknown, "permission denied")
}

func TestJudgeVPN(t *testing.T) {
	s := &scene{Doctor: Doctor{Tree: machine.Tree(t.TempDir()), Program: "/usr/bin/netwatch"}, cfg: new(config.Config)}
	client := filepath.Join(string(s.Tree), "etc/openvpn/client")
	if err := os.MkdirAll(client, 0o755); err != nil {
		t.Fatal(err)
	}
	judge := func(text string, wanted bool) Finding {
		if err := os.WriteFile(client+"/vpn.conf", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		found := machine.Find(s.Tree, s.Program).VPNs
		if len(found) != 1 {
			t.Fatalf("%q is no client", text)
		}
		return s.judgeVPN(found[0], wanted)
	}
	hook := "ipchange \"/usr/bin/netwatch hook openvpn\"\n"
	wants(t, "right", judge("client\nscript-security 2\n"+hook, true), OK, "ipchange")
	wants(t, "level 1", judge("client\nscript-security 1\n"+hook, true), Problem, "script-security is 1")
	wants(t, "no level", judge("client\n"+hook, true), Problem, "script-security is 1")
	wants(t, "in a comment", judge("client\nscript-security 2\n;"+hook, true), Warning, "nothing in it calls netwatch")
	wants(t, "not wanted", judge("remote x\n", false), OK, "nobody")
	unheard := judge("client\nscript-security 2\n"+hook, false)
	wants(t, "no rule", unheard, Note, "no rule waits for vpn-changed")
	if !strings.Contains(unheard.Hint, "netwatch init") {
		t.Errorf("the remedy: %+v", unheard)
	}
	for _, text := range []string{"", "script-security 1\n", "script-security 2\nup /etc/openvpn/own\n"} {
		f := judge("client\n"+text, true)
		if f.Hint != "netwatch init has it call netwatch, or says what keeps it from that" {
			t.Errorf("the remedy for %q: %+v", text, f)
		}
	}
	own := filepath.Join(string(s.Tree), "etc/openvpn/own")
	const calls = "client\nscript-security 2\nipchange \"/etc/openvpn/own more\"\n"
	for line, level := range map[string]Level{
		"GOMAXPROCS=1 netwatch hook openvpn || :": OK, "# netwatch hook openvpn": Warning, "echo": Warning,
	} {
		if err := os.WriteFile(own, []byte("#!/bin/sh\n"+line+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		wants(t, "a script with "+line, judge(calls, true), level, "")
	}
	script := filepath.Join(string(s.Tree), "etc/openvpn/scripts/route-up.d")
	err := errors.Join(os.MkdirAll(script, 0o755), os.WriteFile(script+"/90-netwatch",
		[]byte("GOMAXPROCS=1 /usr/bin/netwatch hook openvpn || :\n"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "by YunoHost's scripts", judge("client\n", true), OK, "nobody")
}

func TestDaemon(t *testing.T) {
	look := func(status string, err error) []Finding {
		var d control.Status
		if err := json.Unmarshal([]byte(status), &d); err != nil {
			t.Fatal(err)
		}
		says := func() (control.Status, error) { return d, err }
		none := func(context.Context, string) (systemd.UnitLook, error) { return systemd.UnitLook{}, errors.New("none") }
		return checkDaemon(t.Context(), &scene{Doctor: Doctor{Version: "2"}, daemon: says, lookUnit: none})
	}
	for _, test := range []struct {
		name, status string
		level        Level
		what, words  string
	}{
		{"well", "", OK, "daemon", "version 2, process 7"},
		{"another version", `,"version":"1"`, Warning, "daemon", "version 1, and this program 2"},
		{"refused", `,"refused":"line 1"`, Problem, "daemon", "older configuration: line 1"},
		{
			"a blind source", `,"sources":[{"name":"a"},{"name":"cert","error":"cannot read"}]`,
			Problem, "source cert", "not watching: cannot read",
		},
		{
			"in trouble", `,"sources":[{"name":"stun","trouble":"one lies"}]`,
			Problem, "source stun", "watching, but one lies",
		},
		{
			"a remedy", `,"sources":[{"name":"file","trouble":"denied\nhint: make room"}]`,
			Problem, "source file", "watching, but denied",
		},
		{
			"gave up", `,"rules":[{"name":"a"},{"name":"r","failed":{"step":"s","error":"e"}}]`,
			Problem, "rule r", "gave up: s: e",
		},
		{
			"fails", `,"rules":[{"name":"r","waiting":{"tried":{"outcome":"failed","step":"s","error":"e"}}}]`,
			Problem, "rule r", "fails: s: e",
		},
		{"held", `,"rules":[{"name":"r","waiting":{"tried":{"outcome":"held","step":"s"}}}]`, OK, "daemon", "version 2"},
		{
			"state", `,"unwritten":{"error":"the disk is full","hint":"make room"}`,
			Problem, "state", "the disk is full; what was accepted since",
		},
		{
			"history", `,"unkept":{"since":"2026-11-23T04:30:00Z","error":"the disk is full","hint":"make room"}`,
			Warning, "history", "not kept since 2026-11-2",
		},
	} {
		found := look(`{"version":"2","pid":7`+test.status+"}", nil)
		if wants(t, test.name, found[0], test.level, test.words); len(found) != 1 || found[0].What != test.what {
			t.Errorf("%s: %+v", test.name, found)
		}
		if f := found[0]; strings.Contains(test.status, "make room") != (f.Hint == "make room") {
			t.Errorf("the remedy: %+v", f)
		}
	}
	wants(t, "down", look("{}", netwatch.WithHint(errors.New("nobody listens"), "start it"))[0],
		Problem, "nobody listens")
	wants(t, "not to be asked", look("{}", fs.ErrPermission)[0], Unknown, "")
}

// A daemon that runs, and that the next boot does not start, is found; but not one that was
// started by hand.
func TestDaemonAtTheNextBoot(t *testing.T) {
	for pid, want := range map[int]Level{7: Warning, 8: OK} {
		s := &scene{
			daemon: func() (control.Status, error) { return control.Status{PID: pid}, nil },
			lookUnit: func(context.Context, string) (systemd.UnitLook, error) {
				return systemd.UnitLook{Running: true, PID: 7, File: "disabled"}, nil
			},
		}
		one(t, "disabled", checkDaemon(t.Context(), s), want, "")
	}
}

// A file that was changed and not put in force yet is another than the daemon goes by.
func TestNotReloaded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "netwatch.toml")
	const text = "[[rule]]\non = [\"started\"]\ndo = [\"restart a.service\"]\n"
	const status = `{"version":"2","config":"FILE","rules":[` +
		`{"name":"started","on":["started"],"do":["restart a.service"]}]}`
	var d control.Status
	if err := json.Unmarshal([]byte(strings.ReplaceAll(status, "FILE", file)), &d); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, text, config string
		level              Level
	}{
		{"as it is", text, file, OK},
		{"another step", strings.ReplaceAll(text, "a.service", "b.service"), file, Warning},
		{
			"another event", strings.ReplaceAll(text, "on = [\"started\"]", "name = \"started\"\non = [\"ip-changed\"]"), file,
			Warning,
		},
		{"one rule more", text + strings.ReplaceAll(text, "started", "ip-changed"), file, Warning},
		{"another file", text + strings.ReplaceAll(text, "started", "ip-changed"), "other.toml", OK},
	} {
		cfg, err := config.Parse("", []byte(c.text), actions.Env{})
		if err != nil {
			t.Fatal(err)
		}
		s := &scene{
			Doctor: Doctor{Version: "2", Config: c.config}, cfg: cfg,
			daemon:   func() (control.Status, error) { return d, nil },
			lookUnit: func(context.Context, string) (systemd.UnitLook, error) { return systemd.UnitLook{}, nil },
		}
		wants(t, c.name, checkDaemon(t.Context(), s)[0], c.level, "")
	}
}

// A check that does not end is left behind at its deadline.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		end := make(chan struct{})
		hangs := check{"what hangs", false, func(context.Context, *scene) []Finding { <-end; return nil }}
		found := new(scene).make(t.Context(), hangs)
		took := time.Since(began)
		if took != checkTime || len(found) != 1 || !isWrong(found[0]) || found[0].What != "what hangs" {
			t.Errorf("after %s: %+v", took, found)
		}
		close(end)
	})
}

// Checks that need a configuration are not made without one, and that is said.
func TestWithoutConfiguration(t *testing.T) {
	dir := t.TempDir()
	down := func(context.Context) (control.Status, error) { return control.Status{}, errors.New("down") }
	d := Doctor{Tree: machine.Tree(dir), Config: dir + "/none.toml", Daemon: down}
	var all []Finding
	d.Examine(t.Context(), func(f Finding) { all = append(all, f) })
	if len(all) < len(checks) || all[0].Level != Problem || all[0].What != "configuration" || all[0].Hint == "" {
		t.Fatalf("%+v", all)
	}
	for _, c := range checks {
		said := func(f Finding) bool { return f.Level == Unknown && f.What == c.name }
		if c.configured && !slices.ContainsFunc(all, said) {
			t.Errorf("%s: %+v", c.name, all)
		}
	}
}

// The configuration that the package brings is nobody's: init writes one that fits.
func TestExample(t *testing.T) {
	s := &scene{Doctor: Doctor{Config: filepath.Join(t.TempDir(), "netwatch.toml")}}
	if err := os.WriteFile(s.Config, packaging.Configuration, 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, "the example", s.configuration(), Note, "is the example that the package brings")
	if err := os.WriteFile(s.Config, append(packaging.Configuration, '\n'), 0o600); err != nil {
		t.Fatal(err)
	}
	wants(t, "one's own", s.configuration(), OK, "netwatch.toml")
}

// Of a daemon that does not answer it is said why, as far as its unit tells.
func TestUnanswered(t *testing.T) {
	unreachable := netwatch.WithHint(fmt.Errorf("asking: %w", control.ErrUnreachable), "start it")
	mistakes := errors.New("netwatch.toml:1:1: x: unknown")
	for _, c := range []struct {
		name     string
		err      error
		unit     systemd.UnitLook
		mistakes error
		level    Level
		words    string
	}{
		{
			"not started yet", unreachable,
			systemd.UnitLook{State: "inactive (dead)", File: "disabled"},
			nil,
			Warning, "not started",
		},
		{
			"not started yet, with a mistake", unreachable,
			systemd.UnitLook{State: "inactive (dead)", File: "disabled"},
			mistakes, Warning, "not started",
		},
		{
			"a mistake in the configuration", unreachable,
			systemd.UnitLook{State: "failed (failed)", File: "enabled"},
			mistakes, Problem, "cannot start with the mistakes in the configuration",
		},
		{
			"a mistake, and the socket waits", context.DeadlineExceeded,
			systemd.UnitLook{State: "activating (auto-restart)", Moving: true, File: "disabled"},
			mistakes, Problem, "cannot start with the mistakes in the configuration",
		},
		{
			"it ends again and again", context.DeadlineExceeded,
			systemd.UnitLook{State: "activating (auto-restart)", Moving: true, File: "enabled"},
			nil, Problem, "it ends whenever it is started",
		},
		{
			"it is being stopped", context.DeadlineExceeded,
			systemd.UnitLook{State: "deactivating (stop-sigterm)", Moving: true, File: "enabled"},
			nil, Unknown, "deactivating",
		},
		{
			"stopped", unreachable,
			systemd.UnitLook{State: "inactive (dead)", File: "enabled"},
			nil,
			Problem, "cannot be reached",
		},
		{"nobody listens", unreachable, systemd.UnitLook{Running: true, File: "disabled"}, nil, Problem, "cannot be reached"},
		{
			"it hangs", context.DeadlineExceeded,
			systemd.UnitLook{Running: true, File: "enabled"},
			nil,
			Problem, "does not answer within 4s",
		},
		{
			"not permitted", netwatch.WithHint(control.ErrNotPermitted, "be root"),
			systemd.UnitLook{File: "disabled"},
			nil,
			Problem, "not permitted",
		},
	} {
		s := &scene{
			mistakes: c.mistakes,
			lookUnit: func(context.Context, string) (systemd.UnitLook, error) { return c.unit, nil },
		}
		wants(t, c.name, s.unanswered(t.Context(), c.err), c.level, c.words)
	}
}
