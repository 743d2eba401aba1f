package sources

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// A home is a network with a router, without a network: the router is functions, and
// time is that of a synctest bubble.
type home struct {
	mu        sync.Mutex
	at        uplink
	both      bool // all routers answer, and not only the one of the way out
	says      func() (netip.Addr, error)
	began     time.Time // when the router began to count
	questions int
	words     chan saying
	// known is our address as the servers say it, and truth what they would say now.
	known, truth netip.Addr
	unconfirmed  bool
	looks        []time.Duration
	events       []string
	start        time.Time
	refuse       int
	broken       error
	deaf         int // so often it cannot be listened
}

var (
	gateway = uplink{link: "eth0", gateway: netip.MustParseAddr("192.168.1.1")}
	other   = uplink{link: "eth1", gateway: netip.MustParseAddr("192.168.2.1")}
)

// newHome is one in which the router says the first address, as the servers do.
func newHome() *home {
	h := &home{at: gateway, known: first, truth: first, start: time.Now(), began: time.Now().Add(-time.Hour)}
	h.says = says(first)
	return h
}

func says(a netip.Addr) func() (netip.Addr, error) {
	return func() (netip.Addr, error) { return a, nil }
}

func (h *home) Find([]Asked) (uplink, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.at, h.broken
}

func (h *home) Ask(_ context.Context, to uplink) (saying, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.questions++; to != h.at && !h.both {
		return saying{}, errNoAnswer
	}
	a, err := h.says()
	return saying{address: a, epoch: uint32(time.Since(h.began) / time.Second), protocol: natpmp}, err
}

func (h *home) Listen(context.Context, uplink) (<-chan saying, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.deaf--; h.deaf >= 0 {
		return nil, errSilent
	}
	h.words = make(chan saying, 1)
	return h.words, nil
}

func (h *home) Close() {}

func (h *home) look(context.Context) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looks = append(h.looks, time.Since(h.start))
	h.known = h.truth
}

func (h *home) emit(ev netwatch.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refuse--; h.refuse >= 0 {
		return errUnheard
	}
	h.events = append(h.events, fmt.Sprintf("%s: %s > %s", ev.Fields["gateway"], ev.Fields["old"], ev.Fields["new"]))
	return declared(ev)
}

// pass lets time pass, and what happens then be done.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// set changes something.
func (h *home) set(change func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	change()
}

// becomes has the router say another address from now on, and the servers too.
func (h *home) becomes(a, truth netip.Addr) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.says, h.truth = says(a), truth
}

// announce has the router announce something.
func (h *home) announce(w saying) {
	h.mu.Lock()
	words := h.words
	h.mu.Unlock()
	words <- w
}

// source is a source in h.
func (h *home) source() *routerSource {
	env := Env{
		Known: func() netwatch.Addresses {
			h.mu.Lock()
			defer h.mu.Unlock()
			a := netwatch.Address{Address: h.known}
			if h.unconfirmed {
				a.Unconfirmed = h.start
			}
			return netwatch.Addresses{netwatch.IPv4: a}
		},
		Asked: func() []Asked { return nil }, Look: h.look,
	}
	s := newRouter().Source("router", env).(*routerSource)
	s.dial = func() (contact, error) { return h, nil }
	return s
}

// live runs a source until the story is over.
func (h *home) live(t *testing.T, story func(s *routerSource)) {
	t.Helper()
	s := h.source()
	h.liveAs(t, s, nil, func() { story(s) })
}

// liveAs runs a source until the story is over, or until it ends by itself with an error.
func (h *home) liveAs(t *testing.T, s *routerSource, want error, story func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, h.emit) }()
	story()
	if want == nil {
		cancel()
	}
	if err := <-done; !errors.Is(err, want) {
		t.Error(err)
	}
}

// As long as the router says what it said, it is asked at its pace and nobody else is.
func TestRouterAtRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(s *routerSource) {
			pass(time.Hour)
			status, is := s.Router()
			want := netwatch.Router{
				Gateway: gateway.gateway, Protocol: natpmp, Address: first, Since: h.start, Healthy: true,
			}
			if diff := cmp.Diff(want, status, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" || !is {
				t.Errorf("the status is not (-) but (+):\n%s", diff)
			}
		})
		if h.questions < 1800 || h.questions > 1802 || len(h.looks)+len(h.events) > 0 {
			t.Errorf("%d questions, looks at %s, events %q", h.questions, h.looks, h.events)
		}
	})
}

// Where announcements arrive it is asked more rarely.
func TestRouterThatAnnounces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Second)
			h.announce(saying{address: first, epoch: 3601})
			pass(time.Hour)
		})
		if h.questions < 225 || h.questions > 275 {
			t.Errorf("%d questions", h.questions)
		}
	})
}

// One that has announced is asked as often as any other once something new of it was not
// announced, until it is heard again: a firewall may be closed by now.
func TestRouterThatAnnouncesNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(s *routerSource) {
			in := func(d time.Duration) (n int) {
				h.set(func() { n = -h.questions })
				pass(d)
				h.set(func() { n += h.questions })
				return n
			}
			pass(time.Second)
			h.announce(saying{address: first, epoch: 3601})
			pass(time.Minute)
			h.becomes(second, second)
			pass(time.Minute)
			if n := in(time.Minute); n < 29 {
				t.Errorf("%d questions in a minute after an announcement that did not arrive", n)
			}
			if r, _ := s.Router(); !r.Announces || r.Unheard != 1 {
				t.Errorf("it is %+v", r)
			}
			h.announce(saying{address: second, epoch: 3781})
			if n := in(time.Minute); n > 5 {
				t.Errorf("%d questions in a minute after one that did", n)
			}
		})
	})
}

// What keeps its announcements from being heard, as another program at the port, may pass.
func TestRouterIsHeardLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.deaf = 3
		h.live(t, func(s *routerSource) {
			pass(time.Second)
			if s.Trouble() == nil {
				t.Error("nobody says that it is not heard")
			}
			pass(time.Minute)
			if err := s.Trouble(); err != nil {
				t.Errorf("a minute later: %v", err)
				return
			}
			h.becomes(second, second)
			h.announce(saying{address: second, epoch: 3661})
			pass(100 * ms)
			h.set(func() {
				if h.known != second {
					t.Errorf("it is still %s", h.known)
				}
			})
		})
	})
}

// The servers are asked within the pace of the questions, and at once by an announcement.
func TestRouterHint(t *testing.T) {
	for _, announced := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome()
			h.live(t, func(*routerSource) {
				pass(time.Minute + 500*ms)
				h.becomes(second, second)
				if announced {
					h.announce(saying{address: second, epoch: 3660})
				}
				pass(time.Minute)
			})
			want := []time.Duration{62 * time.Second}
			if announced {
				want[0] = time.Minute + 500*ms
			}
			if diff := cmp.Diff(want, h.looks); diff != "" {
				t.Errorf("announced %t: looks not at (-) but at (+):\n%s", announced, diff)
			}
			if diff := cmp.Diff([]string{"192.168.1.1: 203.0.113.5 > 198.51.100.7"}, h.events); diff != "" {
				t.Errorf("events not (-) but (+):\n%s", diff)
			}
		})
	}
}

// The line may take a while after the router's word: the servers are asked again one and
// three seconds later, and it is no other hint.
func TestRouterIsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			h.becomes(second, first)
			pass(4 * time.Second)
			h.becomes(second, second)
			pass(time.Minute)
		})
		from := h.looks[0]
		if diff := cmp.Diff([]time.Duration{from, from + time.Second, from + 3*time.Second}, h.looks); diff != "" {
			t.Errorf("looks not at (-) but at (+):\n%s", diff)
		}
		if len(h.events) != 1 {
			t.Errorf("events: %q", h.events)
		}
	})
}

// The first word may be of the address that goes; the right one is acted on at once.
func TestRouterCorrectsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			h.announce(saying{bare: true})
			pass(100 * ms)
			h.becomes(second, second)
			h.announce(saying{address: second})
			pass(time.Minute)
		})
		if diff := cmp.Diff([]time.Duration{time.Minute, time.Minute + 100*ms}, h.looks); diff != "" {
			t.Errorf("looks not at (-) but at (+):\n%s", diff)
		}
	})
}

// What it says while a hint is open counts later, if it has said so much that there is no
// look for it now.
func TestRouterSaysMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			for i := range byte(3) {
				a := netip.AddrFrom4([4]byte{192, 0, 2, 10 + i})
				h.becomes(a, first)
				h.announce(saying{address: a, epoch: 3661})
				pass(500 * ms)
			}
			pass(2 * time.Second)
			h.becomes(second, second)
			pass(10 * time.Second)
			h.set(func() {
				if h.known != second {
					t.Errorf("it is still %s, with looks at %s", h.known, h.looks)
				}
			})
		})
	})
}

// Two changes in a row are both followed at once: the first was borne out.
func TestRouterChangesTwice(t *testing.T) {
	third := netip.MustParseAddr("192.0.2.3")
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			h.becomes(second, second)
			pass(3 * time.Second)
			h.becomes(third, third)
			pass(time.Second)
			if h.known != third {
				t.Errorf("after a second it is %s", h.known)
			}
		})
		if len(h.looks) != 2 || len(h.events) != 2 {
			t.Errorf("looks at %s, events %q", h.looks, h.events)
		}
	})
}

// What the servers have said already is no hint.
func TestRouterIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			h.set(func() {
				h.known, h.truth = second, second
			})
			h.becomes(second, second)
			pass(time.Minute)
		})
		if len(h.looks) > 0 || len(h.events) != 1 {
			t.Errorf("looks at %s, events %q", h.looks, h.events)
		}
	})
}

// A router that restarts is a hint, although its address is the same.
func TestRouterRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(*routerSource) {
			pass(time.Minute + time.Second)
			h.set(func() {
				h.began = time.Now()
			})
			pass(time.Minute)
		})
		if diff := cmp.Diff([]time.Duration{62 * time.Second}, h.looks); diff != "" {
			t.Errorf("looks not at (-) but at (+):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"192.168.1.1: 203.0.113.5 > 203.0.113.5"}, h.events); diff != "" {
			t.Errorf("events not (-) but (+):\n%s", diff)
		}
	})
}

// A router that lies all day, in whatever way, costs next to nothing, and in the end one
// look in ten minutes; and one true hint is all that it needs to be heard again.
func TestRouterLies(t *testing.T) {
	lies := map[string]func(h *home){
		"another address each second": func(h *home) {
			h.becomes(netip.AddrFrom4([4]byte{192, 0, 2, byte(10 + h.questions%200)}), first)
		},
		"to and fro": func(h *home) {
			h.becomes([]netip.Addr{first, second}[time.Since(h.start)/time.Second%2], first)
		},
		"it restarts each second": func(h *home) { h.set(func() { h.began = time.Now() }) },
		"it announces for all it is worth": func(h *home) {
			for range 100 {
				select {
				case h.words <- saying{bare: true}:
				default:
				}
			}
		},
	}
	for name, lie := range lies {
		synctest.Test(t, func(t *testing.T) {
			h := newHome()
			h.live(t, func(*routerSource) {
				for range 24 * 60 * 60 {
					pass(time.Second)
					lie(h)
				}
				last := time.Since(h.start) - time.Hour
				some := 0
				for _, at := range h.looks {
					if at > last {
						some++
					}
				}
				if some > 6 || len(h.looks) > 24*6+40 || len(h.events) > 10 || h.known != first {
					t.Errorf("%s: %d looks in the last hour of %d, %d events, the address is %s",
						name, some, len(h.looks), len(h.events), h.known)
				}
				if h.questions > 24*60*60*4+10 {
					t.Errorf("%s: %d questions", name, h.questions)
				}
				h.set(func() { h.says, h.began = says(first), h.start.Add(-time.Hour) })
				pass(20 * time.Minute) // It is itself again
				told := len(h.events)
				h.becomes(second, second)
				pass(11 * time.Minute)
				if len(h.events) != told+1 {
					t.Errorf("%s: of a true hint is told %q", name, h.events[told:])
				}
				looks := len(h.looks)
				h.becomes(first, first)
				pass(16500 * ms) // As where announcements arrive
				if len(h.looks) != looks+1 || h.known != first {
					t.Errorf("%s: after a true hint looks at %s", name, h.looks[looks:])
				}
			})
		})
	}
}

// A router that always says another address than the servers is believed by nobody and
// asked about by nobody.
func TestRouterBehindAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.says = says(netip.MustParseAddr("100.64.3.4"))
		h.live(t, func(s *routerSource) {
			pass(time.Hour)
			if s.Vouched(first) != nil {
				t.Error("it vouches for what it does not say")
			}
		})
		if len(h.looks)+len(h.events) > 0 {
			t.Errorf("looks at %s, events %q", h.looks, h.events)
		}
	})
}

var errNoAnswer = errors.New("no answer")

// A router that does not answer is asked often at first, then rarely; that it answers
// again is found.
func TestSilentRouter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.says = func() (netip.Addr, error) { return netip.Addr{}, errNoAnswer }
		h.live(t, func(s *routerSource) {
			pass(time.Hour)
			if h.questions > 140 {
				t.Errorf("%d questions in an hour", h.questions)
			}
			if status, _ := s.Router(); status.Healthy || status.Protocol != "" {
				t.Errorf("it is %+v", status)
			}
			h.becomes(first, first)
			pass(silentEvery)
			if s.Vouched(first) == nil {
				t.Error("nobody heard that it answers")
			}
		})
	})
}

// That the router falls silent is known at once, and so is its coming back.
func TestRouterFallsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(s *routerSource) {
			pass(time.Minute)
			lost := s.Vouched(first)
			h.set(func() {
				h.says = func() (netip.Addr, error) { return netip.Addr{}, errNoAnswer }
			})
			pass(2100 * ms)
			select {
			case <-lost:
			default:
				t.Error("nobody was told that it is silent")
			}
			pass(3 * time.Second)
			h.becomes(second, second)
			pass(300 * ms)
			if h.known != second {
				t.Errorf("it is still %s", h.known)
			}
		})
	})
}

// The way out may be another although the router before still answers.
func TestRouterMovesBesideAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(s *routerSource) {
			pass(time.Minute)
			s.mu.Lock()
			before := s.status.Gateway
			s.mu.Unlock()
			h.set(func() { h.at, h.both = other, true })
			pass(wayTime)
			if after, _ := s.Router(); before != gateway.gateway || after.Gateway != other.gateway {
				t.Errorf("it was %s and is %s", before, after.Gateway)
			}
		})
	})
}

// A router that is new is asked often for a while, and so is one while the servers are silent:
// what it says may be about to change.
func TestRouterIsAskedOften(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*home)
		within time.Duration
	}{
		"another":        {func(h *home) { h.at, h.both = other, true }, wayTime},
		"silent servers": {func(h *home) { h.unconfirmed = true }, 2 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome()
			h.live(t, func(*routerSource) {
				pass(time.Minute)
				h.set(func() { c.change(h) })
				pass(c.within)
				for _, want := range []int{int(hastyTime / hastyEvery), 5} {
					n := 0
					h.set(func() { n = -h.questions })
					pass(hastyTime)
					h.set(func() { n += h.questions })
					if n < want-1 || n > want+1 {
						t.Errorf("%s: %d questions in 10 s, not %d", name, n, want)
					}
				}
			})
		})
	}
}

// Who has the servers asked has them asked anew: what the look before still waits for counts
// no more.
func TestRouterLooksAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		s := h.source()
		var looks []context.Context
		s.env.Look = func(ctx context.Context) {
			h.set(func() { looks = append(looks, ctx) })
			<-ctx.Done()
		}
		h.liveAs(t, s, nil, func() {
			pass(time.Minute)
			h.becomes(second, first)
			pass(2 * time.Second)
			h.set(func() {
				if len(looks) != 1 || looks[0].Err() != nil {
					t.Errorf("%d looks", len(looks))
				}
			})
			pass(time.Second)
			h.set(func() {
				if len(looks) != 2 || looks[0].Err() == nil || looks[1].Err() != nil {
					t.Errorf("%d looks, and the first goes on", len(looks))
				}
			})
		})
	})
}

// A source that ends because the kernel cannot be asked does not wait for a look that goes on,
// and nobody relies on what the router said any more.
func TestRouterEndsWhileItLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		s := h.source()
		var looking atomic.Bool
		s.env.Look = func(ctx context.Context) {
			looking.Store(true)
			<-ctx.Done()
		}
		h.liveAs(t, s, errSilent, func() {
			pass(time.Minute)
			h.becomes(second, first)
			pass(2 * time.Second)
			vouched := s.Vouched(second)
			h.set(func() { h.at, h.broken = other, errSilent })
			pass(wayTime)
			if _, open := <-vouched; open || !looking.Load() || s.Vouched(second) != nil {
				t.Error("it does not look, or nobody is told that it has ended")
			}
			if r, is := s.Router(); is {
				t.Errorf("it still has %+v", r)
			}
		})
	})
}

// Another way out is another router. What it says is compared with what the one before
// said.
func TestRouterMoves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.live(t, func(s *routerSource) {
			pass(time.Minute)
			h.set(func() {
				h.at, h.began = other, time.Now() // It counts for itself
			})
			pass(time.Minute)
			if len(h.events) > 0 {
				t.Errorf("events: %q", h.events)
			}
			h.set(func() {
				h.at = uplink{}
			})
			pass(time.Minute)
			if _, is := s.Router(); is || s.Vouched(first) != nil {
				t.Error("there is a router where there is none")
			}
			h.set(func() {
				h.at = gateway
			})
			h.becomes(second, second)
			pass(time.Minute)
		})
		if diff := cmp.Diff([]string{"192.168.1.1: 203.0.113.5 > 198.51.100.7"}, h.events); diff != "" {
			t.Errorf("events not (-) but (+):\n%s", diff)
		}
	})
}

// Only a router of our own network vouches for anything.
func TestStrangerDoesNotVouch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.at = uplink{link: "eth0", gateway: netip.MustParseAddr("192.0.2.254")}
		h.live(t, func(s *routerSource) {
			pass(time.Minute)
			if s.Vouched(first) != nil {
				t.Error("a router on the internet vouches")
			}
		})
	})
}

// An event that is refused is told again.
func TestRouterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.refuse = 1
		h.live(t, func(*routerSource) {
			pass(time.Minute)
			h.becomes(second, first)
			pass(time.Minute)
		})
		if len(h.events) != 1 {
			t.Errorf("events: %q", h.events)
		}
	})
}

// When the kernel cannot be asked, that is the end of a run.
func TestRouterWithoutAKernel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHome()
		h.broken = errSilent
		if err := h.source().Run(t.Context(), h.emit); !errors.Is(err, errSilent) {
			t.Errorf("%v", err)
		}
	})
}

func TestRouterSettings(t *testing.T) {
	for text, want := range map[string]string{
		"auto": "auto", "192.168.1.1": "192.168.1.1", "10.0.0.138": "10.0.0.138",
		"": "is not a router", "fe80::1": "is not a router", "0.0.0.0": "is not a router", "router": "is not a router",
		"224.0.0.1": "is not a router", "127.0.0.1": "is not a router",
	} {
		var g Gateway
		var got string
		if err := g.UnmarshalText([]byte(text)); err != nil {
			got = err.Error()
		} else {
			got = string(g)
		}
		if !strings.Contains(got, want) {
			t.Errorf("%q is %s", text, got)
		}
	}
	if all := (&Router{Every: netwatch.Duration(100 * ms)}).Check(); len(all) != 1 || all[0].Key != "every" {
		t.Errorf("too often is %v", all)
	}
	if all := newRouter().Check(); len(all) > 0 {
		t.Errorf("the defaults are wrong: %v", all)
	}
}
