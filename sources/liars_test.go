package sources

import (
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v2"
	"github.com/rs/zerolog"

	"netwatch"
	"netwatch/sources/stuntest"
)

// lies are what a liar may say instead of second, which is the truth: another
// address, the one before, what is not public, and none.
var lies = []netip.Addr{
	first, third, netip.MustParseAddr("192.0.2.66"), netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("100.64.0.7"),
	netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("0.0.0.0"), netip.MustParseAddr("224.0.0.1"),
	{},
}

// However the servers are mixed, an address that fewer than agree of them say has
// no verdict, whatever the others do not say.
func TestVerdictOfLiars(t *testing.T) {
	const mixes = 50_000
	random := rand.New(rand.NewPCG(1, 2))
	right := 0
	for mix := range mixes {
		n := 1 + random.IntN(7)
		agree := 1 + random.IntN(n)
		liars := random.IntN(agree)
		answers := make([]Answer, n)
		honests := 0
		for i := range answers {
			answers[i] = Answer{Server: Server(rune('a' + i)), Address: second}
			switch {
			case i < liars:
				answers[i].Address = lies[random.IntN(len(lies))]
				answers[i].Err = netwatch.CheckPublic(answers[i].Address, nil)
			case random.IntN(3) == 0:
				answers[i].Err = errSilent
			default:
				honests++
			}
		}
		random.Shuffle(n, func(i, j int) { answers[i], answers[j] = answers[j], answers[i] })
		address, by, err := Verdict(answers, agree)
		if err == nil && (address != second || len(by) < agree) || (err == nil) != (honests >= agree) {
			t.Fatalf("mix %d: %s by %v (%v), of %d must agree %d: %+v", mix, address, by, err, n, agree, answers)
		}
		if err == nil {
			right++
		}
	}
	t.Logf("%d mixes: %d times the truth, %d times nothing, no lie", mixes, right, mixes-right)
}

// liar is one of the ways in which a server can lie, be of no use, or both.
func liar(random *rand.Rand) stuntest.Behaviour {
	lie := lies[random.IntN(len(lies))]
	if !lie.IsValid() {
		return stuntest.Silent
	}
	says := func(b stuntest.Behaviour) stuntest.Behaviour {
		return func(r *stun.Message, _ netip.Addr) [][]byte { return b(r, lie) }
	}
	value := make([]byte, random.IntN(24))
	for i := range value {
		value[i] = byte(random.Uint32())
	}
	all := []stuntest.Behaviour{
		says(stuntest.Answer), says(stuntest.Answer), says(stuntest.Answer),
		says(stuntest.Mapped), says(stuntest.OtherTransaction),
		stuntest.Echo, stuntest.Noise, stuntest.Refuse, stuntest.Raw(value),
	}
	one, other := all[random.IntN(len(all))], all[random.IntN(len(all))]
	if random.IntN(2) == 0 {
		return one
	}
	return stuntest.After(one, other)
}

// The whole source, on real sockets, with servers of which fewer than agree lie
// in every way that a packet can: what it emits is the truth or nothing.
func TestLiarsOnRealSockets(t *testing.T) {
	const workers, mixes = 4, 750
	var right atomic.Int64
	var all sync.WaitGroup
	for worker := range uint64(workers) {
		servers := []*stuntest.Server{startServer(t), startServer(t), startServer(t), startServer(t), startServer(t)}
		all.Go(func() {
			for mix := range uint64(mixes) {
				random := rand.New(rand.NewPCG(worker, mix))
				for _, a := range pollOfLiars(t, random, servers) {
					if right.Add(1); a != second.String() {
						t.Errorf("mix %d of worker %d: emitted %s", mix, worker, a)
					}
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d mixes: %d events, no lie", workers*mixes, right.Load())
	if right.Load() < workers*mixes/10 {
		t.Error("hardly ever did the truth come out either")
	}
}

// pollOfLiars has some of the servers lie, and polls twice: with all and with the
// one whose turn it is. It returns the addresses that were emitted.
func pollOfLiars(t *testing.T, random *rand.Rand, servers []*stuntest.Server) (emitted []string) {
	n := 2 + random.IntN(len(servers)-1)
	agree := 2 + random.IntN(n-1)
	liars := random.IntN(agree)
	for i, server := range servers {
		server.Set(second)
		server.Elsewhere(false)
		server.Behave(stuntest.Answer)
		switch {
		case i < liars:
			server.Behave(liar(random))
			server.Elsewhere(random.IntN(8) == 0)
		case random.IntN(4) == 0:
			server.Behave(stuntest.Silent)
		}
	}
	w := &world{known: netwatch.Addresses{}}
	if before := []netip.Addr{{}, first, second}[random.IntN(3)]; before.IsValid() {
		w.know(before)
	}
	settings := settings(t, servers[:n]...)
	random.Shuffle(n, func(i, j int) {
		settings.Servers[i], settings.Servers[j] = settings.Servers[j],
			settings.Servers[i]
	})
	settings.Agree, settings.Timeout = agree, netwatch.Duration(leastTimeout)
	env := Env{
		Known:   func() netwatch.Addresses { w.mu.Lock(); defer w.mu.Unlock(); return w.known },
		Confirm: func(netwatch.Family, time.Time, []string, netip.Addr) {},
		Doubt:   func(netwatch.Family, bool) {},
		Log:     zerolog.New(io.Discard),
	}
	s := settings.Prober("stun", env).(*stunSource)
	for _, everyone := range []bool{true, false} {
		s.poll(t.Context(), w.emit, everyone, false)
	}
	for _, ev := range w.events {
		emitted = append(emitted, ev.Fields["new"])
	}
	return emitted
}
