package sources

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// An address is held from the bound of the penalty on, and as long as it is not below the
// other one.
func TestDampingAtItsBounds(t *testing.T) {
	a, b, now := host(1), host(2), time.Now()
	d := damping{}.see(a, now)
	for n := range 3 {
		if d.holds(a) {
			t.Errorf("it is held after %d comebacks", n)
		}
		d = d.see(b, now).see(a, now)
	}
	if !d.holds(a) {
		t.Error("it is not held after three")
	}
	later := now.Add(2 * halfLife) // Its penalty is a quarter
	if got, is := d.report(b, later); !is || got.Penalty != heldUntil || !got.Until.Equal(now.Add(steady)) {
		t.Errorf("it is told as %+v, %v", got, is)
	}
	if !d.see(b, now).see(a, later).holds(a) {
		t.Error("it is let go at the bound")
	}
	at := damping{seen: []sighting{{address: a, last: now, penalty: 16 * heldUntil, held: true}}, since: now.Add(memory)}
	if got, is := at.report(b, now.Add(memory)); !is || got.Penalty != heldUntil {
		t.Errorf("after an hour it is told as %+v, %v", got, is)
	}
	if at.see(b, now.Add(memory)).seen[0].address != a || at.see(b, now.Add(memory+1)).seen[0].address != b {
		t.Error("it is not forgotten after an hour")
	}
}

// A change of a file is told when it has been another for longer than the bound, and a file
// that is gone is looked for again within another.
func TestFollowedAtItsBounds(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		for ago, want := range map[time.Duration]bool{mostUnsteady: false, mostUnsteady + 1: true} {
			if got := (&followed{since: time.Now().Add(-ago)}).steady("1", "2"); got != want {
				t.Errorf("after %s it is steady: %v", ago, got)
			}
		}
		gone := passing{errors.New("gone")}
		for ago, want := range map[time.Duration]time.Duration{graceTime - 1: retryTime, graceTime: 0} {
			if got := (&follower{}).unread(&followed{began: time.Now().Add(-ago)}, "1", gone); got != want {
				t.Errorf("after %s it is looked at again in %s", ago, got)
			}
		}
	})
}

// What strangers say is taken up to its bounds, and nothing beyond.
func TestStrangersAtTheirBounds(t *testing.T) {
	pad := func(text string, size int) []byte { return []byte(text + strings.Repeat(" ", size-len(text))) }
	for text, well := range map[string]bool{
		string(pad(`{"number":1,"connect":1}`, maxBulletin)):         true,
		string(pad(`{"number":1,"connect":1}`, maxBulletin+1)):       false,
		fmt.Sprintf(`{"number":%d,"connect":1}`, int64(maxNumber)):   true,
		fmt.Sprintf(`{"number":%d,"connect":1}`, int64(maxNumber)+1): false,
		`{"number":0,"connect":-1}`:                                  false,
	} {
		if _, err := parseBulletin([]byte(text)); (err == nil) != well {
			t.Errorf("%.40s of %d bytes: %v", text, len(text), err)
		}
	}
	w, err := parseBulletin([]byte(`{"number":2,"connect":1,"told":[{"number":0,"event":"a"},{"number":3,"event":"b"},` +
		`{"number":1,"event":"c"},{"number":2,"event":"d"}]}`))
	if err != nil || len(w.Told) != 2 || w.Told[0].Event != "c" {
		t.Errorf("of events in four times it has %+v, %v", w.Told, err)
	}
	for size, well := range map[int]bool{maxAsk: true, maxAsk + 1: false} {
		if err := strictly(pad("{}", size), maxAsk, new(struct{})); (err == nil) != well {
			t.Errorf("of %d bytes it says %v", size, err)
		}
	}
	place := func(ways, name, password int) netwatch.Place {
		return netwatch.Place{
			Address: host(1), Ways: slices.Repeat([]netwatch.Way{{Over: "udp", Port: leastPort}}, ways),
			Name: strings.Repeat("n", name), Password: strings.Repeat("p", password),
		}
	}
	for _, p := range []netwatch.Place{
		place(0, 1, 1), place(maxWays+1, 1, 1), place(1, 0, 1), place(1, maxText+1, 1), place(1, 1, maxText+1),
	} {
		if checkPlace(p) == nil {
			t.Errorf("%d ways, %d and %d bytes are taken", len(p.Ways), len(p.Name), len(p.Password))
		}
	}
	if err := checkPlace(place(maxWays, maxText, maxText)); err != nil {
		t.Error(err)
	}
}

// Settings are taken up to their bounds.
func TestSettingsAtTheirBounds(t *testing.T) {
	var topic Topic
	for size, well := range map[int]bool{maxText: true, maxText + 1: false} {
		if err := topic.UnmarshalText([]byte(strings.Repeat("t", size))); (err == nil) != well {
			t.Errorf("a topic of %d bytes: %v", size, err)
		}
		name := strings.Repeat("n", size)
		if isName(name, maxText) != well {
			t.Errorf("a name of %d bytes is one: %v", size, !well)
		}
	}
	for text, want := range map[string]bool{"!~": true, "a b": false, "a/b": false, "a\x7f": false, "": false} {
		if isName(text, maxText) != want {
			t.Errorf("%q is a name: %v", text, !want)
		}
	}
	m := &MQTT{Broker: "mqtts://b.example:8883", Host: "self", Password: "/p"}
	for n := range maxServe + 1 {
		m.Serve = append(m.Serve, PeerName(fmt.Sprintf("m%d", n)))
	}
	want := []Mistake{{"serve", -1, "has 33 names, and may have 32"}}
	if all := m.Check(); !slices.Equal(all, want) {
		t.Errorf("of one too many it says %v", all)
	}
	if m.Serve = m.Serve[:maxServe]; m.Check() != nil || !m.Looks() || (&MQTT{}).Looks() {
		t.Errorf("of as many as may be it says %v", m.Check())
	}
	m.Serve = []PeerName{"a", "self", "a"}
	if all := m.Check(); len(all) != 2 || all[0].Index != 1 || all[1].Index != 2 {
		t.Errorf("of oneself and one that is there twice it says %v", all)
	}
}

// The settings of STUN are taken up to their bounds, and what is wrong is said of its key.
func TestSTUNAtItsBounds(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*STUN)
		want   string
	}{
		"as it is":      {func(*STUN) {}, "[]"},
		"as often":      {func(s *STUN) { s.Every = netwatch.Duration(leastEvery) }, "[]"},
		"too often":     {func(s *STUN) { s.Every = netwatch.Duration(leastEvery - 1) }, "[{every -1}]"},
		"as short":      {func(s *STUN) { s.Timeout = netwatch.Duration(leastTimeout) }, "[]"},
		"too short":     {func(s *STUN) { s.Timeout = netwatch.Duration(leastTimeout - 1) }, "[{timeout -1}]"},
		"as long":       {func(s *STUN) { s.Timeout = netwatch.Duration(mostTimeout) }, "[]"},
		"too long":      {func(s *STUN) { s.Timeout = netwatch.Duration(mostTimeout + 1) }, "[{timeout -1}]"},
		"a long name":   {func(s *STUN) { s.Interface = strings.Repeat("x", maxInterface) }, "[]"},
		"too long one":  {func(s *STUN) { s.Interface = strings.Repeat("x", maxInterface+1) }, "[{interface -1}]"},
		"a slash":       {func(s *STUN) { s.Interface = "a/b" }, "[{interface -1}]"},
		"one must":      {func(s *STUN) { s.Agree = 1 }, "[]"},
		"none must":     {func(s *STUN) { s.Agree = 0 }, "[{agree -1}]"},
		"too many must": {func(s *STUN) { s.Agree = 9 }, "[{agree -1}]"},
		"no server":     {func(s *STUN) { s.Servers = nil }, "[{servers -1}]"},
		"no family":     {func(s *STUN) { s.Families = nil }, "[{families -1}]"},
		"twice":         {func(s *STUN) { s.Servers = append(s.Servers, s.Servers[0]) }, "[{servers 3}]"},
		"families twice": {
			func(s *STUN) { s.Families = []netwatch.Family{"ipv4", "ipv4"} }, "[{families 1}]",
		},
	} {
		s := newSTUN().(*STUN)
		c.change(s)
		got := []string{}
		for _, m := range s.Check() {
			got = append(got, fmt.Sprintf("{%s %d}", m.Key, m.Index))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%s: %s, want %s: %v", name, got, c.want, s.Check())
		}
	}
}

// The log has of each of so many machines that say nonsense a line a minute.
func TestSeldomAtItsBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := seldom{}
		for n := range maxPeers {
			if name := fmt.Sprint(n); !s.may(name) || s.may(name) {
				t.Errorf("%s may not, or twice", name)
			}
		}
		if s.may("more") {
			t.Error("one more may")
		}
		time.Sleep(complaintPause - 1)
		if s.may("1") || s.may("more") {
			t.Error("it may before a minute is over")
		}
		time.Sleep(time.Nanosecond)
		if !s.may("more") || !s.may("1") || len(s) != 2 {
			t.Errorf("after a minute there are %d", len(s))
		}
	})
}

// A router may count as little as it would with its clock as slow as that, and less says
// that it began anew.
func TestRouterCountsAtItsBounds(t *testing.T) {
	heard := time.Unix(1_800_000_000, 0)
	const slack = uint32(epochSlack / time.Second)
	for counts, want := range map[uint32]bool{1070 - slack: false, 1069 - slack: true} {
		h := &hints{heard: heard, epoch: 1000}
		if got := h.restarted(saying{epoch: counts}, heard.Add(80*time.Second)); got != want {
			t.Errorf("at %d it has begun anew: %v", counts, got)
		}
	}
	h := &hints{}
	h.hear(saying{address: host(1), epoch: 1000}, heard)
	if h.hear(saying{address: host(1), ageless: true}, heard.Add(time.Minute)) || h.epoch != 1060 {
		t.Errorf("without an age it counts %d", h.epoch)
	}
}

// A packet may be as large as the bound, and its length as long as MQTT has it.
func TestPacketsAtTheirBounds(t *testing.T) {
	length := func(n int) (text []byte) {
		for text = []byte{0x30}; ; n >>= 7 {
			if n < 0x80 {
				return append(text, byte(n))
			}
			text = append(text, byte(n)|0x80)
		}
	}
	for _, c := range []struct {
		head []byte
		well bool
	}{
		{length(maxPacket), true},
		{length(maxPacket + 1), false},
		{[]byte{0x30, 0x80, 0x80, 0x80, 0x00}, true},
		{[]byte{0x30, 0x80, 0x80, 0x80, 0x80, 0x00}, false},
	} {
		here, there := net.Pipe()
		go func() { // Ends with the pipe.
			_, _ = there.Write(c.head)
		}()
		b := &bounded{Conn: here}
		n, err := b.Read(make([]byte, 64))
		if (err == nil) != c.well || c.well && n != len(c.head) {
			t.Errorf("%x: %d, %v", c.head, n, err)
		}
		_, _ = here.Close(), there.Close()
	}
}

// A connection that fails is tried again after half of the pause at least, and at most after
// all of it, whatever its number is.
func TestPausesAtTheirBounds(t *testing.T) {
	s := (&MQTT{Broker: "mqtt://127.0.0.1:1", Host: "self"}).Source("mqtt", Env{}).(*mqtt)
	if d := s.pause(0); d != 0 {
		t.Errorf("the first one waits %s", d)
	}
	for n, want := range map[int]time.Duration{
		1: firstRetry, 2: 2 * firstRetry, manyRetries: lastRetry, manyRetries + 1: rareRetry, 1 << 20: rareRetry,
	} {
		if want > lastRetry && n <= manyRetries {
			want = lastRetry
		}
		seen := map[bool]bool{}
		for range 200 {
			d := s.pause(n)
			if d < want/2 || d >= want {
				t.Fatalf("the %d. waits %s, of %s", n, d, want)
			}
			seen[d < want*3/4] = true
		}
		if len(seen) != 2 {
			t.Errorf("the %d. waits the same each time", n)
		}
	}
}

// Our own address is the one by which somebody was asked who answered, and not one by which it
// failed.
func TestOwnByAnAnswer(t *testing.T) {
	answers := []Answer{
		{Address: host(1), Own: host(2), Err: errors.New("too late")},
		{Address: host(3), Own: host(4)},
		{Address: host(1), Own: host(5)},
	}
	if own := OwnBy(answers, host(1)); own != host(5) {
		t.Errorf("it is %s", own)
	}
	if own := OwnBy(answers, host(9)); own.IsValid() {
		t.Errorf("of what nobody says it is %s", own)
	}
}

// A family for which no server can be asked is not asked for.
func TestNoServerOfAFamily(t *testing.T) {
	s := newSTUN().(*STUN)
	s.Servers, s.Families = []Server{"203.0.113.5:3478"}, netwatch.Families
	if all := s.source("stun", Env{}, nil, nil).Asked(); len(all) != 1 || all[0].Family != netwatch.IPv4 {
		t.Errorf("it asks %+v", all)
	}
}

// Of a host that answers for one server alone nothing is told, and of votes the most come
// first.
func TestOneHostAndTally(t *testing.T) {
	answer := func(server Server, says, of string) Answer {
		asked := netip.AddrPortFrom(netip.MustParseAddr(of), 3478)
		return Answer{Server: server, Address: netip.MustParseAddr(says), Asked: asked}
	}
	all := []Answer{
		answer("a:1", "203.0.113.1", "192.0.2.1"), answer("b:1", "203.0.113.2", "192.0.2.2"),
		answer("c:1", "203.0.113.2", "192.0.2.3"),
	}
	if groups := OneHost(all); groups != nil {
		t.Errorf("one host answered for %v", groups)
	}
	votes := tally(all)
	if len(votes) != 2 || votes[0].address != netip.MustParseAddr("203.0.113.2") || len(votes[0].by) != 2 {
		t.Errorf("the votes are %v", votes)
	}
	err := undecided(append(all, Answer{Server: "d:1", Err: errors.New("silent")}), votes, 3)
	for _, want := range []string{"a:1: 203.0.113.1", "d:1: silent"} {
		if got := fmt.Sprintf("%+v", err); !strings.Contains(got, want) {
			t.Errorf("there is no %q in %s", want, got)
		}
	}
}
