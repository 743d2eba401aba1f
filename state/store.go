package state

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
)

// A Store holds the state and keeps it on disk. Its methods may be called from
// any goroutine.
type Store struct {
	disk *disk
	// opened is when this process began: what was confirmed before may be long
	// out of date.
	opened time.Time

	mu        sync.Mutex
	state     *State // never changed, only replaced
	queue     []update
	writing   bool
	began     time.Time     // the present write, while writing
	ended     chan struct{} // closed when the present write and what follows is over
	closed    bool
	confirmed map[netwatch.Family]confirmation // newer than in state, not worth a write
}

type update struct {
	change func(*State)
	done   chan error
}

type confirmation struct {
	at time.Time
	by []string
}

// Open opens the state directory, makes it if it is missing, and locks it: a
// second daemon on the same directory is refused. A damaged file is set aside
// under the name that is returned as aside, and the state begins anew.
func Open(dir string) (s *Store, aside string, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, "", netwatch.WithHint(fmt.Errorf("making the state directory: %w", err), "make it by hand and give it to the user that runs netwatch")
	}
	d, err := os.Open(dir)
	if err != nil {
		return nil, "", netwatch.WithHint(fmt.Errorf("opening the state directory: %w", err), "run netwatch as the user that owns "+dir+", or name another directory as daemon.state")
	}
	if err := unix.Flock(int(d.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = d.Close()
		return nil, "", netwatch.WithHint(fmt.Errorf("locking the state directory %s: another netwatch runs on it", dir), "stop the other one, or give this one a state directory of its own")
	}
	s = &Store{disk: &disk{dir: d}, opened: time.Now(), confirmed: map[netwatch.Family]confirmation{}}
	if s.state, aside, err = s.disk.load(); err != nil {
		_ = d.Close()
		return nil, "", err
	}
	s.age()
	return s, aside, nil
}

// age makes what was confirmed before this process older than it, and than what
// will be confirmed, wherever the clock was set before or will be set: boards
// without a battery boot in the past. What comes of Add can be compared with the
// clock that nobody sets (package time, monotonic clocks).
func (s *Store) age() {
	for family, a := range s.state.Addresses {
		a.Confirmed = s.opened.Add(-max(1, s.opened.Sub(a.Confirmed)))
		s.state.Addresses[family] = a
	}
}

// Close writes the newest confirmations and unlocks the directory.
func (s *Store) Close() error {
	err := s.Update(func(*State) {})
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	<-s.ended
	return errors.Join(err, s.disk.dir.Close())
}

// Update changes the state and returns once the change is on disk; changes
// that come while one is being written share the next write. On an error none
// of them has happened.
func (s *Store) Update(change func(*State)) error {
	u := update{change, make(chan error, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("writing the state: %w", os.ErrClosed)
	}
	s.queue = append(s.queue, u)
	first := !s.writing
	if first {
		s.writing, s.ended = true, make(chan struct{})
	}
	s.mu.Unlock()
	if first { // who comes alone waits for the disk and for nobody else
		s.commit()
		go s.goOn()
	}
	return <-u.done
}

// commit writes what waits.
func (s *Store) commit() {
	s.mu.Lock()
	batch, next := s.queue, s.state.clone()
	s.queue = nil
	next.Addresses, s.began = s.known(next.Addresses), time.Now()
	s.mu.Unlock()
	for _, u := range batch {
		u.change(next)
	}
	err := s.disk.write(next)
	s.mu.Lock()
	if err == nil {
		s.state = next
	}
	s.mu.Unlock()
	for _, u := range batch {
		u.done <- err
	}
}

// goOn does what nobody waits for, and writes what has come meanwhile, until
// nothing has.
func (s *Store) goOn() {
	for {
		_ = s.disk.settle() // if it fails, the next write says so
		s.mu.Lock()
		if len(s.queue) == 0 {
			s.writing, s.began = false, time.Time{}
			close(s.ended)
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.commit()
	}
}

// Writing is when the write in progress began, or the zero time when there is
// none: a disk that hangs is seen by that.
func (s *Store) Writing() (since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// Get is the present state, which must not be changed.
func (s *Store) Get() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Known are the public addresses last believed.
func (s *Store) Known() netwatch.Known {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(s.state.Addresses)
}

// Confirmed are those of Known that a server has confirmed since the store was
// opened.
func (s *Store) Confirmed() netwatch.Known {
	known := s.Known()
	maps.DeleteFunc(known, func(_ netwatch.Family, a netwatch.Address) bool { return a.Confirmed.Before(s.opened) })
	return known
}

// known is addresses with the newest confirmations. s.mu is held.
func (s *Store) known(addresses netwatch.Known) netwatch.Known {
	known := maps.Clone(addresses)
	for family, c := range s.confirmed {
		if a, ok := known[family]; ok && c.at.After(a.Confirmed) {
			a.Confirmed, a.By = c.at, c.by
			known[family] = a
		}
	}
	return known
}

// Confirm notes that servers said the known address of a family again. It is
// written with the next change: a write for each poll would wear out a card.
func (s *Store) Confirm(family netwatch.Family, by []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed[family] = confirmation{time.Now(), by}
}

// Seen is the fingerprint of a file that events of that name are about, or
// empty when there is none.
func (s *Store) Seen(event, file string) string { return s.Get().Seen[event][file] }

// See notes the fingerprint of a file.
func (s *Store) See(event, file, fingerprint string) error {
	return s.Update(func(st *State) { st.See(event, file, fingerprint) })
}

// Wrote says whether it was netwatch alone who made a file go from one content to
// another.
func (s *Store) Wrote(w netwatch.Rewrite) bool { return s.Get().Wrote(w) }

// Of are the times when netwatch started a unit, newest last.
func (s *Store) Of(unit string) []time.Time { return s.Get().Starts[unit] }

// Record notes a start of a unit.
func (s *Store) Record(unit string, at time.Time) error {
	return s.Update(func(st *State) { st.Start(unit, at) })
}
