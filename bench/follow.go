package main

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"netwatch/lab"
)

const (
	// followRounds is how often each way is tried.
	followRounds = 10
	// settle is the window of the rules, netwatch's default.
	settle = 500 * time.Millisecond
	// every is netwatch's default time from one poll to the next, and polls how
	// many changes are met by them.
	every = 15 * time.Second
	polls = 8
	// cron is how long a job at */15 takes on the average to begin.
	cron = 450 * time.Second
)

// otherPrivate is an address that the server can have in place of lab.Private.
var otherPrivate = netip.MustParseAddr("192.168.50.3")

// A follower changes addresses and waits until a caller is right.
type follower struct {
	*bench
	changes int
	private netip.Addr
}

// follow measures from the change to a caller who is right.
func (b *bench) follow(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	f := &follower{b, 0, lab.Private}
	config := b.source("1h") + "[source.netlink]\n" + ruleCoturn + fmt.Sprintf(
		"[[rule]]\non = [\"addr-changed\"]\nsettle = %q\ndo = [\"probe stun\", \"rotate coturn %s\", \"restart %s\"]\n",
		settle, lab.YunoHost.File, lab.YunoHost.Unit)
	var hand, handOwn, fired, kernel lab.Times
	ways := []struct {
		times *lab.Times
		own   bool
		start bool
		do    func(context.Context, netip.Addr) error
	}{
		{&hand, false, false, f.byHand},
		{&handOwn, true, false, f.byHand},
		{&fired, false, true, f.fireIt},
		{&kernel, true, false, nobody},
	}
	for range followRounds {
		if err := b.stop(ctx); err != nil {
			return err
		}
		for _, way := range ways {
			if way.start {
				if err := b.start(ctx, config); err != nil {
					return err
				}
			}
			took, err := f.change(ctx, way.own, way.do)
			if err != nil {
				return err
			}
			*way.times = append(*way.times, took)
		}
	}
	polled, err := f.poll(ctx)
	if err != nil {
		return err
	}
	return printFollow(hand, handOwn, fired, kernel, polled)
}

func printFollow(hand, handOwn, fired, kernel, polled lab.Times) error {
	s := newSheet("what", "median ms", "worst ms", "beyond settle", "against the floor")
	s.row("public address, sed and systemctl by hand: the floor", hand.Median(), quantile(hand, 1), "", "1")
	s.row("public address, netwatch fire ip-changed", fired.Median(), quantile(fired, 1), fired.Median()-settle,
		ratio(fired.Median()-settle, hand.Median()))
	s.row("own address too, by hand: the floor", handOwn.Median(), quantile(handOwn, 1), "", "1")
	s.row("own address too, seen by the kernel", kernel.Median(), quantile(kernel, 1), kernel.Median()-settle,
		ratio(kernel.Median()-settle, handOwn.Median()))
	if err := s.end(); err != nil {
		return err
	}
	fmt.Println()
	s = newSheet("what", "mean s", "worst s", "against netwatch")
	s.row("public address, seen by polling every 15 s", seconds(mean(polled)), seconds(quantile(polled, 1)), "1")
	s.row("*/15 cron job: half its period, computed, and the floor", seconds(cron+hand.Median()), seconds(2*cron),
		ratio(cron, mean(polled)))
	return s.end()
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// change changes the public address and, if it is to, the server's own; has somebody
// do something about it; and waits until a caller gets the right address.
func (f *follower) change(ctx context.Context, own bool,
	do func(context.Context, netip.Addr) error,
) (time.Duration, error) {
	f.changes++
	to, began := lab.Public(f.changes), time.Now()
	if err := f.world.SetPublic(ctx, to); err != nil {
		return 0, err
	}
	if own {
		next := otherPrivate
		if f.private == next {
			next = lab.Private
		}
		began = time.Now()
		if err := f.world.SetPrivate(ctx, f.private, next); err != nil {
			return 0, err
		}
		f.private = next
	}
	ended := make(chan error, 1)
	go func() { ended <- do(ctx, to) }()
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	right, err := f.caller.WaitAllocate(limited, netip.AddrPortFrom(to, lab.Port), to)
	if err != nil {
		return 0, err
	}
	if err := <-ended; err != nil {
		return 0, err
	}
	return right.Sub(began), wait(ctx, settle) // For what else netwatch was told
}

// nobody does nothing.
func nobody(context.Context, netip.Addr) error { return nil }

// byHand is what a person at the keyboard does who knows the new address.
func (f *follower) byHand(ctx context.Context, to netip.Addr) error {
	_, err := f.server.Exec(ctx, "sh", "-c",
		fmt.Sprintf("sed -i 's/^external-ip=.*/external-ip=%s/' %s && setfacl -m user:turnserver:r %[2]s && "+
			"systemctl restart %s",
			to, lab.YunoHost.File, lab.YunoHost.Unit))
	return err
}

// fireIt fires ip-changed.
func (f *follower) fireIt(ctx context.Context, _ netip.Addr) error {
	_, err := f.server.Exec(ctx, "netwatch", "fire", "ip-changed")
	return err
}

// poll changes the public address at other moments between two polls each time.
func (f *follower) poll(ctx context.Context) (times lab.Times, err error) {
	if err := f.start(ctx, f.source(every.String())+ruleCoturn); err != nil {
		return nil, err
	}
	for n := range polls {
		if err := wait(ctx, every*time.Duration(2*n+1)/(2*polls)-min(settle, every/(2*polls))); err != nil {
			return nil, err
		}
		took, err := f.change(ctx, false, nobody)
		if err != nil {
			return nil, err
		}
		times = append(times, took)
	}
	return times, nil
}
