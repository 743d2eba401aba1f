// Flood fires an event again and again, each time over a connection of its own,
// and says what came of it. It is how the lab's tests flood netwatch.
//
//	flood SOCKET EVENT TIMES
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"

	"netwatch"
	"netwatch/control"
)

// atOnce is how many requests are under way at the same time.
const atOnce = 64

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := flood(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

// flood fires and counts.
func flood(ctx context.Context, args []string) error {
	if len(args) != 3 {
		return errors.New("usage: flood SOCKET EVENT TIMES")
	}
	times, err := strconv.ParseInt(args[2], 10, 64)
	if err != nil {
		return fmt.Errorf("reading how many times: %w", err)
	}
	client := control.NewClient(args[0])
	var begun, accepted, forbidden, cut atomic.Int64
	var all sync.WaitGroup
	for range atOnce {
		all.Go(func() {
			for ctx.Err() == nil && begun.Add(1) <= times {
				err := client.Fire(ctx, control.Request{Event: args[1], NoWait: true}, func(control.Accepted) {},
					func(netwatch.Entry) {})
				switch {
				case err == nil:
					accepted.Add(1)
				case errors.Is(err, control.ErrNotPermitted):
					forbidden.Add(1)
				default:
					cut.Add(1)
				}
			}
		})
	}
	all.Wait()
	fmt.Printf("accepted %d, forbidden %d, cut off %d\n", accepted.Load(), forbidden.Load(), cut.Load())
	return ctx.Err()
}
