package hooks

import (
	"context"
	"testing"
	"testing/synctest"

	"netwatch"
)

// What another machine says is on disk at once for a rule that waits for it. For none it may
// be told once more after a crash.
func TestPeerWithoutARuleIsWrittenLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rule(gate(do(func(context.Context, netwatch.Job) netwatch.Result {
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		r.On, r.Match = []string{netwatch.PeerChanged}, map[string]string{"peer": "gateway"}
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		for peer, written := range map[string]bool{"gateway": true, "other": false} {
			ev := netwatch.NewEvent(netwatch.PeerChanged, "mqtt", map[string]string{"peer": peer})
			ev.Sight = netwatch.Sight{Event: netwatch.PeerChanged, Of: peer, Value: "said"}
			if _, err := b.Accept(ev, nil); err != nil {
				t.Fatal(err)
			}
			if has := b.store.Get().Seen[netwatch.PeerChanged][peer] != ""; has != written {
				t.Errorf("of %s the state has it: %v", peer, has)
			}
		}
		if b.store.Sights(netwatch.PeerChanged)["other"] == "" {
			t.Error("it is lost")
		}
	})
}
