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
		for _, makes := range []func(context.Context) (string, error){ // In the order in which they are wanted.
			Trixie.root, Sid.root, addLiveKitHere, Trixie.podman, addSynapseHere,
		} {
			if ctx.Err() == nil {
				_, _ = makes(ctx)
			}
		}
	})
	return func() { cancel(); making.Wait() }
}

func addSynapseHere(ctx context.Context) (string, error) { return addSynapse(ctx, Here) }

func addLiveKitHere(ctx context.Context) (string, error) { return addLiveKit(ctx, Calls.Version) }
