package servers

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"netwatch"
)

// A credential for another machine is made of a secret, good for a minute and another each
// time; who has no secret is told what to do.
func TestForAnother(t *testing.T) {
	const listens = "hosts: [a, example.org]\nlisten:\n- {module: ejabberd_stun, use_turn: true}\n"
	for conf, want := range map[string]string{
		"coturn: user=a:b\nstatic-auth-secret=s\nstatic-auth-secret=t\n": `^1700000060:[0-9a-f]{8}$`,
		"eturnal: eturnal: {secret: [s, t], credentials: {a: b}}":        `^1700000060:[0-9a-f]{8}$`,
		"ejabberd: " + listens + "host_config: {example.org: {modules: {mod_stun_disco: {secret: s}}}}": "" +
			`^1700000060:[0-9a-f]{8}20116dfd$`,
		"coturn: user=a:b\n":                           "passwords alone; in the place of its users",
		"coturn: # nobody\n":                           "neither static-auth-secret nor user; in the place of its users",
		"eturnal: eturnal: {credentials: {a: b}}":      "passwords alone; below eturnal: in /x and reload it",
		"eturnal: eturnal: {}":                         "neither a secret nor credentials; below eturnal: in /x",
		"ejabberd: " + listens + "modules: {roster: }": "has no secret in it; below mod_stun_disco: in /x",
	} {
		name, conf, _ := strings.Cut(conf, ": ")
		server, err := Named(name)
		if err != nil {
			t.Fatal(err)
		}
		offer, err := server.Offer([]byte(conf), offeredAt)
		if err != nil {
			t.Fatal(err)
		}
		who, err := server.ForAnother(offer, "/x", offeredAt)
		is, remedy, refused := strings.Cut(want, "; ")
		if refused {
			if err == nil || !strings.Contains(err.Error(), is) || !strings.Contains(netwatch.Hint(err), remedy) {
				t.Errorf("%s: %v, hint: %s", conf, err, netwatch.Hint(err))
			}
			continue
		}
		again, _ := server.ForAnother(offer, "/x", offeredAt)
		same := byExpiry("s", offeredAt.Add(credentialTime), strings.TrimPrefix(who.Name, "1700000060"))
		if err != nil || !regexp.MustCompile(want).MatchString(who.Name) || who.Password != same.Password ||
			again.Name == who.Name {
			t.Errorf("%s: %v, then %v, %v", conf, who, again, err)
		}
	}
}

// LiveKit's has letters and digits alone, as its own coder has written these.
func TestForAnotherOfLiveKit(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "a": "hB", "\xff\xff\xff": "ffffP",
		"\x78\x00\x01": "BAAe", "\xf8\x00\x01": "BAAeB", "\x00\x1e\x1f": "fwDAA", "\xf7\xbe\xfb\xef": "vvvv3D",
		"element_call|netwatch-X|1700000060": "wYDMwADMwAzNxwHWtg2Y0F2d0Vmb8xGbhN2X05WZtVGblB",
	} {
		if got := base62([]byte(text)); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
	calls := Calls{Key: "element_call", Secret: "secret"}
	who, err := calls.ForAnother(Version{1, 12}, offeredAt)
	again, _ := calls.ForAnother(Version{1, 13}, offeredAt)
	if err != nil || !strings.HasPrefix(who.Name, "wYDMwADMwAzNx") || who.Name == again.Name {
		t.Errorf("%v, then %v, %v", who, again, err)
	}
	for v, want := range map[Version]string{{}: "cannot be found out", {1, 11}: "this one is 1.11"} {
		if _, err := calls.ForAnother(v, offeredAt); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(netwatch.Hint(err), "1.12") || errors.Is(err, ErrLasting) {
			t.Errorf("%v: %v", v, err)
		}
	}
}
