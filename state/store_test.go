package state

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"go.uber.org/goleak"

	"golang.org/x/sys/unix"

	"netwatch"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, damage, err := Open(dir)
	if err != nil || damage != nil {
		t.Fatal(err, damage)
	}
	return s
}

func shut(t *testing.T, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func event() netwatch.Event { return netwatch.NewEvent("x", "test", nil) }

func ids(events []netwatch.Event) []string {
	all := []string{}
	for _, ev := range events {
		all = append(all, ev.ID)
	}
	return all
}

func TestSurvives(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ev := event()
	address := netwatch.Address{
		Address: netip.MustParseAddr("203.0.113.5"), Since: time.Now(), Confirmed: time.Now(),
		By: []string{"a"},
	}
	err := s.Update(func(st *State) {
		st.Accept(ev, []string{"r", "q"})
		st.Change("r")
		st.Believe(address)
		st.Start("coturn.service", time.Now())
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Confirm(netwatch.IPv4, time.Now(), []string{"b"}, netip.Addr{})
	want, known := s.Get(), s.Known()
	shut(t, s)

	s = open(t, dir)
	defer shut(t, s)
	if diff := cmp.Diff(want.Runs, s.Get().Runs, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want.Starts, s.Get().Starts); diff != "" {
		t.Error(diff)
	}
	got := s.Known()[netwatch.IPv4]
	if got.Address != address.Address || got.Confirmed.Sub(known[netwatch.IPv4].Confirmed).Abs() > time.Second ||
		got.By[0] != "b" {
		t.Errorf("address: %+v", got)
	}
}

func TestEndKeepsWhatCameSince(t *testing.T) {
	s := empty()
	first, second := event(), event()
	s.Accept(first, []string{"r"})
	s.Change("r")
	s.Accept(second, []string{"r"})
	s.Failures["r"] = Failure{}
	s.End("r", []string{first.ID})
	if diff := cmp.Diff([]string{second.ID}, ids(s.Runs["r"].Events)); diff != "" {
		t.Error(diff)
	}
	if s.Runs["r"].Changed || len(s.Failures) > 0 {
		t.Errorf("after the end: %+v", s)
	}
	s.GiveUp("r", []string{second.ID}, Failure{Step: "s"})
	if len(s.Runs) != 0 || s.Failures["r"].Step != "s" {
		t.Errorf("after giving up: %+v", s)
	}
}

// A clone shares nothing that a change writes into.
func TestUpdateLeavesTheOldStateAlone(t *testing.T) {
	s := open(t, t.TempDir())
	defer shut(t, s)
	for range 3 {
		before := s.Get()
		text := fmt.Sprint(*before)
		err := s.Update(func(st *State) {
			st.Accept(event(), []string{"r"})
			st.Change("r")
			st.Start("u", time.Now())
			st.GiveUp("q", nil, Failure{})
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(*before); got != text {
			t.Errorf("it was %s and is %s", text, got)
		}
	}
}

// Changes that come at the same time are all there, with fewer writes.
func TestManyAtOnce(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			if err := s.Update(func(st *State) { st.Accept(event(), []string{fmt.Sprint(i)}) }); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	shut(t, s)
	s = open(t, dir)
	defer shut(t, s)
	if n := len(s.Get().Runs); n != 200 {
		t.Errorf("%d of 200 are there", n)
	}
}

// faults keep the state from being written, each with a way to mend it. Root is
// kept out by nothing but what is not there.
var faults = map[string]struct{ breaks, mends func(dir string) error }{
	"removed": {remove, func(dir string) error { return os.MkdirAll(dir, 0o700) }},
	"moved away": {
		func(dir string) error { return errors.Join(os.Rename(dir, dir+".away"), os.WriteFile(dir, nil, 0o600)) },
		func(dir string) error { return errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)) },
	},
	"in the way": {
		func(dir string) error { return os.MkdirAll(filepath.Join(dir, nextName, "full"), 0o700) },
		func(dir string) error { return os.RemoveAll(filepath.Join(dir, nextName)) },
	},
}

// remove takes a directory from its place at once, in the middle of whatever is done
// in it.
func remove(dir string) error { return os.Rename(dir, dir+".removed") }

// unmakeable is a directory that cannot be made by itself once it is gone: what is
// above it is a file.
func unmakeable(t *testing.T, dir string) (undo func()) {
	t.Helper()
	above := filepath.Dir(dir)
	if err := errors.Join(os.Rename(above, above+".away"), os.WriteFile(above, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := errors.Join(os.Remove(above), os.Rename(above+".away", above)); err != nil {
			t.Error(err)
		}
	}
}

// When the disk refuses, what was changed is there all the same, and since when it
// is at risk is said; it is written by itself as soon as the disk takes it.
func TestRefusedByTheDisk(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "above", "state")
			s := open(t, dir)
			told := make(chan *Unwritten, 8)
			s.Notify(func(u *Unwritten) { told <- u })
			change(t, s, "before")
			began := time.Now()
			if err := fault.breaks(dir); err != nil {
				t.Fatal(err)
			}
			undo := func() {}
			if name == "removed" {
				undo = unmakeable(t, dir)
			}
			change(t, s, "meanwhile")
			change(t, s, "more")
			if diff := cmp.Diff([]string{"before", "meanwhile", "more"}, rulesIn(s.Get())); diff != "" {
				t.Error(diff)
			}
			u := s.Unwritten()
			if u == nil || u.Since.Before(began) || u.Hint == "" || !strings.Contains(u.Error, "writing the state") {
				t.Fatalf("at risk: %+v", u)
			}
			if first := <-told; first == nil || !first.Since.Equal(u.Since) || len(told) > 0 {
				t.Errorf("told of %+v, and %d more", first, len(told))
			}
			undo()
			if err := fault.mends(dir); err != nil {
				t.Fatal(err)
			}
			select { // By itself
			case u := <-told:
				if u != nil || s.Unwritten() != nil {
					t.Errorf("after it was mended: %+v", u)
				}
			case <-time.After(5 * tryAgain):
				t.Error("it is not written by itself")
			}
			shut(t, s)
			if diff := cmp.Diff([]string{"before", "meanwhile", "more"}, rulesOf(t, dir)); diff != "" {
				t.Errorf("on disk: %s", diff)
			}
		})
	}
}

// Another netwatch that has taken the new directory is not disturbed.
func TestDirectoryTakenByAnother(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	s := open(t, dir)
	if err := remove(dir); err != nil {
		t.Fatal(err)
	}
	other := open(t, dir)
	change(t, other, "theirs")
	change(t, s, "ours")
	if u := s.Unwritten(); u == nil || !strings.Contains(u.Error, "another netwatch") {
		t.Errorf("at risk: %+v", u)
	}
	if err := s.Close(); err == nil || !strings.Contains(err.Error(), "another netwatch") {
		t.Errorf("at the end: %v", err)
	}
	shut(t, other)
	if diff := cmp.Diff([]string{"theirs"}, rulesOf(t, dir)); diff != "" {
		t.Error(diff)
	}
}

func TestSecondDaemonIsRefused(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "another netwatch") {
		t.Errorf("error: %v", err)
	}
	shut(t, s)
	shut(t, open(t, dir))
}

func TestDamagedIsSetAside(t *testing.T) {
	cases := map[string]string{
		"cut off":      `{"version": 1, "addresses": {`,
		"empty":        "",
		"no version":   `{"runs": {}}`,
		"null parts":   `{"version": 1, "runs": null}`,
		"no address":   `{"version": 1, "addresses": {"ipv4": {"address": ""}}}`,
		"wrong family": `{"version": 1, "addresses": {"ipv4": {"address": "2001:db8::1"}}}`,
		"binary":       "\x00\xff",
	}
	for name, text := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			s, aside := openDamaged(t, dir, "begins from the present")
			defer shut(t, s)
			kept, err := os.ReadFile(aside)
			if err != nil || string(kept) != text {
				t.Errorf("set aside: %q, %v", kept, err)
			}
			if diff := cmp.Diff(empty(), s.Get()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestOldConfirmationDoesNotAgeANewAddress(t *testing.T) {
	s := open(t, t.TempDir())
	defer shut(t, s)
	s.Confirm(netwatch.IPv4, time.Now(), []string{"old"}, netip.Addr{})
	believed := netwatch.Address{
		Address: netip.MustParseAddr("203.0.113.7"), Confirmed: time.Now().Add(time.Second),
		By: []string{"new"},
	}
	if err := s.Update(func(st *State) { st.Believe(believed) }); err != nil {
		t.Fatal(err)
	}
	if by := s.Known()[netwatch.IPv4].By; by[0] != "new" {
		t.Errorf("confirmed by %v", by)
	}
}

// The clock was ahead when an earlier process confirmed, or is set back after
// this one has begun: what was confirmed then is old, and what is confirmed now
// is new.
func TestClockSetBack(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	ahead := netwatch.Address{
		Address: netip.MustParseAddr("203.0.113.7"), Confirmed: time.Now().Add(time.Hour),
		By: []string{"old"},
	}
	if err := s.Update(func(st *State) { st.Believe(ahead) }); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, dir)
	defer shut(t, s)
	if got := s.Confirmed(); len(got) != 0 {
		t.Errorf("nobody has confirmed %v since", got)
	}
	// Only times that have both clocks are compared by the one that nobody sets,
	// and == sees whether a time has it.
	if at := s.Known()[netwatch.IPv4].Confirmed; at == at.Round(0) {
		t.Errorf("%v is compared by the clock of the wall", at)
	}
	s.Confirm(netwatch.IPv4, time.Now(), []string{"new"}, netip.Addr{})
	if got := s.Confirmed()[netwatch.IPv4]; len(got.By) != 1 || got.By[0] != "new" {
		t.Errorf("after a confirmation: %+v", got)
	}
}

func BenchmarkUpdate(b *testing.B) {
	s, _, err := Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	ev := event()
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Update(func(st *State) { st.Accept(ev, []string{"r"}) }); err != nil {
			b.Fatal(err)
		}
	}
}

// Root, who runs netwatch by hand, leaves the state to whom the directory belongs.
func TestStateBelongsToTheDirectorysOwner(t *testing.T) {
	dir := t.TempDir()
	owner := os.Geteuid()
	if owner == 0 {
		owner = 12345
		if err := os.Chown(dir, owner, owner); err != nil {
			t.Fatal(err)
		}
	}
	s, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(filepath.Join(dir, fileName), &st); err != nil || int(st.Uid) != owner || st.Mode&0o777 != 0o600 {
		t.Errorf("it belongs to %d with mode %o (%v), not to %d", st.Uid, st.Mode&0o777, err, owner)
	}
}

// Several rewrites in a row are netwatch's from whichever of them on; what
// somebody else wrote in between is not.
func TestWrote(t *testing.T) {
	s := empty()
	rewrite := func(from, to string) { s.Replace(netwatch.Replacement{Place: "/f", From: from, To: to}) }
	wrote := func(from, to string) bool { return s.Wrote(netwatch.Replacement{Place: "/f", From: from, To: to}) }
	rewrite("a", "b")
	rewrite("b", "c")
	if !wrote("a", "c") || !wrote("b", "c") || wrote("a", "b") || wrote("c", "a") {
		t.Errorf("%+v", s.Replaced)
	}
	rewrite("theirs", "d")
	if !wrote("theirs", "d") || wrote("a", "d") || wrote("c", "d") {
		t.Errorf("%+v", s.Replaced)
	}
	for i := range 100 {
		rewrite(fmt.Sprint(i), fmt.Sprint(i+1))
	}
	if n := len(s.Replaced["/f"].From); n > keptContents {
		t.Errorf("%d contents are kept", n)
	}
}

// A run of nothing, of a rule that went while it ran, costs no more than itself.
func TestRunOfNothing(t *testing.T) {
	dir := t.TempDir()
	text := `{"version": 1, "runs": {"r": {"events": []}}, "starts": {"u": ["2026-11-23T12:00:00Z"]}}`
	if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	defer shut(t, s)
	if got := s.Get(); len(got.Runs) != 0 || len(got.Starts["u"]) != 1 {
		t.Errorf("%+v", got)
	}
	got := empty()
	if got.Change("gone"); len(got.Runs) != 0 {
		t.Errorf("a run of a rule that is gone: %+v", got.Runs)
	}
}

// An address that servers do not say any more is said to be that, and is nothing that
// a job gets while they say another family's; when they say none, the last good ones
// stay.
func TestDoubted(t *testing.T) {
	s := open(t, t.TempDir())
	defer shut(t, s)
	four, six := netip.MustParseAddr("203.0.113.5"), netip.MustParseAddr("2001:db8::5")
	own := netip.MustParseAddr("192.168.50.10")
	if err := s.Update(func(st *State) {
		st.Believe(netwatch.Address{Address: four, Confirmed: time.Now()})
		st.Believe(netwatch.Address{Address: six, Confirmed: time.Now()})
	}); err != nil {
		t.Fatal(err)
	}
	wantConfirmed := func(want ...netwatch.Family) {
		t.Helper()
		got := slices.Sorted(maps.Keys(s.Confirmed()))
		if !slices.Equal(got, want) {
			t.Errorf("confirmed are %v, want %v", got, want)
		}
	}
	wantConfirmed(netwatch.IPv4, netwatch.IPv6)
	s.Doubt(netwatch.IPv6)
	since := s.Known()[netwatch.IPv6].Unconfirmed
	s.Doubt(netwatch.IPv6)
	if again := s.Known()[netwatch.IPv6].Unconfirmed; since.IsZero() || again != since {
		t.Errorf("it is unconfirmed since %v, and then since %v", since, again)
	}
	wantConfirmed(netwatch.IPv4)
	s.Doubt(netwatch.IPv4)
	wantConfirmed(netwatch.IPv4, netwatch.IPv6)
	s.Confirm(netwatch.IPv6, time.Now(), []string{"b"}, own)
	if a := s.Known()[netwatch.IPv6]; !a.Unconfirmed.IsZero() || a.Own != own {
		t.Errorf("it is %+v", a)
	}
	wantConfirmed(netwatch.IPv6)
	s.Doubt(netwatch.IPv6)
	if again := s.Known()[netwatch.IPv6].Unconfirmed; !again.After(since) {
		t.Errorf("it is unconfirmed since %v", again)
	}
}

// What may be written later is written with the next change or at the end, before what
// came since; and who looks for it has it first.
func TestLater(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	on := func() string {
		text, _ := os.ReadFile(filepath.Join(dir, fileName)) // There may be none yet
		return string(text)
	}
	see := func(value string) func(*State) { return func(st *State) { st.See("e", "of", value) } }
	s.Later(see("first"))
	if strings.Contains(on(), "first") {
		t.Error("it is written at once")
	}
	change(t, s, "r")
	if !strings.Contains(on(), "first") {
		t.Errorf("it is not written with the next change: %s", on())
	}
	s.Later(see("second"))
	if err := s.Update(see("third")); err != nil || s.Seen("e", "of") != "third" {
		t.Errorf("what came since is %s, %v", s.Seen("e", "of"), err)
	}
	s.Later(see("fourth"))
	if got := s.Sights("e")["of"]; got != "fourth" {
		t.Errorf("who looks sees %s", got)
	}
	s.Later(see("fifth"))
	shut(t, s)
	if !strings.Contains(on(), "fifth") {
		t.Errorf("it is not written at the end: %s", on())
	}
}

// It is written though nothing else is.
func TestLaterByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := open(t, t.TempDir())
		s.Later(func(st *State) { st.See("e", "of", "value") })
		time.Sleep(laterTime)
		synctest.Wait()
		if s.Seen("e", "of") != "value" {
			t.Error("it is never written")
		}
		shut(t, s)
	})
}

// Those who change something at the same moment share a write, or a few, on one processor as
// well: there the write could be over before the second of them has run.
func TestManyShareAWrite(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	dir, err := os.MkdirTemp("/dev/shm", "netwatch") // Memory, which is written as fast as that
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := open(t, dir)
	defer shut(t, s)
	written := map[*State]bool{} // By the one goroutine that writes
	var all sync.WaitGroup
	for n := range 128 {
		all.Go(func() {
			err := s.Update(func(st *State) {
				st.See("e", fmt.Sprint(n), "value")
				written[st] = true
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if len(written) > 4 {
		t.Errorf("%d times it was written", len(written))
	}
}
