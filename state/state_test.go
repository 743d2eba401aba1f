package state

import (
	"errors"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"netwatch"
)

// What is no longer so is forgotten, and nothing beside it.
func TestForgets(t *testing.T) {
	s := empty()
	s.See("file-changed", "/a", "1")
	s.See("file-changed", "/b", "2")
	s.See("file-changed", "/a", "")
	if diff := cmp.Diff(map[string]string{"/b": "2"}, s.Seen["file-changed"]); diff != "" {
		t.Error(diff)
	}
	s.GiveUp("one", nil, Failure{})
	s.GiveUp("two", nil, Failure{})
	s.Dismiss("one")
	if rules := slices.Sorted(maps.Keys(s.Failures)); !slices.Equal(rules, []string{"two"}) {
		t.Errorf("what failed is of %q", rules)
	}
}

// A rule that acted without a family is known until it acts with it, whatever others do.
func TestLeft(t *testing.T) {
	s := empty()
	s.Leave(netwatch.IPv4, "one")
	s.Leave(netwatch.IPv4, "two")
	s.Leave(netwatch.IPv6, "two")
	was := s.clone()
	s.Take(netwatch.IPv4, "one")
	if diff := cmp.Diff(map[netwatch.Family][]string{netwatch.IPv4: {"two"}, netwatch.IPv6: {"two"}}, s.Left); diff != "" {
		t.Error(diff)
	}
	s.Take(netwatch.IPv4, "two")
	if diff := cmp.Diff(map[netwatch.Family][]string{netwatch.IPv6: {"two"}}, s.Left); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"one", "two"}, was.Left[netwatch.IPv4]); diff != "" {
		t.Errorf("the state before is another now: %s", diff)
	}
}

// Of what was seen and started the store knows the newest, also after a restart.
func TestSeenAndStarted(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	at := time.Now().Round(0)
	if err := errors.Join(s.See("file-changed", "/a", "1"), s.Record("x.service", at)); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	s = open(t, dir)
	defer shut(t, s)
	if of := s.Of("x.service"); s.Seen("file-changed", "/a") != "1" || len(of) != 1 || !of[0].Equal(at) {
		t.Errorf("%q was seen, and it started at %v", s.Seen("file-changed", "/a"), of)
	}
}

// After the end everybody is told that nothing is changed any more, and nobody waits.
func TestUpdateAfterTheEnd(t *testing.T) {
	s := open(t, t.TempDir())
	shut(t, s)
	for range 2 {
		if err := s.Update(func(*State) { t.Error("it is changed") }); !errors.Is(err, os.ErrClosed) {
			t.Errorf("it says %v", err)
		}
	}
}

// A counted directory counts how often a state was put in place, and refuses while it is
// full.
type counted struct {
	Directory
	full   bool
	writes int
	holds  chan struct{} // Closed when a write may go on, if it is not nil
}

func (c *counted) Create(name string) (File, error) {
	if c.holds != nil {
		<-c.holds
	}
	if c.full {
		return nil, unix.ENOSPC
	}
	return c.Directory.Create(name)
}

func (c *counted) Rename(from, to string) error {
	c.writes++
	return c.Directory.Rename(from, to)
}

// openCounted opens a store in a counted directory.
func openCounted(t *testing.T) (*Store, *counted) {
	t.Helper()
	dir, err := openDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &counted{Directory: dir}
	s, _, err := OpenIn(c)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

// What has been written with something else, or once the disk took it, is not written again.
func TestWrittenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := openCounted(t)
		s.Later(func(st *State) { st.See("e", "of", "value") })
		change(t, s, "with it")
		c.full = true
		change(t, s, "refused")
		time.Sleep(tryAgain / 2)
		c.full = false
		change(t, s, "taken")
		time.Sleep(2 * laterTime)
		synctest.Wait()
		if c.writes != 2 || s.Unwritten() != nil {
			t.Errorf("%d times it was written, and at risk is %+v", c.writes, s.Unwritten())
		}
		shut(t, s)
	})
}

// A write that hangs is seen by when it began, and nobody is held up who asks.
func TestWriting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := openCounted(t)
		c.holds = make(chan struct{})
		began := time.Now()
		go func() { _ = s.Update(func(*State) {}) }() // Ends with the write.
		time.Sleep(time.Minute)
		for range 2 {
			if got := s.Writing(); !got.Equal(began) {
				t.Errorf("it writes since %v, not %v", got, began)
			}
		}
		close(c.holds)
		synctest.Wait()
		if got := s.Writing(); !got.IsZero() {
			t.Errorf("it writes since %v", got)
		}
		shut(t, s)
	})
}
