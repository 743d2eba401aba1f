//go:build lab

// 11. Nothing is worse than before: one test through all worlds.

package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/pion/stun/v2"
)

// every world is tried by make worlds; make lab tries those that catch most.
var everyWorld = flag.Bool("worlds", false, "go through all worlds and releases, not only those that catch most")

// A World is a network, a configuration and a system, and what callers from outside
// can get in it.
type World struct {
	name    string
	system  Release
	network func(t *testing.T)
	coturn  func(t *testing.T)
	// units are those that run coturn.
	units []string
	// edit is a sed(1) script for what init has written: what a user knows better.
	edit    string
	doors   []door
	changes []change
	// restarts is how often coturn may be restarted in a stage where the address is now
	// this, now that; else it is once for a change.
	restarts int
	// fails says that the proof fails, and right so: callers are wrong, and only somebody
	// who knows can mend it.
	fails bool
	// often says that make lab tries it too.
	often bool
}

// A door is a way in for callers, and what they can get there.
type door struct {
	over   Transport
	at     netip.Addr // entrance unless it says
	port   uint16
	family int
	secret string
	// denied is a peer that callers may not reach, if they may not before.
	denied netip.Addr
	// wrong says that nobody gets a relay that works there before netwatch comes, and
	// never that nobody ever can.
	wrong, never bool
}

// A change is what becomes of a network.
type change struct {
	name string
	do   func(t *testing.T)
}

// tries is how often each door is tried: coturn has several threads, and each may
// have another relay address.
const tries = 30

// A sight is what callers get at a door.
type sight struct {
	// right is how many of all tries had a relayed address at which a peer is heard.
	right int
	// got are the relayed addresses, and what stood in the way of them.
	got []string
	// peer and strangers say whether the denied peer, and the relays, are open to
	// those who may not have them: open, closed, or nothing where nobody answers.
	peer, strangers string
}

// The words of a sight.
const (
	isOpen   = "open"
	isClosed = "closed"
)

// String is a cell of the table.
func (s sight) String() string {
	text := fmt.Sprintf("%d/%d %s", s.right, tries, strings.Join(s.got, " "))
	if s.peer == isOpen {
		text += ", peers open"
	}
	if s.strangers == isOpen {
		text += ", strangers welcome"
	}
	return text
}

// worse says what callers or strangers get now that is worse than before.
func (s sight) worse(before sight) error {
	switch {
	case s.right < before.right:
		return fmt.Errorf("%d of %d callers are right, and %d were", s.right, tries, before.right)
	case s.peer == isOpen && before.peer == isClosed:
		return errors.New("a peer is open that was closed")
	case s.strangers == isOpen && before.strangers != isOpen:
		return errors.New("strangers are lent relays, and were not")
	}
	return nil
}

// addr is where the door is at the moment.
func (d door) addr() netip.AddrPort {
	at := d.at
	switch {
	case at.IsValid():
	case d.family == 6:
		at = entrance6
	default:
		at = entrance
	}
	return netip.AddrPortFrom(at, d.port)
}

// String is the door's name in the table.
func (d door) String() string {
	over, to := cmp.Or(d.over, "udp"), "entrance"
	if d.family == 6 {
		to = "IPv6"
	}
	if d.at.IsValid() {
		to = d.at.String()
	}
	return fmt.Sprintf("%s %s %d", over, to, d.port)
}

// look tries a door as often as it takes.
func (d door) look(t *testing.T) sight {
	t.Helper()
	var s sight
	for range 3 { // Where nobody answers thrice, nobody does.
		got, right := d.try(t.Context())
		if s.add(got, right); got != silence {
			break
		}
	}
	if s.got[0] == silence {
		return s
	}
	s = sight{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			for range tries / 5 {
				got, right := d.try(t.Context())
				if got == mismatch { // The socket has the port of one that was closed a moment ago.
					got, right = d.try(t.Context())
				}
				mu.Lock()
				s.add(got, right)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	slices.Sort(s.got)
	s.peer, s.strangers = d.closed(t.Context(), d.caller(d.secret)), d.closed(t.Context(), d.caller(""))
	return s
}

// caller is who comes to the door from outside, and is in no hurry.
func (d door) caller(secret string) Caller {
	return Caller{Namespace: world.Inet, Over: d.over, Secret: secret, Resend: 250 * time.Millisecond}
}

// add counts a try.
func (s *sight) add(got string, right bool) {
	if !slices.Contains(s.got, got) {
		s.got = append(s.got, got)
	}
	if right {
		s.right++
	}
}

// silence is what a try gets where nobody answers.
const silence = "no answer"

// mismatch is what one gets whose address and port coturn knows already.
var mismatch = strconv.Itoa(int(stun.CodeAllocMismatch))

// try is one call: a relayed address, and whether a peer who sends there is heard.
func (d door) try(ctx context.Context) (got string, right bool) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	a, err := d.caller(d.secret).Allocate(ctx, d.addr(), d.family)
	var refused *TurnError
	if errors.As(err, &refused) {
		return strconv.Itoa(int(refused.Code)), false
	} else if err != nil {
		return silence, false
	}
	defer a.Close() // It has told what it had to.
	return a.Relayed.Addr().String(), d.heard(ctx, a) == nil
}

// heard says whether a peer on the internet is heard through an allocation.
func (d door) heard(ctx context.Context, a *Allocation) error {
	family := 0
	if a.Relayed.Addr().Is6() {
		family = 1
	}
	if d.family == 6 != (family == 1) {
		return errors.New("the relayed address is of another family")
	}
	from := StunServers[1][family]
	peer, err := Listen(world.Inet, netip.AddrPortFrom(from, 0))
	if err != nil {
		return err
	}
	defer peer.Close() // Nothing is lost.
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	return errors.Join(a.Permit(ctx, from), a.Hears(ctx, peer))
}

// closed says whether a caller is refused: one with credentials when he asks for the
// denied peer, a stranger at once.
func (d door) closed(ctx context.Context, c Caller) string {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	a, err := c.Allocate(ctx, d.addr(), d.family)
	if err == nil {
		defer a.Close() // It has told what it had to.
		if c.Secret != "" && d.denied.IsValid() {
			err = a.Permit(ctx, d.denied)
		}
	}
	var refused *TurnError
	switch {
	case errors.As(err, &refused):
		return isClosed
	case err == nil && (c.Secret == "" || d.denied.IsValid()):
		return isOpen
	}
	return ""
}

// A story is what was seen in one world, stage by stage.
type story struct {
	*testing.T
	world World
	// seen has, of each stage, what was seen at each door.
	seen [][]sight
	// starts counts those of coturn's units, by the stage.
	starts []int
}

// TestWorlds goes through the worlds: what callers get before netwatch comes, after its
// first run, after each change and after it is purged. It may be worse nowhere, and is
// right wherever it can be.
func TestWorlds(t *testing.T) {
	pack := netwatchPackage(t, "1.0")
	var table strings.Builder
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	fmt.Fprintln(columns, "world\tdoor\tbefore\tafter\tafter each change\tafter the purge\trestarts")
	for _, w := range worlds() {
		if !w.often && !*everyWorld {
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			s := &story{T: t, world: w}
			defer func() { fmt.Fprint(columns, s) }() // Also when it breaks off.
			s.tell(pack)
		})
	}
	must(t, columns.Flush())
	t.Logf("\n%s", table.String())
}

// tell goes through all stages.
func (s *story) tell(pack string) {
	s.begin()
	s.install(pack)
	s.stage("after the first run", s.firstRun)
	for _, c := range s.world.changes {
		s.stage("after "+c.name, func() {
			c.do(s.T)
			wait(s.T, 3*time.Second) // In which netwatch can make it worse.
		})
	}
	s.stage("after the purge", func() { dpkg(s.T, "--purge netwatch") })
}

// begin makes the world, and sees that it is what it claims to be.
func (s *story) begin() {
	s.Helper()
	leave, err := moveIn(s.Context(), s.world.system)
	must(s.T, err)
	s.Cleanup(func() { must(s.T, leave()) })
	entrance, entrance6 = FirstPublic, Public6
	s.world.network(s.T)
	s.world.coturn(s.T)
	s.see("before", func() error {
		for i, d := range s.world.doors {
			want := map[bool]int{false: tries, true: 0}[d.wrong]
			if got := s.seen[0][i]; got.right != want {
				return fmt.Errorf("before netwatch %s gives callers %s: this is not the world that it claims to be", d, got)
			}
		}
		return nil
	})
}

// install has the package in the server, the names of init's STUN servers lead to
// the lab's, and init write the configuration. A poll is soon.
func (s *story) install(pack string) {
	s.Helper()
	must(s.T, server.WriteFile("/opt/netwatch.deb", pack, 0o644))
	for i, name := range []string{"stun.cloudflare.com", "stun.nextcloud.com", "stun.sipgate.net"} {
		for _, a := range StunServers[i] {
			shell(s.T, "echo "+a.String()+" "+name+" >>/etc/hosts")
		}
	}
	shell(s.T, "rm -f /usr/sbin/policy-rc.d")
	dpkg(s.T, "-i /opt/netwatch.deb")
	s.Log(shell(s.T, "netwatch init 2>&1"))
	shell(s.T, `sed -i 's/^agree .*/&\nevery = "500ms"/;`+s.world.edit+`' /etc/netwatch/netwatch.toml && netwatch check`)
	s.Cleanup(func() {
		if s.Failed() && world != nil {
			log, _ := server.Exec(context.Background(), "journalctl", "-b", "-o", "cat", "-n", "60", "-u", "netwatch.service")
			s.Logf("the log of netwatch:\n%s", log)
		}
	})
}

// firstRun starts netwatch as an administrator does.
func (s *story) firstRun() { shell(s.T, "systemctl enable --now netwatch.service 2>&1") }

// stage lets something happen, waits until netwatch rests, and wants callers to be
// right where they can be, nothing to be worse, and coturn not to be restarted in vain.
func (s *story) stage(name string, happens func()) {
	s.Helper()
	happens()
	s.rest(name)
	s.see(name, func() error {
		var wrong []error
		for i, d := range s.world.doors {
			now := s.seen[len(s.seen)-1][i]
			err := now.worse(s.seen[0][i])
			if err == nil && !d.never && now.right < tries {
				err = fmt.Errorf("%d of %d callers are right", now.right, tries)
			}
			if err != nil {
				wrong = append(wrong, fmt.Errorf("%s: %s: %w: %s", name, d, err, now))
			}
		}
		return errors.Join(wrong...)
	})
	if last := s.starts[len(s.starts)-1]; last > s.may() {
		s.Errorf("%s: coturn was restarted %d times, and needed %d", name, last, s.may())
	}
}

// may is how often coturn may be restarted in the stage that was seen last: not at
// all where all was right, once for each of its units for a change, and never by the
// purge.
func (s *story) may() int {
	wrong := slices.ContainsFunc(s.world.doors, func(d door) bool { return d.wrong && !d.never })
	begun, purged := len(s.seen) == 2, len(s.seen) == len(s.world.changes)+3
	if purged || begun && !wrong && s.world.restarts == 0 {
		return 0
	}
	return max(s.world.restarts, len(s.world.units))
}

// rest waits until netwatch has done all that it has to, and well.
func (s *story) rest(name string) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 8*time.Second)
	defer cancel()
	err := until(ctx, 200*time.Millisecond, func() error {
		text, err := server.Exec(context.WithoutCancel(ctx), "sh", "-c",
			"! command -v netwatch >/dev/null || netwatch status --json")
		if err != nil || text == "" {
			return err
		}
		return resting(text, s.world.units, s.world.fails)
	})
	if err != nil {
		s.Errorf("%s: %v", name, err)
	}
}

// resting says what keeps those rules from resting that do something with a unit, or
// which of them failed.
func resting(text string, units []string, mayFail bool) error {
	var st status
	if err := json.Unmarshal([]byte(text), &st); err != nil {
		return err
	}
	for _, r := range st.Rules {
		does := strings.Join(r.Do, " ")
		switch {
		case mayFail && r.Running == nil && (r.Waiting != nil || r.Last != nil && r.Last.Outcome == "failed"):
		case !slices.ContainsFunc(units, func(unit string) bool { return strings.Contains(does, " "+unit) }):
		case r.Running != nil || r.Waiting != nil || r.Last == nil && slices.Contains(r.On, "started"):
			return fmt.Errorf("the rule %s has more to do", r.Name)
		case r.Last != nil && r.Last.Outcome == "failed":
			return fmt.Errorf("the rule %s failed", r.Name)
		}
	}
	return nil
}

// see looks at all doors until what is seen is well, or is no better after a while. In
// between coturn has back the ports that were lent.
func (s *story) see(name string, well func() error) {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), 9*time.Second)
	defer cancel()
	s.seen = append(s.seen, nil)
	err := until(ctx, 3*time.Second, func() error {
		var now []sight
		for _, d := range s.world.doors {
			now = append(now, d.look(s.T))
		}
		s.seen[len(s.seen)-1] = now
		return well()
	})
	s.starts = append(s.starts, s.started())
	s.Logf("%s: %v", name, s.seen[len(s.seen)-1])
	if err != nil {
		s.Error(err)
	}
}

// started is how often coturn's units were started since the stage before.
func (s *story) started() (n int) {
	s.Helper()
	for _, unit := range s.world.units {
		// The message is systemd's SD_MESSAGE_UNIT_STARTED.
		out := shell(s.T, "journalctl -q -b -o cat MESSAGE_ID=39f53479d3a045ac8e11786248231fbf UNIT="+unit+" | wc -l")
		count, err := strconv.Atoi(out)
		must(s.T, err)
		n += count
	}
	for _, before := range s.starts {
		n -= before
	}
	return n
}

// String is the rows of the table.
func (s *story) String() string {
	var b strings.Builder
	cell := func(stage, door int) string {
		if stage >= len(s.seen) || door >= len(s.seen[stage]) {
			return "-"
		}
		return s.seen[stage][door].String()
	}
	for i, d := range s.world.doors {
		var changed []string
		for n := range s.world.changes {
			changed = append(changed, cell(n+2, i))
		}
		name := s.world.name
		if i > 0 {
			name = ""
		}
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s\t%s\t%s\t%v\n", name, d, cell(0, i), cell(1, i),
			strings.Join(changed, "; "), cell(len(s.world.changes)+2, i), s.starts[min(1, len(s.starts)):])
	}
	return b.String()
}
