package servers

import (
	"fmt"
	"strings"
	"testing"
	"time"
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
