package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
	"netwatch/actions"
	"netwatch/machine"
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
	if f.Level != level || !strings.Contains(f.Found, words) || isWrong(f) && f.Hint == "" {
		t.Errorf("%s: %+v, and not %s with %q and, if it is wrong, a hint", what, f, level, words)
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
		levels []Level
		words  string // of the last
	}{
		{"all agree", said("203.0.113.1", "203.0.113.1", "203.0.113.1"), true, []Level{OK}, "said by 3 of 3"},
		{"one is silent", said("203.0.113.1", "", "203.0.113.1"), true, []Level{OK}, "said by 2 of 3"},
		{
			"one lies", said("203.0.113.1", "203.0.113.9", "203.0.113.1"), true,
			[]Level{OK, Problem},
			"s1:3478 says 203.0.113.9",
		},
		{"none agree", said("203.0.113.1", "203.0.113.2", "203.0.113.3"), true, []Level{Problem}, ""},
		{"all silent", said("", "", ""), false, []Level{Problem}, ""},
		{"a family that is not there", said("", "", ""), true, []Level{OK}, "none here"},
	} {
		v := told{family: netwatch.IPv4, source: "stun", answers: test.said}
		v.address, _, v.err = sources.Verdict(v.answers, 2)
		found := v.judge(test.some)
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
	wants(t, "home router", judgeNAT("", public, addr("192.168.1.2"), homeRouter), OK, "forward")
	wants(t, "own is shared", judgeNAT("", public, addr("100.64.0.2"), nil), Warning, "100.64.0.2")
	providers := []netip.Addr{addr("192.168.1.1"), addr("100.127.255.1")}
	wants(t, "provider's router", judgeNAT("", public, addr("192.168.1.2"), providers), Warning, "100.127.255.1")
}

func TestJudgeExternal(t *testing.T) {
	local := func(netwatch.Family, netip.Addr) netip.Addr { return addr("192.168.1.2") }
	keep := servers.Options{Private: servers.PrivateKeep}
	r := &actions.Rotation{Target: servers.Target{Server: "coturn", Options: keep}, Local: local}
	known := map[netwatch.Family]netip.Addr{netwatch.IPv4: addr("203.0.113.1")}
	for _, test := range []struct {
		text  string
		level Level
		words string
	}{
		{"external-ip=203.0.113.1\n", OK, "203.0.113.1"},
		{"external-ip=203.0.113.1/192.168.1.2\n", OK, "203.0.113.1"},
		{"external-ip=203.0.113.2\n", Problem, "external-ip is 203.0.113.2, and the public address 203.0.113.1"},
		{"external-ip=\n", Problem, "missing"},
		{"realm=x\n", Problem, "missing"},
		{"\n", Problem, "open relay"},
	} {
		wants(t, test.text, judgeExternal("f", []byte(test.text), known, r), test.level, test.words)
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
	wants(t, "unknown", judgeRelays("r", netwatch.Result{Outcome: netwatch.Skipped, Detail: "unknown: x"}), Unknown, "unknown: x")
	wants(t, "wrong", judgeRelays("r", netwatch.Failure(netwatch.WithHint(errors.New("x"), "y"))), Problem, "x")
}

func TestJudgeUnit(t *testing.T) {
	wants(t, "runs", judgeUnit("u", systemd.UnitLook{State: "active (running)", Running: true, File: "enabled", Limit: "5 starts in 10s"}), OK, "5 starts in 10s")
	wants(t, "dead", judgeUnit("u", systemd.UnitLook{State: "failed (failed)"}), Problem, "failed")
	wants(t, "stopping", judgeUnit("u", systemd.UnitLook{State: "deactivating", Moving: true}), Unknown, "deactivating")
	wants(t, "at its limit", judgeUnit("u", systemd.UnitLook{State: "failed (failed)", AtLimit: true, Limit: "5 starts in 10s"}), Problem, "more often than 5 starts in 10s")
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
	s := &scene{Doctor: Doctor{Tree: machine.Tree(t.TempDir()), Program: "/usr/bin/netwatch"}}
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
	script := filepath.Join(string(s.Tree), "etc/openvpn/scripts/route-up.d")
	err := errors.Join(os.MkdirAll(script, 0o755), os.WriteFile(script+"/90-netwatch",
		[]byte("GOMAXPROCS=1 /usr/bin/netwatch hook openvpn || :\n"), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	wants(t, "by YunoHost's scripts", judge("client\n", true), OK, "nobody")
}

func TestDaemon(t *testing.T) {
	look := func(d Daemon, err error) []Finding {
		says := func() (Daemon, error) { return d, err }
		return checkDaemon(t.Context(), &scene{Doctor: Doctor{Version: "2"}, daemon: says})
	}
	wants(t, "well", look(Daemon{Version: "2"}, nil)[0], OK, "version 2")
	wants(t, "another version", look(Daemon{Version: "1"}, nil)[0], Warning, "version 1, and this program 2")
	wants(t, "refused", look(Daemon{Version: "2", Refused: "line 1"}, nil)[0], Problem, "older configuration")
	wants(t, "in trouble", look(Daemon{Version: "2", Troubles: [][2]string{{"source cert", "cannot read"}}}, nil)[0],
		Problem, "cannot read")
	unwritten := look(Daemon{Version: "2", AtRisk: "the disk is full", Remedy: "make room"}, nil)[0]
	if wants(t, "state", unwritten, Problem, "the disk is full"); unwritten.Hint != "make room" {
		t.Errorf("the remedy: %+v", unwritten)
	}
	wants(t, "down", look(Daemon{}, netwatch.WithHint(errors.New("nobody listens"), "start it"))[0],
		Problem, "nobody listens")
	wants(t, "not to be asked", look(Daemon{}, fs.ErrPermission)[0], Unknown, "")
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
	down := func(context.Context) (Daemon, error) { return Daemon{}, errors.New("down") }
	d := Doctor{Tree: machine.Tree(dir), Config: dir + "/none.toml", Daemon: down}
	var all []Finding
	d.Examine(t.Context(), func(f Finding) { all = append(all, f) })
	if len(all) < len(checks) || all[0].Level != Problem || all[0].What != "configuration" || all[0].Hint == "" {
		t.Fatalf("%+v", all)
	}
	for i, c := range checks {
		if c.configured && (all[i+1].Level != Unknown || all[i+1].What != c.name) {
			t.Errorf("%s: %+v", c.name, all[i+1])
		}
	}
}
