package actions

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/servers"
	"netwatch/systemd"
	"netwatch/turn/turntest"
)

const turnConfig = "realm=" + turntest.Realm + "\nuse-auth-secret\nstatic-auth-secret=" + turntest.Secret +
	"\nexternal-ip=203.0.113.7\n"

// A fakeTurn is a server, and what stands for this machine's own address and for the
// units that run the server.
type fakeTurn struct {
	*turntest.Server
	own      netip.Addr
	no4      bool // that there is no way out over IPv4
	units    func() []systemd.State
	families servers.Families
}

// startTurn answers on loopback until the test ends.
func startTurn(t *testing.T, answer turntest.Answer) *fakeTurn {
	t.Helper()
	none := func() []systemd.State { return nil }
	return &fakeTurn{Server: turntest.New(t, answer), own: netip.MustParseAddr("127.0.0.1"), units: none}
}

// verify runs the step against the fake over UDP, with conf as the rest of the file.
func (f *fakeTurn) verify(t *testing.T, conf string, known ...string) netwatch.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	text := conf
	if !strings.Contains(conf, "listening-port=") {
		text += "no-tcp\nlistening-port=" + strconv.Itoa(int(f.Addr.Port())) + "\n"
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := func(family netwatch.Family, _ netip.Addr) netip.Addr {
		if f.no4 && family == netwatch.IPv4 {
			return netip.Addr{}
		}
		return f.own
	}
	job := netwatch.Job{Confirmed: netwatch.Addresses{}}
	for _, text := range known {
		a := netip.MustParseAddr(text)
		job.Confirmed[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
	}
	return (&verification{
		"coturn", netwatch.Path(file), f.families, own,
		func(context.Context, netwatch.Job) []systemd.State { return f.units() }, nil, 2 * time.Second, time.Second, 0,
		Machine{},
	}).Do(t.Context(), job)
}

// wantTurn checks a result, its remedy, and that no secret is in them.
func wantTurn(t *testing.T, r netwatch.Result, words ...string) {
	t.Helper()
	outcome, text := netwatch.Unchanged, r.Detail
	if r.Err != nil {
		outcome, text = netwatch.Failed, r.Err.Error()+" HINT "+netwatch.Hint(r.Err)
	}
	if r.Outcome != outcome {
		t.Errorf("%+v", r)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%q is not in %q", word, text)
		}
	}
	if strings.Contains(text, turntest.Secret) || strings.Contains(text, "\x00") {
		t.Errorf("it has what it must not have: %q", text)
	}
}

// The way of a good allocation, and what is given back.
func TestVerify(t *testing.T) {
	f := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	r := f.verify(t, turnConfig, "203.0.113.7")
	wantTurn(t, r, "ipv4 203.0.113.7 (udp)")
	if r.Outcome != netwatch.Unchanged {
		t.Errorf("%+v", r)
	}
	want := append([]string{"Allocate", "Allocate signed", "Refresh signed"},
		slices.Repeat([]string{"Allocate"}, sharers-1)...) // Another one might have the port too
	if diff := cmp.Diff(want, f.Asked()); diff != "" {
		t.Error(diff)
	}
}

// Callers reach coturn at the private part of a pair, if that is an address of
// this machine.
func TestVerifyAsksAtThePrivatePart(t *testing.T) {
	t.Parallel()
	f := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	f.own = netip.MustParseAddr("127.0.0.2")
	wantTurn(t, f.verify(t, turnConfig, "203.0.113.7"), "nobody answers at 127.0.0.2:")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/127.0.0.1\n", "203.0.113.7"), "ipv4 203.0.113.7")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/192.0.2.1\n", "203.0.113.7"),
		"nobody answers at 127.0.0.2:")
}

// Where the public address was asked from counts more than what the file says: that may
// be of a tunnel, which callers do not come by. A listening-ip counts more than both.
func TestVerifyAsksWhereCallersCome(t *testing.T) {
	v, err := parseVerify(Env{}, []string{"coturn", "/etc/turnserver.conf"})
	if err != nil {
		t.Fatal(err)
	}
	v.local = func(netwatch.Family, netip.Addr) netip.Addr { return netip.MustParseAddr("10.8.0.2") }
	pair := netip.MustParseAddr("::1") // An address of this machine that is of the other family
	for _, c := range []struct {
		offer servers.Offer
		own   string
		want  string
	}{
		{servers.Offer{Private: []netip.Addr{netip.MustParseAddr("127.0.0.1")}}, "", "127.0.0.1"},
		{servers.Offer{Private: []netip.Addr{pair}}, "", "10.8.0.2"},
		{servers.Offer{Private: []netip.Addr{netip.MustParseAddr("192.0.2.1")}}, "127.0.0.1", "127.0.0.1"},
		{servers.Offer{}, "192.0.2.1", "10.8.0.2"},
		{servers.Offer{Listening: []netip.Addr{netip.MustParseAddr("172.18.0.1")}}, "127.0.0.1", "172.18.0.1"},
	} {
		a := netwatch.Address{Address: netip.MustParseAddr("203.0.113.7")}
		a.Own, _ = netip.ParseAddr(c.own)
		at, err := v.at(&c.offer, netwatch.Addresses{netwatch.IPv4: a}, netwatch.Families...)
		if err != nil || at.String() != c.want {
			t.Errorf("%+v: %s, %v", c, at, err)
		}
	}
}

// Each of several secrets has to be one that coturn runs with.
func TestVerifyEverySecret(t *testing.T) {
	f := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	r := f.verify(t, turnConfig+"static-auth-secret=another\n", "203.0.113.7")
	wantTurn(t, r, "it answered 401 As Told to the credentials of ",
		"HINT it runs with others than are in the file now: restart it")
	if r.Outcome != netwatch.Failed {
		t.Errorf("%+v", r)
	}
}

func TestVerifyFails(t *testing.T) {
	code := func(c stun.ErrorCode) func(*stun.Message) []stun.Setter {
		return func(request *stun.Message) []stun.Setter { return turntest.Refusal(request, c, "n2") }
	}
	raw := func(value []byte) func(*stun.Message) []stun.Setter {
		return func(request *stun.Message) []stun.Setter {
			return []stun.Setter{turntest.Success(request), stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: value}}
		}
	}
	for name, c := range map[string]struct {
		answer func(*stun.Message, bool) []stun.Setter
		conf   string
		known  string
		want   []string
	}{
		"another address, as in the file": {
			turntest.Proper(t, "192.0.2.1", nil), turnConfig, "203.0.113.8",
			[]string{
				"relays over 192.0.2.1, and the public address is 203.0.113.8",
				"does not have it: have a step `rotate coturn",
			},
		},
		"another address, the file is right": {
			turntest.Proper(t, "192.168.1.2", nil), turnConfig, "203.0.113.7",
			[]string{"relays over 192.168.1.2", "restart it"},
		},
		"no address": {turntest.Proper(t, "0.0.0.0", nil), "static-auth-secret=" + turntest.Secret +
			"\nexternal-ip=\n", "203.0.113.7", []string{"relays over 0.0.0.0", "external-ip in", "is empty"}},
		"open": {
			func(r *stun.Message,
				_ bool,
			) []stun.Setter {
				return turntest.Lends(r, "203.0.113.7")
			}, turnConfig, "203.0.113.7",
			[]string{"it lends relays to everyone", "no-auth is not in", "ss -lpn"},
		},
		"wrong secret": {
			turntest.Proper(t, "203.0.113.7", nil), "static-auth-secret=wrong\n",
			"203.0.113.7",
			[]string{"401 As Told to the credentials", "restart it"},
		},
		"no secret": {
			turntest.Proper(t, "203.0.113.7", nil), "realm=example.org\n", "203.0.113.7",
			[]string{"neither static-auth-secret nor user", "add a user=NAME:PASSWORD"},
		},
		"quota": {
			turntest.Proper(t, "", code(stun.CodeAllocQuotaReached)), turnConfig,
			"203.0.113.7",
			[]string{"it answered 486", "user-quota"},
		},
		"no port": {
			turntest.Proper(t, "", code(stun.CodeInsufficientCapacity)), turnConfig,
			"203.0.113.7",
			[]string{"it answered 508", "min-port"},
		},
		"other code": {
			turntest.Proper(t, "", code(stun.CodeForbidden)), turnConfig, "203.0.113.7",
			[]string{"it answered 403 As Told"},
		},
		"family": {
			turntest.Proper(t, "", code(stun.CodeAddrFamilyNotSupported)), turnConfig,
			"203.0.113.7",
			[]string{"it answered 440", "relay-ip and listening-ip"},
		},
		"never a fresh nonce": {
			turntest.Proper(t, "", code(stun.CodeStaleNonce)), turnConfig, "203.0.113.7",
			[]string{"it answered 438"},
		},
		"relayed address of 5 bytes": {
			turntest.Proper(t, "", raw(make([]byte, 5))), turnConfig, "203.0.113.7",
			[]string{"has 5 bytes"},
		},
		"relayed address of no bytes": {
			turntest.Proper(t, "", raw(nil)), turnConfig, "203.0.113.7",
			[]string{"has 0 bytes"},
		},
		"no relayed address": {
			turntest.Proper(t, "",
				func(r *stun.Message) []stun.Setter { return []stun.Setter{turntest.Success(r)} }), turnConfig, "203.0.113.7",
			[]string{"no XOR-RELAYED-ADDRESS"},
		},
		"refused before a challenge": {func(r *stun.Message, _ bool) []stun.Setter {
			return turntest.Refusal(r,
				stun.CodeForbidden, "n")
		}, turnConfig, "203.0.113.7", []string{"it answered 403"}},
		"silence": {
			func(*stun.Message, bool) []stun.Setter { return nil }, turnConfig,
			"203.0.113.7",
			[]string{"nobody answers at 127.0.0.1:", "no answer", "systemctl status"},
		},
		"another transaction": {func(r *stun.Message, _ bool) []stun.Setter {
			return append(turntest.Lends(r, "203.0.113.7"), stun.TransactionID)
		}, turnConfig, "203.0.113.7", []string{"no right answer in time; passed over: a message has another transaction id"}},
		"our own request": {
			func(r *stun.Message, _ bool) []stun.Setter { return []stun.Setter{r.Type} }, turnConfig,
			"203.0.113.7",
			[]string{"passed over: a message is a Allocate request"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := startTurn(t, c.answer).verify(t, c.conf, c.known)
			wantTurn(t, r, c.want...)
			if r.Outcome != netwatch.Failed {
				t.Errorf("%+v", r)
			}
		})
	}
}

// IPv6 is asked for only when the step says so and the file names an address for it.
func TestVerifyFamilies(t *testing.T) {
	const named = turnConfig + "relay-ip=192.0.2.1\nrelay-ip=2001:db8::1\n"
	for _, c := range []struct{ conf, families, six, want string }{
		{named, "", "203.0.113.9", "ipv4 203.0.113.7 (udp)"},
		{named, "ipv4", "203.0.113.9", "ipv4 203.0.113.7 (udp)"},
		{named, "ipv4,ipv6", "2001:db8::7", "ipv4 203.0.113.7 (udp), ipv6 2001:db8::7 (udp)"},
		{named, "ipv6", "2001:db8::7", "ipv6 2001:db8::7 (udp)"},
		{named, "ipv4,ipv6", "2001:db8::8", "relays over 2001:db8::8, and the public address is 2001:db8::7"},
		{named, "ipv4,ipv6", "203.0.113.7", "relays over 203.0.113.7, and the public address is 2001:db8::7"},
		{named, "ipv4,ipv6", "", "it answered 440 As Told HINT it has no ipv6 relay, though relay-ip or listening-ip in"},
		{turnConfig, "ipv4,ipv6", "203.0.113.9", "ipv4 203.0.113.7 (udp), no ipv6 relay: neither relay-ip nor listening-ip"},
		{named + "relay-ip=0.0.0.0\n", "ipv4,ipv6", "203.0.113.9", "ipv4 203.0.113.7 (udp), no ipv6 relay: neither"},
	} {
		f := startTurn(t, turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
			switch family, err := request.Get(stun.AttrRequestedAddressFamily); {
			case err != nil:
				return nil
			case family[0] == 1:
				t.Error("IPv4 is asked for by name")
				return nil
			case c.six == "":
				return turntest.Refusal(request, stun.CodeAddrFamilyNotSupported, "n1")
			}
			return turntest.Lends(request, c.six)
		}))
		if v, err := parseVerify(Env{}, []string{"turn", "/f", "families=" + c.families}); err == nil {
			f.families = v.families
		}
		got := f.verify(t, c.conf, "203.0.113.7", "2001:db8::7")
		wantTurn(t, got, c.want)
	}
}

// What a caller gets of a family whose address is not known proves nothing, unless no
// caller could reach it.
func TestVerifyOtherFamily(t *testing.T) {
	r := startTurn(t, turntest.Proper(t, "203.0.113.7", nil)).verify(t, turnConfig, "2001:db8::7")
	if r.Outcome != netwatch.Skipped || !strings.Contains(r.Detail, "unknown: it relays over 203.0.113.7") {
		t.Errorf("%+v", r)
	}
	r = startTurn(t, turntest.Proper(t, "127.0.0.1", nil)).verify(t, turnConfig, "2001:db8::7")
	wantTurn(t, r, "relays over 127.0.0.1, where no caller reaches it")
}

// With several addresses to relay from coturn takes them in turn: the one that is
// no good any more, as of a prefix that is gone, is found out.
func TestVerifyEveryRelay(t *testing.T) {
	f := startTurn(t, nil)
	asked := 0
	f.Server = turntest.New(t, turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
		if asked++; asked == 2 {
			return turntest.Lends(request, "203.0.113.8")
		}
		return nil
	}))
	conf := turnConfig + "relay-ip=192.0.2.1\nrelay-ip=192.0.2.2\n"
	wantTurn(t, f.verify(t, conf, "203.0.113.7"), "relays over 203.0.113.8, and the public address is 203.0.113.7")
	wantTurn(t, f.verify(t, conf, "203.0.113.7"), "ipv4 203.0.113.7 (udp)")
}

// offering is a file with these ports, 0 for none.
func offering(udp, tcp, tls uint16) string {
	text := turnConfig
	if udp == 0 {
		text += "no-udp\n"
	}
	if tcp == 0 {
		text += "no-tcp\n"
	}
	if tls != 0 {
		text += fmt.Sprintf("cert=/c\npkey=/k\ntls-listening-port=%d\n", tls)
	}
	return text + fmt.Sprintf("listening-port=%d\n", max(udp, tcp, 1))
}

// Everything that the file offers is asked, and nothing else.
func TestVerifyTransports(t *testing.T) {
	proper := turntest.Proper(t, "203.0.113.7", nil)
	f := startTurn(t, proper)
	udp, tcp := f.Addr.Port(), f.Over(t, nil).Port()
	tls := f.Over(t, turntest.Certificate(t, time.Now().Add(time.Hour))).Port()
	wantTurn(t, f.verify(t, offering(0, 0, tls), "203.0.113.7"), "ipv4 203.0.113.7 (tls)")
	wantTurn(t, f.verify(t, offering(0, tcp, tls), "203.0.113.7"), "ipv4 203.0.113.7 (tcp, tls)")
	wantTurn(t, f.verify(t, offering(udp, 0, tls), "203.0.113.7"), "ipv4 203.0.113.7 (udp, tls)")
	wantTurn(t, f.verify(t, offering(0, 0, 0), "203.0.113.7"), "has it listen nowhere", "needs cert and pkey")
	wantTurn(t, f.verify(t, offering(udp, 0, 1), "203.0.113.7"),
		"nobody answers at 127.0.0.1:1 (tls): connection refused", "can read cert and pkey")
	old := f.Over(t, turntest.Certificate(t, time.Now().Add(-time.Hour))).Port()
	wantTurn(t, f.verify(t, offering(0, 0, old), "203.0.113.7"), "the certificate that 127.0.0.1:",
		"is good until", "signal USR2")
}

// Who answers must be the server of the file. Another one at a port of it is said, and
// is no fault of a server that answers at its other ports.
func TestVerifyAnother(t *testing.T) {
	mine := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	tls := mine.Over(t, turntest.Certificate(t, time.Now().Add(time.Hour))).Port()
	for name, c := range map[string]struct {
		answer turntest.Answer
		want   []string
	}{
		"open": {
			func(r *stun.Message, _ bool) []stun.Setter { return turntest.Lends(r, "203.0.113.7") },
			[]string{"lends relays to everyone", "another server answers there"},
		},
		"realm": {
			func(r *stun.Message, _ bool) []stun.Setter {
				return append(turntest.Refusal(r, stun.CodeUnauthorized, "n")[:2], stun.NewRealm("first.example"),
					stun.NewNonce("n"))
			},
			[]string{`another server answers there, of realm "first.example", and not the one of`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			other := startTurn(t, c.answer)
			port := other.Addr.Port()
			r := mine.verify(t, offering(port, 0, tls), "203.0.113.7")
			wantTurn(t, r, append(c.want, "ipv4 203.0.113.7 (tls), asking 127.0.0.1:")...)
			r = mine.verify(t, offering(port, 0, 0), "203.0.113.7")
			wantTurn(t, r, c.want[0], "ss -lpn sport = :"+strconv.Itoa(int(port)))
			if slices.Contains(other.Asked(), "Allocate signed") {
				t.Error("another server was shown credentials")
			}
		})
	}
}

// Two servers that share a port answer by chance, whichever is the first: it is said, and
// it is a fault unless callers of the one in the file have a port of its own.
func TestVerifySharedPort(t *testing.T) {
	for name, others := range map[string]func(asked int) bool{
		"the other first": func(asked int) bool { return asked <= 8 }, // An allocation and its end, of each
		"the other later": func(asked int) bool { return asked == 7 },
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex // Guards asked: the server answers in goroutines of its own
			f := startTurn(t, nil)
			proper, asked := turntest.Proper(t, "203.0.113.7", nil), 0
			f.Server = turntest.New(t, func(r *stun.Message, signed bool) []stun.Setter {
				mu.Lock()
				defer mu.Unlock()
				if asked++; others(asked) {
					return turntest.Lends(r, "192.0.2.1")
				}
				return proper(r, signed)
			})
			r := f.verify(t, turnConfig, "203.0.113.7")
			wantTurn(t, r, "two servers share a port, and callers reach one by chance: asking 127.0.0.1:", "HINT ss -lpn")
			if r.Outcome != netwatch.Failed {
				t.Errorf("%+v", r)
			}
			mu.Lock()
			asked = 0
			mu.Unlock()
			tls := f.Over(t, turntest.Certificate(t, time.Now().Add(time.Hour))).Port()
			wantTurn(t, f.verify(t, offering(f.Addr.Port(), 0, tls), "203.0.113.7"),
				"ipv4 203.0.113.7 (udp, tls), two servers share a port")
		})
	}
}

// unit is one that runs the server.
func unit(active, invocation string) systemd.State {
	result := map[string]string{"failed": "start-limit-hit"}[active]
	return systemd.State{ID: "c.service", Active: active, Sub: active, Result: result, Invocation: invocation}
}

// Dead is a unit that failed, or one that is active and whose port refuses.
func TestVerifyDead(t *testing.T) {
	refused := offering(0, 1, 0)
	silent := func(*stun.Message, bool) []stun.Setter { return nil }
	quota := turntest.Proper(t, "",
		func(r *stun.Message) []stun.Setter { return turntest.Refusal(r, stun.CodeAllocQuotaReached, "n") })
	for name, c := range map[string]struct {
		answer turntest.Answer
		conf   string
		active string
		dead   bool
		want   string
	}{
		"failed": {
			silent, refused, "failed", true,
			"(c.service is failed (failed), result start-limit-hit) HINT see journalctl -u c.service",
		},
		"active, refuses":     {silent, refused, "active", true, "connection refused"},
		"active, silent":      {silent, "", "active", false, "no answer"},
		"active, quota":       {quota, "", "active", false, "486"},
		"active, wrong":       {turntest.Proper(t, "203.0.113.9", nil), "", "active", false, "relays over 203.0.113.9"},
		"active, one refuses": {turntest.Proper(t, "203.0.113.7", nil), "one", "active", false, "connection refused"},
		"stopped": {
			silent, refused, "inactive", false,
			"(somebody has stopped c.service, and so it stays) HINT systemctl start c.service",
		},
		"not known":     {silent, refused, "", false, "connection refused"},
		"being started": {silent, refused, "activating", false, "(c.service is activating (activating))"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startTurn(t, c.answer)
			if c.active != "" {
				f.units = func() []systemd.State { return []systemd.State{unit(c.active, "1")} }
			}
			conf := c.conf
			switch conf {
			case "":
				conf = turnConfig
			case "one":
				conf = offering(f.Addr.Port(), 0, 1)
			}
			r := f.verify(t, conf, "203.0.113.7")
			wantTurn(t, r, c.want)
			if dead := r.Dead != ""; dead != c.dead || r.Outcome != netwatch.Failed {
				t.Errorf("%+v", r)
			}
		})
	}
}

// Another file, unit or address is another finding, and what else may be is none.
func TestVerifyFinding(t *testing.T) {
	t.Parallel()
	f := startTurn(t, nil)
	f.units = func() []systemd.State { return []systemd.State{unit("failed", rand.Text())} }
	file := offering(0, 1, 0)
	first := f.verify(t, file, "203.0.113.7").Dead
	if again := f.verify(t, file, "203.0.113.7").Dead; first == "" || again != first {
		t.Errorf("%q, and again %q", first, again)
	}
	address, conf := f.verify(t, file, "203.0.113.8").Dead, f.verify(t, file+"#\n", "203.0.113.7").Dead
	f.units = func() []systemd.State {
		st := unit("failed", "1")
		st.Words = []string{"turnserver", "-c", "/other"}
		return []systemd.State{st}
	}
	another := f.verify(t, file, "203.0.113.7").Dead
	all := []string{first, address, conf, another}
	slices.Sort(all)
	if len(slices.Compact(all)) != 4 {
		t.Errorf("%q", all)
	}
}

// A server that is being stopped answers as it did, also for seconds: it is asked again
// until another has taken its place.
func TestVerifyWhileStopping(t *testing.T) {
	for name, answers := range map[string][]string{"wrong": {"203.0.113.9"}, "right": {"203.0.113.7"}} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex                                // Guards asked: the server answers in goroutines of its own
			asked := map[[stun.TransactionIDSize]byte]bool{} // One is sent again where the machine is slow
			f := startTurn(t, nil)
			f.Server = turntest.New(t, turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
				mu.Lock()
				defer mu.Unlock()
				if asked[request.TransactionID] = true; len(asked) <= 3 {
					return turntest.Lends(request, answers[0])
				}
				return nil
			}))
			looks := 0
			f.units = func() []systemd.State {
				switch looks++; {
				case looks <= 4: // Twice asked
					return []systemd.State{unit("deactivating", "1")}
				case looks <= 5:
					return []systemd.State{unit("activating", "2")}
				}
				return []systemd.State{unit("active", "2")}
			}
			wantTurn(t, f.verify(t, turnConfig, "203.0.113.7"), "ipv4 203.0.113.7 (udp)")
			mu.Lock()
			if want := map[string]int{"wrong": 4, "right": 3}[name]; len(asked) != want {
				t.Errorf("asked %d times, want %d", len(asked), want)
			}
			mu.Unlock()
			f.units = func() []systemd.State { return []systemd.State{unit("deactivating", "2")} }
			r := f.verify(t, turnConfig, "203.0.113.7")
			wantTurn(t, r, "what answers is being stopped")
		})
	}
}

// Which unit runs the server is seen of the steps before it.
func TestVerifyWords(t *testing.T) {
	for _, name := range []string{"turn", "coturn"} {
		s, err := newVerify(Env{}, "verify", []string{name, "/etc//x.conf", "families=ipv6"})
		v, ok := s.Action.(*verification)
		if err != nil || !ok || v.file != "/etc/x.conf" || v.families != (servers.Families{IPv6: true}) || s.Gate || s.Gated {
			t.Errorf("%+v %v", s, err)
		}
	}
	for words, want := range map[string]string{
		"turn /x families=ipv5":      "families=ipv5 is not understood",
		"turn /x families=":          "families= is not understood",
		"turn /x families=ipv4,ipv4": "is not understood",
		"turn /x family=ipv4":        `"family=ipv4" is not understood after the file`,
		"turn /x families=ipv4 y":    `"y" is not understood after the families`,
	} {
		if _, err := newVerify(Env{}, "verify", strings.Fields(words)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", words, err)
		}
	}
}

func TestVerifyWithoutAddressOrFile(t *testing.T) {
	v, err := parseVerify(Env{}, []string{"coturn", "/nonexistent/coturn.conf"})
	if err != nil {
		t.Fatal(err)
	}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{}), "the public address is not known yet", "netwatch probe")
	known := netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7")}}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{Confirmed: known}), "reading /nonexistent/coturn.conf")
}
