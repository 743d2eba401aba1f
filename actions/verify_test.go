package actions

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pion/stun/v2"

	"netwatch"
	"netwatch/turn/turntest"
)

const turnConfig = "realm=" + turntest.Realm + "\nuse-auth-secret\nstatic-auth-secret=" + turntest.Secret + "\nexternal-ip=203.0.113.7\n"

// A fakeTurn is a server, and what stands for this machine's own address.
type fakeTurn struct {
	*turntest.Server
	own netip.Addr
}

// startTurn answers on loopback until the test ends.
func startTurn(t *testing.T, answer turntest.Answer) *fakeTurn {
	t.Helper()
	return &fakeTurn{turntest.New(t, answer), netip.MustParseAddr("127.0.0.1")}
}

// verify runs the step against the fake, with conf as the file.
func (f *fakeTurn) verify(t *testing.T, conf string, known ...string) netwatch.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	text := conf + "listening-port=" + strconv.Itoa(int(f.Addr.Port())) + "\n"
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
	wantTurn(t, r, "ipv4 203.0.113.7")
	if r.Outcome != netwatch.Unchanged {
		t.Errorf("%+v", r)
	}
	want := []string{"Allocate", "Allocate signed", "Refresh signed"}
	if diff := cmp.Diff(want, f.Asked()); diff != "" {
		t.Error(diff)
	}
}

// Callers reach coturn at the private part of a pair, if that is an address of
// this machine.
func TestVerifyAsksAtThePrivatePart(t *testing.T) {
	f := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	f.own = netip.MustParseAddr("127.0.0.2")
	wantTurn(t, f.verify(t, turnConfig, "203.0.113.7"), "nobody answers at 127.0.0.2:")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/127.0.0.1\n", "203.0.113.7"), "ipv4 203.0.113.7")
	wantTurn(t, f.verify(t, turnConfig+"external-ip=203.0.113.7/192.0.2.1\n", "203.0.113.7"), "nobody answers at 127.0.0.2:")
}

// Each of several secrets has to be one that coturn runs with.
func TestVerifyEverySecret(t *testing.T) {
	f := startTurn(t, turntest.Proper(t, "203.0.113.7", nil))
	r := f.verify(t, turnConfig+"static-auth-secret=another\n", "203.0.113.7")
	wantTurn(t, r, "it answered 401 As Told to the credentials of ", "HINT it runs with others than are in the file now: restart it")
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
			[]string{"relays over 192.0.2.1, and the public address is 203.0.113.8", "does not have it: have a step `rotate coturn"},
		},
		"another address, the file is right": {turntest.Proper(t, "192.168.1.2", nil), turnConfig, "203.0.113.7", []string{"relays over 192.168.1.2", "restart it"}},
		"no address":                         {turntest.Proper(t, "0.0.0.0", nil), "static-auth-secret=" + turntest.Secret + "\nexternal-ip=\n", "203.0.113.7", []string{"relays over 0.0.0.0", "external-ip in", "is empty"}},
		"open":                               {func(r *stun.Message, _ bool) []stun.Setter { return turntest.Lends(r, "203.0.113.7") }, turnConfig, "203.0.113.7", []string{"it lends relays to everyone", "restart it"}},
		"wrong secret":                       {turntest.Proper(t, "203.0.113.7", nil), "static-auth-secret=wrong\n", "203.0.113.7", []string{"401 As Told to the credentials", "restart it"}},
		"no secret":                          {turntest.Proper(t, "203.0.113.7", nil), "realm=example.org\n", "203.0.113.7", []string{"neither static-auth-secret nor user", "add a user=NAME:PASSWORD"}},
		"quota":                              {turntest.Proper(t, "", code(stun.CodeAllocQuotaReached)), turnConfig, "203.0.113.7", []string{"it answered 486", "user-quota"}},
		"no port":                            {turntest.Proper(t, "", code(stun.CodeInsufficientCapacity)), turnConfig, "203.0.113.7", []string{"it answered 508", "min-port"}},
		"other code":                         {turntest.Proper(t, "", code(stun.CodeForbidden)), turnConfig, "203.0.113.7", []string{"it answered 403 As Told"}},
		"family":                             {turntest.Proper(t, "", code(stun.CodeAddrFamilyNotSupported)), turnConfig, "203.0.113.7", []string{"it has no ipv4 relay", "relay-ip and listening-ip"}},
		"never a fresh nonce":                {turntest.Proper(t, "", code(stun.CodeStaleNonce)), turnConfig, "203.0.113.7", []string{"it answered 438"}},
		"relayed address of 5 bytes":         {turntest.Proper(t, "", raw(make([]byte, 5))), turnConfig, "203.0.113.7", []string{"has 5 bytes"}},
		"relayed address of no bytes":        {turntest.Proper(t, "", raw(nil)), turnConfig, "203.0.113.7", []string{"has 0 bytes"}},
		"no relayed address":                 {turntest.Proper(t, "", func(r *stun.Message) []stun.Setter { return []stun.Setter{turntest.Success(r)} }), turnConfig, "203.0.113.7", []string{"no XOR-RELAYED-ADDRESS"}},
		"refused before a challenge":         {func(r *stun.Message, _ bool) []stun.Setter { return turntest.Refusal(r, stun.CodeForbidden, "n") }, turnConfig, "203.0.113.7", []string{"it answered 403"}},
		"silence":                            {func(*stun.Message, bool) []stun.Setter { return nil }, turnConfig, "203.0.113.7", []string{"nobody answers at 127.0.0.1:", "no answer", "systemctl status"}},
		"another transaction": {func(r *stun.Message, _ bool) []stun.Setter {
			return append(turntest.Lends(r, "203.0.113.7"), stun.TransactionID)
		}, turnConfig, "203.0.113.7", []string{"no right answer in time; passed over: a message has another transaction id"}},
		"our own request": {func(r *stun.Message, _ bool) []stun.Setter { return []stun.Setter{r.Type} }, turnConfig, "203.0.113.7", []string{"passed over: a message is a Allocate request"}},
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

// Each family that is known is asked for; one that coturn does not relay is said.
func TestVerifyFamilies(t *testing.T) {
	honest := func(six string) func(*stun.Message, bool) []stun.Setter {
		return turntest.Proper(t, "203.0.113.7", func(request *stun.Message) []stun.Setter {
			family, err := request.Get(stun.AttrRequestedAddressFamily)
			switch {
			case err != nil:
				t.Error(err)
			case family[0] == 2 && six == "":
				return turntest.Refusal(request, stun.CodeAddrFamilyNotSupported, "n1")
			case family[0] == 2:
				return turntest.Lends(request, six)
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
	v := &verification{"/nonexistent/coturn.conf", netwatch.OwnAddress, time.Second}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{}), "the public address is not known yet", "netwatch probe")
	known := netwatch.Addresses{netwatch.IPv4: {Address: netip.MustParseAddr("203.0.113.7")}}
	wantTurn(t, v.Do(t.Context(), netwatch.Job{Confirmed: known}), "reading /nonexistent/coturn.conf")
}
