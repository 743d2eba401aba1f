package servers

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// Who names no address to relay from relays from any, and says so.
func TestRelaysOfCoturn(t *testing.T) {
	for conf, want := range map[string]string{
		"":                         "[0.0.0.0 ::]",
		"realm=example.org\n":      "[0.0.0.0 ::]",
		"listening-ip=192.0.2.1\n": "[192.0.2.1]",
		"relay-ip=2001:db8::1\n":   "[2001:db8::1]",
		"relay-ip=192.0.2.1\nrelay-ip=2001:db8::1\nlistening-ip=192.0.2.9\n": "[192.0.2.1 2001:db8::1]",
	} {
		if got := fmt.Sprint(coturnRelays([]byte(conf))); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

// Whoever owns the file does not have a proof ask without end, in the name of one secret
// after the other.
func TestSecretsAreBounded(t *testing.T) {
	offer, err := coturnOffer([]byte(strings.Repeat("static-auth-secret=s\n", 100000)), time.Now())
	if err != nil || len(offer.Credentials) != maxSecrets {
		t.Errorf("%d credentials, %v", len(offer.Credentials), err)
	}
}

// Before each poll it is asked what the file relays from: of more lines than a rotation
// takes nothing is compared with each other, which took a minute of 4 MiB of them.
func TestManyRelays(t *testing.T) {
	var conf strings.Builder
	for i := range maxNamed + 1 {
		fmt.Fprintf(&conf, "relay-ip=2001:db8::%x\n", i)
	}
	if got := fmt.Sprint(coturnRelays([]byte(conf.String()))); got != "[0.0.0.0 ::]" {
		t.Error("it relays from", got)
	}
	if _, err := coturnOffer([]byte(conf.String()), time.Now()); err == nil || netwatch.Hint(err) == "" {
		t.Error("it offers something:", err)
	}
}
