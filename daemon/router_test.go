package daemon

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"netwatch"
	"netwatch/sources"
)

// A looker is a source that finds out our address, and one that vouches for it.
type looker struct {
	hurried int
	vouched netip.Addr
}

func (l *looker) Run(ctx context.Context, _ func(netwatch.Event) error) error {
	<-ctx.Done()
	return nil
}
func (l *looker) String() string { return "looker" }
func (l *looker) Hurry(context.Context) netwatch.Result {
	l.hurried++
	return netwatch.Result{Outcome: netwatch.Unchanged}
}

func (l *looker) Vouched(a netip.Addr) <-chan struct{} {
	if a == l.vouched {
		return make(chan struct{})
	}
	return nil
}

func (l *looker) Router() (netwatch.Router, bool) {
	return netwatch.Router{Gateway: l.vouched}, l.vouched.IsValid()
}

// A hint has the sources look that find out our address; a router vouches for what it
// says alone.
func TestWatchersForARouter(t *testing.T) {
	ws := newWatchers(nil, nil, sources.Env{})
	a := netip.MustParseAddr("203.0.113.5")
	one, two := &looker{}, &looker{vouched: a}
	ws.live.Store(&[]netwatch.Source{one, two})
	ws.env.Look(t.Context())
	if one.hurried != 1 || two.hurried != 1 {
		t.Errorf("they looked %d and %d times", one.hurried, two.hurried)
	}
	if ws.env.Vouched(a) == nil || ws.env.Vouched(netip.MustParseAddr("203.0.113.6")) != nil {
		t.Error("it vouches for another address than it says")
	}
	if r := ws.router(); r == nil || r.Gateway != a {
		t.Errorf("the router is %+v", r)
	}
	ws.live.Store(&[]netwatch.Source{one})
	if ws.router() != nil {
		t.Error("there is a router")
	}
}

// What is found before started is emitted waits for that: both are one run.
func TestStartIsOneRun(t *testing.T) {
	d := &Daemon{}
	heard := context.Background()
	for _, begun := range []bool{false, true} {
		d.begun.Store(begun)
		ev := netwatch.Event{Time: time.Now(), Heard: heard}
		if got := d.timed(ev).Heard; (got != nil) != begun {
			t.Errorf("begun is %t: %v", begun, got)
		}
	}
}
