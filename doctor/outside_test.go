package doctor

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"netwatch"
	"netwatch/control"
)

// What other machines saw is a problem where callers do not get what they should, and
// nothing is known where nobody could look. Without a source for it nobody is asked.
func TestOutside(t *testing.T) {
	const source = "[source.mqtt]\nbroker = \"mqtts://b.example\"\nhost = \"a\"\npassword = \"@/p\"\n"
	const rule = "[[rule]]\non = [\"x\"]\ndo = [\"exec /bin/true\"]\n"
	verify := func(_ context.Context, each func(control.Verified)) error {
		each(control.Verified{File: "/a", Outcome: netwatch.Unchanged, Detail: "ipv4 203.0.113.7"})
		each(control.Verified{File: "/b", Outcome: netwatch.Failed, Error: "UDP 3478 is not", Hint: "forward it"})
		each(control.Verified{File: "/c", Outcome: netwatch.Skipped, Detail: "unknown: nobody"})
		return fmt.Errorf("%w: you", control.ErrNotPermitted)
	}
	s := configured(t, source+rule)
	s.daemon = func() (control.Status, error) { return control.Status{}, nil }
	s.Verify = verify
	found := checkOutside(t.Context(), s)
	if len(found) != 4 {
		t.Fatalf("%+v", found)
	}
	wants(t, "right", found[0], OK, "203.0.113.7")
	wants(t, "closed", found[1], Problem, "UDP 3478 is not")
	wants(t, "nobody", found[2], Unknown, "nobody")
	wants(t, "not permitted", found[3], Unknown, "not permitted")
	if found[1].Hint != "forward it" || found[3].Hint != "run netwatch doctor as root" {
		t.Errorf("the remedies are %q and %q", found[1].Hint, found[3].Hint)
	}
	s.daemon = func() (control.Status, error) { return control.Status{}, errors.New("down") }
	if found := checkOutside(t.Context(), s); len(found) > 0 {
		t.Errorf("without the daemon: %+v", found)
	}
	s = configured(t, rule)
	s.Verify = verify
	if found := checkOutside(t.Context(), s); len(found) > 0 {
		t.Errorf("without a source for it: %+v", found)
	}
}
