package daemon

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
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

// A broker is a source that can tell others; one that hangs does not, until it is given up.
type broker struct {
	name  string
	hangs bool
	at    time.Time
}

func (s *broker) String() string                                      { return s.name }
func (*broker) Run(context.Context, func(netwatch.Event) error) error { return nil }
func (s *broker) Check(ctx context.Context) error                     { return s.Tell(ctx, nil) }

func (s *broker) Tell(ctx context.Context, _ []netwatch.Event) error {
	if s.hangs {
		<-ctx.Done()
		return errors.New(s.name + " hangs")
	}
	s.at = time.Now()
	return nil
}

// A broker that does not answer keeps nobody waiting who is told by another, and what came
// of it is said of each.
func TestTellByTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two, three := &broker{name: "one", hangs: true}, &broker{name: "two"}, &broker{name: "three", hangs: true}
		ws := &watchers{}
		ws.live.Store(&[]netwatch.Source{one, two, three})
		for name, ask := range map[string]func(context.Context) error{
			"tell":  func(ctx context.Context) error { return ws.handOn(ctx, "", nil).Err },
			"probe": ws.check,
		} {
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			err := ask(ctx)
			cancel()
			if waited := two.at.Sub(began); waited != 0 {
				t.Errorf("%s: the one that answers was told after %s", name, waited)
			}
			said := strings.ReplaceAll(fmt.Sprint(err), "telling other machines: ", "")
			if said != "one hangs\nthree hangs" {
				t.Errorf("%s: %s", name, said)
			}
		}
		all := &watchers{}
		all.live.Store(&[]netwatch.Source{two, &broker{name: "four"}})
		if r := all.handOn(t.Context(), "", nil); r.Outcome != netwatch.Changed || r.Detail != "2 brokers have it" {
			t.Errorf("both were told: %+v", r)
		}
	})
}
