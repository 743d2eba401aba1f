package actions

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/systemd"
	"netwatch/whip/whiptest"
)

// verifyLiveKit runs the step against a server, with conf as the rest of its file.
func verifyLiveKit(
	t *testing.T, at netip.AddrPort, conf string, units []systemd.State, known ...string,
) netwatch.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "livekit.yml")
	text := fmt.Sprintf("port: %d\nkeys:\n  %s: %s\n%s", at.Port(), whiptest.Key, whiptest.Secret, conf)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := parseLiveKit(Env{}, []string{file})
	if err != nil {
		t.Fatal(err)
	}
	l.time, l.moving = 2*time.Second, time.Second
	l.units = func(context.Context, netwatch.Job) []systemd.State { return units }
	job := netwatch.Job{Confirmed: netwatch.Addresses{}}
	for _, text := range known {
		a := netip.MustParseAddr(text)
		job.Confirmed[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
	}
	return l.Do(t.Context(), job)
}

// many are candidates, as somebody else can answer with.
func many(n int) (all []string) {
	a := netip.MustParseAddr("10.0.0.0")
	for range n {
		a = a.Next()
		all = append(all, fmt.Sprintf("udp %s 1", a))
	}
	return all
}

// What callers are told is compared with what the file promises.
func TestVerifyLiveKit(t *testing.T) {
	const node = "rtc:\n  node_ip: 203.0.113.7\n"
	for name, c := range map[string]struct {
		conf       string
		candidates []string
		known      string
		outcome    netwatch.Outcome
		said       string
	}{
		"right": {
			node,
			[]string{"udp 203.0.113.7 7882", "tcp 203.0.113.7 7881", "udp 192.168.1.2 1"},
			"203.0.113.7 2001:db8::7",
			netwatch.Unchanged, "ipv4 203.0.113.7 (udp, tcp)",
		},
		"both": {
			"rtc: {node_ip: '203.0.113.7,2001:db8::7'}\n",
			[]string{"udp 203.0.113.7 1", "udp 2001:db8::7 1"},
			"203.0.113.7 2001:db8::7", netwatch.Unchanged, "ipv4 203.0.113.7 (udp), ipv6 2001:db8::7 (udp)",
		},
		"one of both": {
			"rtc: {node_ip: '203.0.113.7,2001:db8::7'}\n",
			[]string{"udp 203.0.113.7 1"},
			"203.0.113.7 2001:db8::7",
			netwatch.Failed, "tells callers 203.0.113.7, and the public address is 2001:db8::7 HINT",
		},
		"not restarted": {
			node,
			[]string{"udp 203.0.113.5 1"},
			"203.0.113.7", netwatch.Failed,
			"tells callers 203.0.113.5, and the public address is 203.0.113.7 HINT",
		},
		"many": {
			node, many(300), "203.0.113.7", netwatch.Failed,
			"tells callers 10.0.0.1, 10.0.0.2, 10.0.0.3, 10.0.0.4, 10.0.0.5, 10.0.0.6, 10.0.0.7, 10.0.0.8, and 292 others, and",
		},
		"the flag goes before the file": {node, []string{"udp 203.0.113.5 1"}, "203.0.113.7", netwatch.Failed, "--node-ip"},
		"not rotated": {
			"rtc:\n  node_ip: 203.0.113.5\n",
			[]string{"udp 203.0.113.5 1"},
			"203.0.113.7", netwatch.Failed,
			"have a step `rotate livekit",
		},
		"it asks itself": {
			"rtc:\n  use_external_ip: true\n",
			[]string{"udp 203.0.113.5 1"},
			"203.0.113.7", netwatch.Failed,
			"`restart UNIT always`",
		},
		"nothing in the file": {
			"rtc: {}\n", []string{"udp 203.0.113.7 1"}, "203.0.113.7", netwatch.Unchanged, "ipv4 203.0.113.7 (udp)",
		},
		"nothing, and a private one": {
			"", []string{"udp 192.168.1.2 1"}, "203.0.113.7", netwatch.Failed, "tells callers 192.168.1.2",
		},
		"no candidate":  {node, nil, "203.0.113.7", netwatch.Failed, "gives callers no candidate at all"},
		"no IPv4 known": {node, []string{"udp 203.0.113.5 1"}, "2001:db8::7", netwatch.Skipped, "unknown: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // Some wait for another answer as long as they may.
			s := whiptest.New(t, c.candidates...)
			r := verifyLiveKit(t, s.Addr, c.conf, nil, strings.Fields(c.known)...)
			text := r.Detail
			if r.Err != nil {
				text = r.Err.Error() + " HINT " + netwatch.Hint(r.Err)
			}
			said := strings.Contains(text, c.said) && !strings.Contains(text, whiptest.Secret)
			if r.Outcome != c.outcome || !said || r.Dead != "" {
				t.Errorf("%s: %s", r.Outcome, text)
			}
		})
	}
}

// Wrong keys are no dead server, and one who does not listen is.
func TestVerifyLiveKitDead(t *testing.T) {
	t.Parallel()
	s := whiptest.New(t, "udp 203.0.113.7 1")
	active := []systemd.State{{ID: "livekit.service", Load: "loaded", Active: "active", Sub: "running"}}
	r := verifyLiveKit(t, s.Addr, "keys: {devkey: another}\n", active, "203.0.113.7")
	if r.Err == nil || !strings.Contains(r.Err.Error(), "it is not YAML as LiveKit has it") || r.Dead != "" {
		t.Errorf("%+v", r)
	}
	other := netip.AddrPortFrom(s.Addr.Addr(), 1)
	r = verifyLiveKit(t, other, "", active, "203.0.113.7")
	if r.Err == nil || !strings.Contains(r.Err.Error(), "livekit: nobody answers at 127.0.0.1:1") || r.Dead == "" {
		t.Errorf("%+v", r)
	}
	if r := verifyLiveKit(t, other, "", nil, "203.0.113.7"); r.Dead != "" {
		t.Errorf("of no unit: %+v", r)
	}
	if r := verifyLiveKit(t, s.Addr, "", nil); r.Err == nil || !strings.Contains(r.Err.Error(), "is not known yet") {
		t.Errorf("%+v", r)
	}
}

// One that has not looked at its load yet takes nobody, and is asked again.
func TestVerifyLiveKitUnready(t *testing.T) {
	t.Parallel()
	s := whiptest.New(t, "udp 203.0.113.7 1")
	s.Unready(2)
	r := verifyLiveKit(t, s.Addr, "rtc: {node_ip: 203.0.113.7}\n", nil, "203.0.113.7")
	if r.Outcome != netwatch.Unchanged {
		t.Errorf("%+v", r)
	}
	s.Unready(1000)
	r = verifyLiveKit(t, s.Addr, "rtc: {node_ip: 203.0.113.7}\n", nil, "203.0.113.7")
	if r.Err == nil || !strings.Contains(r.Err.Error(), "it answers 500") || r.Dead != "" {
		t.Errorf("%+v", r)
	}
}

func TestVerifyLiveKitWords(t *testing.T) {
	s, err := newVerify(Env{}, "verify", []string{"livekit", "/etc//x.yml"})
	if l, ok := s.Action.(*livekitProof); err != nil || !ok || l.file != "/etc/x.yml" || !s.Proof {
		t.Errorf("%+v %v", s, err)
	}
	if needs := NeedsOf(s); len(needs.Reads) != 1 || needs.Reads[0] != "/etc/x.yml" {
		t.Errorf("%+v", needs)
	}
	for words, want := range map[string]string{
		"livekit": "the file of livekit is missing", "livekit x": "relative", "livekit /x y": `"y" is not understood`,
	} {
		if _, err := newVerify(Env{}, "verify", strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}
