//go:build lab

package lab

import (
	"context"
	"flag"
	"slices"
	"sync"
)

// ahead makes what tests will want of the cache while others run, until stop: on a
// machine that has none of it, that takes as long as a third of the tests, which wait
// more than they work. Where some tests alone were asked for, it makes nothing. What
// fails is said by the test that wants it.
func ahead(ctx context.Context) (stop func()) {
	if all := []string{"", "^.*$"}; !slices.Contains(all, flag.Lookup("test.run").Value.String()) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var making sync.WaitGroup
	making.Go(func() {
		// In the order in which they are wanted.
		for _, r := range []Release{Trixie, Sid} {
			_, _ = r.root(ctx)
		}
		_, _ = addLiveKit(ctx)
		_, _ = Trixie.podman(ctx)
		_, _ = addSynapse(ctx, Here)
	})
	return func() { cancel(); making.Wait() }
}
