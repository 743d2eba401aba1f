package daemon

import (
	"context"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/control"
)

// While there is no broker, to tell fails, and so do those who ask; what is said of it is
// why, with a remedy. Without a source for it nobody can be told.
func TestTellWithoutABroker(t *testing.T) {
	r := started(t, `[source.mqtt]
broker = "mqtt://127.0.0.1:9"
host = "a"
password = "@/nowhere/password"
[[rule]]
on = ["x"]
do = ["exec /bin/true"]
`)
	defer r.stop()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	r.watch.moved()
	events := []netwatch.Event{netwatch.NewEvent("x", "s", nil)}
	for _, name := range []string{"", "mqtt"} {
		result := r.env.Tell(ctx, name, events)
		if result.Outcome != netwatch.Failed || !strings.Contains(result.Err.Error(), "/nowhere/password: no such file") ||
			netwatch.Hint(result.Err) == "" {
			t.Errorf("by %q: %+v, hint: %s", name, result, netwatch.Hint(result.Err))
		}
	}
	if result := r.env.Tell(ctx, "stun", events); result.Outcome != netwatch.Failed {
		t.Errorf("by none: %+v", result)
	}
	var d control.Daemon = controlled{r.Daemon}
	if p := d.Probe(ctx); !strings.Contains(p.Error, "no such file") || p.Hint == "" || p.Peers == nil {
		t.Errorf("who asks is told %+v", p)
	}
}
