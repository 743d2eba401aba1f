package servers

import (
	"fmt"
	"testing"
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
