package actions

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/servers"
)

const (
	turnSecret = "the secret of a test"
	turnConfig = "realm=example.org\nuse-auth-secret\nstatic-auth-secret=" + turnSecret + "\nexternal-ip=203.0.113.7\n"
)

// A fakeTurn is no TURN server: it answers each request as a test says, and
// remembers what came. The real coturn is in the lab.
type fakeTurn struct {
	port   uint16
	own    netip.Addr // what stands for this machine's own address
	answer func(request *stun.Message, signed bool) []stun.Setter

	mu   sync.Mutex
	came []string
}

// startTurn answers on loopback until the test ends. No setters are no answer.
func startTurn(t *testing.T, answer func(request *stun.Message, signed bool) []stun.Setter) *fakeTurn {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	f, done := &fakeTurn{answer: answer, own: netip.MustParseAddr("127.0.0.1"), port: uint16(conn.LocalAddr().(*net.UDPAddr).Port)}, make(chan struct{})
	go func() {
		defer close(done)
		f.serve(conn)
	}()
	t.Cleanup(func() {
		_ = conn.Close()
		<-done
	})
	return f
}

func (f *fakeTurn) serve(conn *net.UDPConn) {
	packet := make([]byte, turnPacket)
	for {
		n, from, err := conn.ReadFromUDP(packet)
		if err != nil {
			return
		}
		request := &stun.Message{Raw: slices.Clone(packet[:n])}
		if request.Decode() != nil {
			continue
		}
		_, err = request.Get(stun.AttrMessageIntegrity)
		signed := err == nil
		f.mu.Lock()
		f.came = append(f.came, request.Type.Method.String()+map[bool]string{true: " signed"}[signed])
		setters := f.answer(request, signed)
		f.mu.Unlock()
		if setters != nil {
			_, _ = conn.WriteToUDP(stun.MustBuild(append([]stun.Setter{request}, setters...)...).Raw, from)
		}
	}
}

func (f *fakeTurn) asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.came)
}

// verify runs the step against the fake, with conf as the file.
func (f *fakeTurn) verify(t *testing.T, conf string, known ...string) netwatch.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	text := conf + "listening-port=" + strconv.Itoa(int(f.port)) + "\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	own := func(netwatch.Family, netip.Addr) netip.Addr { return f.own }
	job := netwatch.Job{Confirmed: netwatch.Addresses{}}
	for _, text := range known {
		a := netip.MustParseAddr(text)
		job.Confirmed[netwatch.FamilyOf(a)] = netwatch.Address{Address: a}
	}
	return (&verification{netwatch.Path(file), own, 800 * time.Millisecond}).Do(t.Context(), job)
}

func turnSuccess(request *stun.Message) stun.Setter {
	return stun.NewType(request.Type.Method, stun.ClassSuccessResponse)
}

// turnRefusal is an error response with a challenge.
func turnRefusal(request *stun.Message, code stun.ErrorCode, nonce string) []stun.Setter {
	return []stun.Setter{
		stun.NewType(request.Type.Method, stun.ClassErrorResponse),
		stun.ErrorCodeAttribute{Code: code, Reason: []byte("As Told\x00")},
		stun.NewRealm("example.org"), stun.NewNonce(nonce),
	}
}

// turnLends is an allocation at an address.
func turnLends(request *stun.Message, at string) []stun.Setter {
	return []stun.Setter{turnSuccess(request), relayedAttribute(at)}
}

// relayedAttribute is an XOR-RELAYED-ADDRESS.
type relayedAttribute string

// AddTo adds it to a message.
func (a relayedAttribute) AddTo(m *stun.Message) error {
	x := stun.XORMappedAddress{IP: net.ParseIP(string(a)), Port: 49160}
	return x.AddToAs(m, stun.AttrXORRelayedAddress)
}

// proper answers as coturn does: it challenges, checks the password that follows
// from the secret, and lends an address.
func proper(t *testing.T, at string, then func(request *stun.Message) []stun.Setter) func(*stun.Message, bool) []stun.Setter {
	return func(request *stun.Message, signed bool) []stun.Setter {
		if !signed {
			return turnRefusal(request, stun.CodeUnauthorized, "n1")
		}
		var name stun.Username
		if err := name.GetFrom(request); err != nil {
			t.Error(err)
		}
		expiry, err := strconv.ParseInt(name.String(), 10, 64)
		if until := time.Until(time.Unix(expiry, 0)); err != nil || until < time.Second || until > time.Minute {
			t.Errorf("the name is %q", name)
		}
		offer, err := servers.CoturnOffer([]byte(turnConfig), time.Unix(expiry, 0).Add(-time.Minute))
		if err != nil {
			t.Error(err)
		}
		if err := integrity(offer.Credentials[0], "example.org").Check(request); err != nil {
			return turnRefusal(request, stun.CodeUnauthorized, "n1")
		}
		if request.Type.Method == stun.MethodRefresh {
			return []stun.Setter{turnSuccess(request)}
		}
		if then != nil {
			if setters := then(request); setters != nil {
				return setters
			}
		}
		return turnLends(request, at)
	}
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
	if strings.Contains(text, turnSecret) || strings.Contains(text, "\x00") {
		t.Errorf("it has what it must not have: %q", text)
	}
}

// The way of a good allocation, and what is given back.
func TestVerify(t *testing.T) {
	f := startTurn(t, proper(t, "203.0.113.7", nil))
	r := f.verify(t, turnConfig, "203.0.113.7")
	wantTurn(t, r, "ipv4 203.0.113.7")
	if r.Outcome != netwatch.Unchanged {
		t.Errorf("%+v", r)
	}
	want := []string{"Allocate", "Allocate signed", "Refresh signed"}
	if diff := cmp.Diff(want, f.asked()); diff != "" {
		t.Error(diff)
	}
}

// Callers reach coturn at the private part of a pair, if that is an address of
// this machine.
func TestVerifyAsksAtThePrivatePart(t *testing.T) {
	f := startTurn(t, proper(t, "203.0.113.7", nil))
	f.own = netip.MustParseAddr("127.0.0.2")
	wantTurn(t, f.verify(t, turnConfig, "203.0.113.7"), "nobody answers at 127.0.0.2:")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/127.0.0.1\n", "203.0.113.7"), "ipv4 203.0.113.7")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/192.0.2.1\n", "203.0.113.7"), "nobody answers at 127.0.0.2:")
}

// Each of several secrets has to be one that coturn runs with.
func TestVerifyEverySecret(t *testing.T) {
	f := startTurn(t, proper(t, "203.0.113.7", nil))
	r := f.verify(t, turnConfig+"static-auth-secret=another\n", "203.0.113.7")
	wantTurn(t, r, "it answered 401 As Told to the credentials of ", "HINT it runs with others than are in the file now: restart it")
	if r.Outcome != netwatch.Failed {
		t.Errorf("%+v", r)
	}
}

func TestVerifyFails(t *testing.T) {
	code := func(c stun.ErrorCode) func(*stun.Message) []stun.Setter {
		return func(request *stun.Message) []stun.Setter { return turnRefusal(request, c, "n2") }
	}
	raw := func(value []byte) func(*stun.Message) []stun.Setter {
		return func(request *stun.Message) []stun.Setter {
			return []stun.Setter{turnSuccess(request), stun.RawAttribute{Type: stun.AttrXORRelayedAddress, Value: value}}
		}
	}
	for name, c := range map[string]struct {
		answer func(*stun.Message, bool) []stun.Setter
		conf   string
		known  string
		want   []string
	}{
		"another address, as in the file": {
			proper(t, "192.0.2.1", nil), turnConfig, "203.0.113.8",
			[]string{"relays over 192.0.2.1, and the public address is 203.0.113.8", "does not have it: have a step `rotate coturn"},
		},
		"another address, the file is right": {proper(t, "192.168.1.2", nil), turnConfig, "203.0.113.7", []string{"relays over 192.168.1.2", "restart it"}},
		"no address":                         {proper(t, "0.0.0.0", nil), "static-auth-secret=" + turnSecret + "\nexternal-ip=\n", "203.0.113.7", []string{"relays over 0.0.0.0", "external-ip in", "is empty"}},
		"open":                               {func(r *stun.Message, _ bool) []stun.Setter { return turnLends(r, "203.0.113.7") }, turnConfig, "203.0.113.7", []string{"it lends relays to everyone", "restart it"}},
		"wrong secret":                       {proper(t, "203.0.113.7", nil), "static-auth-secret=wrong\n", "203.0.113.7", []string{"401 As Told to the credentials", "restart it"}},
		"no secret":                          {proper(t, "203.0.113.7", nil), "realm=example.org\n", "203.0.113.7", []string{"neither static-auth-secret nor user", "add a user=NAME:PASSWORD"}},
		"quota":                              {proper(t, "", code(stun.CodeAllocQuotaReached)), turnConfig, "203.0.113.7", []string{"it answered 486", "user-quota"}},
		"no port":                            {proper(t, "", code(stun.CodeInsufficientCapacity)), turnConfig, "203.0.113.7", []string{"it answered 508", "min-port"}},
		"other code":                         {proper(t, "", code(stun.CodeForbidden)), turnConfig, "203.0.113.7", []string{"it answered 403 As Told"}},
		"family":                             {proper(t, "", code(stun.CodeAddrFamilyNotSupported)), turnConfig, "203.0.113.7", []string{"it has no ipv4 relay", "relay-ip and listening-ip"}},
		"never a fresh nonce":                {proper(t, "", code(stun.CodeStaleNonce)), turnConfig, "203.0.113.7", []string{"it answered 438"}},
		"relayed address of 5 bytes":         {proper(t, "", raw(make([]byte, 5))), turnConfig, "203.0.113.7", []string{"has 5 bytes"}},
		"relayed address of no bytes":        {proper(t, "", raw(nil)), turnConfig, "203.0.113.7", []string{"has 0 bytes"}},
		"no relayed address":                 {proper(t, "", func(r *stun.Message) []stun.Setter { return []stun.Setter{turnSuccess(r)} }), turnConfig, "203.0.113.7", []string{"no XOR-RELAYED-ADDRESS"}},
		"refused before a challenge":         {func(r *stun.Message, _ bool) []stun.Setter { return turnRefusal(r, stun.CodeForbidden, "n") }, turnConfig, "203.0.113.7", []string{"it answered 403"}},
		"silence":                            {func(*stun.Message, bool) []stun.Setter { return nil }, turnConfig, "203.0.113.7", []string{"nobody answers at 127.0.0.1:", "no answer", "systemctl status"}},
		"another transaction": {func(r *stun.Message, _ bool) []stun.Setter {
			return append(turnLends(r, "203.0.113.7"), stun.TransactionID)
		}, turnConfig, "203.0.113.7", []string{"no answer"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := startTurn(t, c.answer).verify(t, c.conf, c.known)
			wantTurn(t, r, c.want...)
			if r.Outcome != netwatch.Failed {
				t.Errorf("%+v", r)
			}
		})
	}
}

// An allocation that should not have been given is given back.
func TestVerifyGivesBackOfAnOpenRelay(t *testing.T) {
	f := startTurn(t, func(r *stun.Message, _ bool) []stun.Setter { return turnLends(r, "203.0.113.7") })
	f.verify(t, turnConfig, "203.0.113.7")
	if diff := cmp.Diff([]string{"Allocate", "Refresh"}, f.asked()); diff != "" {
		t.Error(diff)
	}
}

// A nonce that has become stale is replaced, and a packet that was lost is sent
// again.
func TestVerifyStaleNonceAndLoss(t *testing.T) {
	stale, lost := true, true
	honest := proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
		if stale {
			stale = false
			return turnRefusal(request, stun.CodeStaleNonce, "n2")
		}
		var nonce stun.Nonce
		if err := nonce.GetFrom(request); err != nil || nonce.String() != "n2" {
			t.Errorf("the nonce is %q, %v", nonce, err)
		}
		return nil
	})
	f := startTurn(t, func(request *stun.Message, signed bool) []stun.Setter {
		if lost {
			lost = false
			return nil
		}
		return honest(request, signed)
	})
	wantTurn(t, f.verify(t, turnConfig, "203.0.113.7"), "ipv4 203.0.113.7")
}

// Each family that is known is asked for; one that coturn does not relay is said.
func TestVerifyFamilies(t *testing.T) {
	honest := func(six string) func(*stun.Message, bool) []stun.Setter {
		return proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
			family, err := request.Get(stun.AttrRequestedAddressFamily)
			switch {
			case err != nil:
				t.Error(err)
			case family[0] == 2 && six == "":
				return turnRefusal(request, stun.CodeAddrFamilyNotSupported, "n1")
			case family[0] == 2:
				return turnLends(request, six)
			}
			return nil
		})
	}
	for six, want := range map[string]string{
		"2001:db8::7": "ipv4 203.0.113.7, ipv6 2001:db8::7",
		"":            "ipv4 203.0.113.7, no ipv6 relay",
		"2001:db8::8": "verifying ipv6 of coturn: ",
		"203.0.113.7": "relays over 203.0.113.7, and the public address is 2001:db8::7",
	} {
		wantTurn(t, startTurn(t, honest(six)).verify(t, turnConfig, "203.0.113.7", "2001:db8::7"), want)
	}
}

func TestVerifyWithoutAddressOrFile(t *testing.T) {
	v := &verification{"/nonexistent/coturn.conf", LocalAddress, time.Second}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{}), "the public address is not known yet", "netwatch probe")
	known := netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7")}}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{Confirmed: known}), "reading /nonexistent/coturn.conf")
}

// A refusing socket is what the kernel makes of a port where nobody listens yet.
type refusing struct {
	net.Conn
	times int
}

// Write fails so many times.
func (r *refusing) Write(p []byte) (int, error) {
	if r.times--; r.times >= 0 {
		return 0, &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.ECONNREFUSED)}
	}
	return r.Conn.Write(p)
}

// A server that begins to listen a little later is waited for, and nobody who
// never listens is waited for longer than the context lasts.
func TestVerifyWaitsForAServer(t *testing.T) {
	f := startTurn(t, proper(t, "203.0.113.7", nil))
	for times, want := range map[int]error{3: nil, 1 << 30: syscall.ECONNREFUSED} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		r, err := dialRelay(ctx, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), f.port))
		if err != nil {
			t.Fatal(err)
		}
		r.conn = &refusing{r.conn, times}
		if _, err := r.allocate(ctx, nil, netwatch.IPv4); want == nil && !refusedWith(err, stun.CodeUnauthorized) || want != nil && !errors.Is(err, want) {
			t.Errorf("refused %d times: %v", times, err)
		}
		_ = r.Close()
		cancel()
	}
}
