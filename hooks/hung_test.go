package hooks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// A step that does not heed its deadline is found out, a while after it; one
// that takes its time is not.
func TestHung(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := rule(plain(do(func(context.Context, netwatch.Job) netwatch.Result {
			<-release // Heeds nothing
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		b.accept(t)
		time.Sleep(DefaultSettle + r.Timeout)
		synctest.Wait()
		if err := b.Hung(); err != nil {
			t.Errorf("in time: %v", err)
		}
		time.Sleep(slack)
		if err := b.Hung(); err != nil {
			t.Errorf("while it stops: %v", err)
		}
		time.Sleep(time.Second)
		if err := b.Hung(); err == nil || err.Error() != "the rule r does not end although its time is over" {
			t.Errorf("long after: %v", err)
		}
		close(release)
		synctest.Wait()
		if err := b.Hung(); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}
