package sources

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// The bounds of what machines ask each other, and answer.
const (
	// maxAsk and maxAnswer are how many bytes each may have.
	maxAsk    = 4 << 10
	maxAnswer = 1 << 10
	// maxWays is how many ways one may ask about.
	maxWays = 3
	// leastPort is the first that is asked at: what is below is other services'.
	leastPort = 1024
	// standTime is how long an address must have been said until anything is sent there.
	standTime = 30 * time.Second
	// askPause is the time between two asks of one machine.
	askPause = time.Minute
	// passTime is after when the broker drops what it could not hand over.
	passTime = 60 // Seconds
	// wholeTime is how long somebody who asks waits, and lookTime how long who is asked may
	// look: so much less that his answer comes.
	wholeTime = 10 * time.Second
	lookTime  = 8 * time.Second
)

// What stands between the names of two machines in a topic.
const (
	asks    = "ask"
	answers = "answer"
)

// A request is what one machine asks of another. Who asks is known by the topic.
type request struct {
	ID string `json:"id"`
	netwatch.Place
}

// A reply is what one machine answers another: words alone.
type reply struct {
	ID string `json:"id"`
	netwatch.Seen
}

// aside is where one machine asks another, or answers it; + stands for each machine.
func (t Topic) aside(from, kind, to string) string {
	return string(t) + "/" + from + "/" + kind + "/" + to
}

// asideOf is who asks or answers by a topic whom, as aside has it; what is none has no kind.
func (t Topic) asideOf(topic string) (from, kind, to string) {
	rest, ours := strings.CutPrefix(topic, string(t)+"/")
	part := strings.Split(rest, "/")
	if !ours || len(part) != 3 || part[1] != asks && part[1] != answers ||
		!peerName().MatchString(part[0]) || !peerName().MatchString(part[2]) {
		return "", "", ""
	}
	return part[0], part[1], part[2]
}

// askID is what an id looks like, which who asks makes up.
var askID = netwatch.Pattern(`^[a-z0-9]{10,40}$`)

// strictly reads one JSON value that has nothing in it that is not known.
func strictly(text []byte, most int, into any) error {
	if len(text) > most {
		return fmt.Errorf("it has %d bytes, and may have %d", len(text), most)
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields()
	if err := in.Decode(into); err != nil {
		return fmt.Errorf("it is not what netwatch says: %s", clipped(err.Error()))
	}
	if _, err := in.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// parseAsk takes what a stranger asks.
func parseAsk(text []byte) (a request, err error) {
	if err := strictly(text, maxAsk, &a); err != nil {
		return request{}, err
	}
	if !askID().MatchString(a.ID) {
		return request{}, errors.New("it has no id that netwatch gives")
	}
	return a, checkPlace(a.Place)
}

// checkPlace says what of a place is none of what netwatch asks about.
func checkPlace(p netwatch.Place) error {
	over := func(w netwatch.Way) bool { return !slices.Contains([]string{"udp", "tcp", "tls"}, w.Over) }
	switch {
	case !p.Address.IsValid() || p.Address.Zone() != "" || p.Address.Is4In6():
		return errors.New("it has no address")
	case len(p.Ways) == 0 || len(p.Ways) > maxWays:
		return fmt.Errorf("it has %d ways, and may have 1 to %d", len(p.Ways), maxWays)
	case slices.ContainsFunc(p.Ways, over):
		return errors.New("a way in it is none of udp, tcp and tls")
	case p.Name == "" || len(p.Name) > maxText || len(p.Password) > maxText:
		return errors.New("it has no credential that netwatch makes")
	}
	return nil
}

// parseAnswer takes what a stranger answers to an ask.
func parseAnswer(text []byte) (a reply, err error) {
	if err := strictly(text, maxAnswer, &a); err != nil {
		return reply{}, err
	}
	if slices.ContainsFunc(a.All(), func(w netwatch.Word) bool { return !slices.Contains(netwatch.Words, w) }) {
		return reply{}, errors.New("a word in it is none that netwatch says")
	}
	return a, nil
}

// busy says that nothing was looked at.
func busy(p netwatch.Place) netwatch.Seen {
	return netwatch.Seen{Ways: slices.Repeat([]netwatch.Word{netwatch.WordBusy}, len(p.Ways)), Relay: netwatch.WordBusy}
}

// isBusy says whether an answer is that.
func isBusy(s netwatch.Seen) bool { return slices.Contains(s.All(), netwatch.WordBusy) }

// isOK says whether there is nothing in it that is not right.
func isOK(s netwatch.Seen) bool {
	return !slices.ContainsFunc(s.All(), func(w netwatch.Word) bool { return w != netwatch.WordOK })
}

// better is what two machines saw of a place, by the better word of each: what one reaches
// can be reached, and what one does not can be its own network's doing.
func better(a, b netwatch.Seen) netwatch.Seen {
	if len(a.Ways) == 0 { // It has not looked
		return b
	}
	word := func(a, b netwatch.Word) netwatch.Word {
		i, j := slices.Index(netwatch.Words, a), slices.Index(netwatch.Words, b)
		return netwatch.Words[min(i, j)]
	}
	all := netwatch.Seen{Relay: word(a.Relay, b.Relay)}
	for i := range min(len(a.Ways), len(b.Ways)) {
		all.Ways = append(all.Ways, word(a.Ways[i], b.Ways[i]))
	}
	return all
}

// A stand is an address, and since when a machine has said it, by our clock.
type stand struct {
	Address netip.Addr `json:"address"`
	Since   time.Time  `json:"since"`
}

// A standing is what a machine has said of each family.
type standing map[netwatch.Family]stand

// after is how the addresses stand when a machine says these now. What is not said any more
// stands no more.
func (s standing) after(said netwatch.Addresses, now time.Time) standing {
	all := standing{}
	for family, a := range said {
		all[family] = stand{a.Address, now}
		if was := s[family]; was.Address == a.Address && was.Since.Before(now) {
			all[family] = was
		}
	}
	return all
}

// since is how long a machine has said an address.
func (s standing) since(a netip.Addr) (span time.Duration, said bool) {
	is := s[netwatch.FamilyOf(a)]
	return time.Since(is.Since), is.Address == a
}

// standingIn is how the addresses of a machine stood when the state was written.
func standingIn(text string) standing {
	var kept struct {
		Stood standing `json:"stood"`
	}
	if json.Unmarshal([]byte(text), &kept) != nil {
		return nil
	}
	return kept.Stood
}
