package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"time"

	"netwatch/lab"
)

const (
	// routerRounds is how often each way of changing is tried.
	routerRounds = 5
	// routerRest is the least time from one change to the next: longer than netwatch asks
	// the router often after a hint. Up to as much again is added by chance, so that
	// changes meet the questions at all moments.
	routerRest = 11 * time.Second
)

// A routed is the lab behind a router with miniupnpd.
type routed struct {
	*bench
	public int
}

// closed is a firewall that lets in what coturn needs and what was asked for.
const closed = `table inet bench_fw {
	chain in {
		type filter hook input priority 0; policy drop;
		ct state established,related accept
		iifname "lo" accept
		udp dport { 3478, 49153-49652 } accept
		tcp dport 3478 accept
		icmp type echo-request accept
	}
}
`

// router measures from the instant at which the router passes packets with another
// address to a caller who is right.
func (b *bench) router(ctx context.Context) error {
	if err := b.build(ctx); err != nil {
		return err
	}
	if err := b.world.RouterWorld(ctx); err != nil {
		return err
	}
	r := &routed{bench: b}
	s := newSheet("what", "way", "median ms", "worst ms", "of")
	for _, mode := range []struct {
		name   string
		config string
		natpmp bool
		closed bool
	}{
		{"the router announces", "[source.router]\n", true, false},
		{"a firewall that lets no announcement in", "[source.router]\n", true, true},
		{"a router with UPnP alone", "[source.router]\n", false, false},
	} {
		if err := r.measure(ctx, s, mode.name, mode.config, mode.natpmp, mode.closed); err != nil {
			return err
		}
	}
	hand, err := r.byHand(ctx)
	if err != nil {
		return err
	}
	s.row("by hand at that instant, sed and systemctl: the floor", "", hand.Median(), quantile(hand, 1), len(hand))
	s.row("polling every 15 s: half of it, computed, and the floor", "", every/2+hand.Median(),
		every+quantile(hand, 1), "")
	s.row("*/15 cron job: half its period, computed, and the floor", "", cron+hand.Median(), 2*cron, "")
	return s.end()
}

// config is netwatch's own with its defaults, and a source more. Nobody's line changes so
// often, and who does is damped.
func (r *routed) config(more string) string {
	source := strings.Replace(r.source(every.String()), fmt.Sprintf("every = %q\n", every), "damp = false\n", 1)
	return source + more + ruleCoturn
}

// measure measures one way of hearing, for each way of changing.
func (r *routed) measure(ctx context.Context, s sheet, name, config string, natpmp, firewall bool) error {
	m, err := r.world.StartMiniupnpd(ctx, natpmp)
	if err != nil {
		return err
	}
	defer func() { _ = m.Stop() }() // The lab stops it too
	if firewall {
		if err := r.rules(ctx, closed); err != nil {
			return err
		}
		defer func() { _ = r.rules(ctx, "delete table inet bench_fw\n") }() // The lab ends with it
	}
	if err := r.start(ctx, r.config(config)); err != nil {
		return err
	}
	for _, way := range lab.RouterChanges {
		var times lab.Times
		for range routerRounds {
			if err := wait(ctx, routerRest+rand.N(routerRest)); err != nil {
				return err
			}
			passes, err := r.change(ctx, way)
			if err != nil {
				return err
			}
			right, err := r.right(ctx)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", name, way.Name, err)
			}
			times = append(times, right.Sub(passes))
		}
		s.row(name, way.Name, times.Median(), quantile(times, 1), len(times))
	}
	return nil
}

// rules gives the server rules of nftables.
func (r *routed) rules(ctx context.Context, text string) error {
	cmd := r.server.Command(ctx, "nft", "-f", "-")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("setting the rules of the server: %w: %s", err, out)
	}
	return nil
}

// change gives the router the next address.
func (r *routed) change(ctx context.Context, way lab.RouterChange) (time.Time, error) {
	old := r.address()
	r.public++
	return r.world.ChangeRouter(ctx, way, r.address(), old)
}

func (r *routed) address() netip.Addr { return lab.RouterPublic(r.public) }

// right waits until a caller gets the address that the router has.
func (r *routed) right(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return r.caller.WaitAllocate(ctx, netip.AddrPortFrom(r.address(), lab.Port), r.address())
}

// byHand is what a person does who knows it at that instant.
func (r *routed) byHand(ctx context.Context) (times lab.Times, err error) {
	if err := r.stop(ctx); err != nil {
		return nil, err
	}
	for range routerRounds {
		passes, err := r.change(ctx, lab.RouterChanges[0])
		if err != nil {
			return nil, err
		}
		done := make(chan error, 1)
		go func() { done <- (&follower{bench: r.bench}).byHand(ctx, r.address()) }()
		right, err := r.right(ctx)
		if err != nil {
			return nil, err
		}
		if err := <-done; err != nil {
			return nil, err
		}
		times = append(times, right.Sub(passes))
	}
	return times, nil
}
