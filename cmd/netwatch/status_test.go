package main

import (
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
	"netwatch/hooks"
)

// Who reads the status sees that an address is held, why, and until when.
func TestStatusOfDamped(t *testing.T) {
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	until := time.Date(2026, 11, 26, 4, 5, 0, 0, time.Local)
	err = (&command{stdout: &output{file: file}}).printStatus(control.Status{Damped: []netwatch.Damped{{
		Family: netwatch.IPv4, Held: netip.MustParseAddr("203.0.113.5"), Seen: netip.MustParseAddr("198.51.100.7"),
		Penalty: 3712, Until: until,
	}}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file.Name())
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(strings.Fields(string(text)), " ")
	want := "ipv4 held 203.0.113.5 while 198.51.100.7 comes and goes, as with load balancing over two lines; " +
		"penalty 3712, until 2026-11-26 04:05:00 at the earliest"
	if !strings.Contains(got, want) {
		t.Errorf("it says %s", got)
	}
}

// A run whose window is over waits for the one before it: it is not settling until a
// time that is past.
func TestWaitingText(t *testing.T) {
	for _, c := range []struct {
		due  time.Duration
		want string
	}{{time.Minute, "settling until "}, {-time.Minute, "and waits for the run before it"}} {
		text := waitingText(&hooks.Waiting{Due: time.Now().Add(c.due)})
		if len(text) != 1 || !strings.Contains(text[0], c.want) {
			t.Errorf("%s: %q", c.want, text)
		}
	}
}

// That an address is not known is no fault of a machine on which nobody asks for it, as a
// router that only tells.
func TestStatusOfAGateway(t *testing.T) {
	for kind, want := range map[string]string{
		"stun":    "ipv4 not known ipv6 not known source",
		"netlink": "ipv4 not known, and no source asks ipv6 not known, and no source asks source",
	} {
		text := printed(t, func(c *command) {
			if err := c.printStatus(control.Status{Sources: []control.SourceStatus{{Name: "x", Kind: kind}}}); err != nil {
				t.Error(err)
			}
		})
		if !strings.Contains(text, want) {
			t.Errorf("%s: it says %s", kind, text)
		}
	}
}
