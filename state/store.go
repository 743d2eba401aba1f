package state

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"time"

	"netwatch"
)

// A Store holds the state and keeps it on disk. What the disk refuses stays in
// memory, and is written as soon as the disk takes it. All methods may be called from
// any goroutine.
type Store struct {
	disk *disk
	// opened is when this process began. What was confirmed before that may be long
	// out of date.
	opened time.Time

	writer sync.WaitGroup // of the goroutine that writes, while one does

	mu        sync.Mutex
	state     *State         // never changed, only replaced
	queue     []update       // what the present write does not have yet
	later     []func(*State) // what is written with the next of these, and late when that is
	late      *time.Timer
	began     time.Time // when the present write began, or zero
	closed    bool
	confirmed map[netwatch.Family]confirmation // newer than in state, not worth a write
	refused   error                            // why state is not on disk, or nil
	since     time.Time                        // when it was first refused, while it is
	again     *time.Timer                      // tries once more, while it is
	notify    func(*Unwritten)
}

// tryAgain is how long after a refusal the disk is tried again.
const tryAgain = 2 * time.Second

// Unwritten says that the disk does not have the newest state.
type Unwritten struct {
	// Since is when the disk first refused it: a restart would forget what was
	// accepted from then on.
	Since time.Time `json:"since"`
	// Error is why the disk refused it last.
	Error string `json:"error"`
	// Hint is the remedy.
	Hint string `json:"hint,omitempty"`
}

// Risk says what a restart would forget.
func (u Unwritten) Risk() string {
	return "what was accepted since " + u.Since.Local().Format(time.DateTime) + " would be forgotten by a restart"
}

type update struct {
	change func(*State)
	done   chan struct{}
}

type confirmation struct {
	at  time.Time
	by  []string
	own netip.Addr
	// doubted is since when servers do not say it any more; zero while they do.
	doubted time.Time
}

// Open opens the state directory, makes it if it is missing, and locks it: a second
// daemon on the same directory is refused. If the newest state is damaged, or no
// regular file, it is set aside and the one before is taken; damage says so.
func Open(dir string) (s *Store, damage, err error) {
	d, err := openDir(dir)
	if err != nil {
		return nil, nil, err
	}
	return OpenIn(d)
}

// OpenIn is Open of a directory that is open.
func OpenIn(d Directory) (s *Store, damage, err error) {
	s = &Store{disk: &disk{dir: d}, opened: time.Now(), confirmed: map[netwatch.Family]confirmation{}}
	if s.state, damage, err = s.disk.load(); err != nil {
		_ = d.Close()
		return nil, nil, err
	}
	s.age()
	return s, damage, nil
}

// age makes everything that was confirmed before this process older than it, and than
// what will be confirmed, however the clock was or will be set: boards without a
// battery boot in the past. Times made by Add can be compared by the monotonic clock,
// which nobody sets (package time).
func (s *Store) age() {
	for family, a := range s.state.Addresses {
		a.Confirmed = s.opened.Add(-max(1, s.opened.Sub(a.Confirmed)))
		s.state.Addresses[family] = a
	}
}

// Notify sets what is called when the disk begins to refuse the state, and, with nil,
// when it has all of it again. Call it before the first Update. told must not change
// the state.
func (s *Store) Notify(told func(*Unwritten)) { s.notify = told }

// Close writes the newest confirmations and unlocks the directory. The error says
// what the disk refused to the end.
func (s *Store) Close() error {
	err := s.Update(func(*State) {})
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.writer.Wait()
	return errors.Join(err, s.refused, s.disk.dir.Close())
}

// Update changes the state, and returns once the change is on disk or the disk has
// refused it. A refused change is in force all the same; Unwritten tells of it.
// Changes that come during a write share the next one. After Close nothing is changed
// any more: only that is an error.
func (s *Store) Update(change func(*State)) error {
	u := update{change, make(chan struct{})}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return fmt.Errorf("changing the state: %w", os.ErrClosed)
	}
	s.queue = append(s.queue, u)
	if s.began.IsZero() {
		s.began = time.Now()
		s.writer.Go(s.write)
	}
	s.mu.Unlock()
	<-u.done
	return nil
}

// laterTime is how long what Later changes may stay unwritten.
const laterTime = 10 * time.Minute

// Later changes the state with the next write, or after laterTime. Until then Get does not
// have it, and a crash forgets it.
func (s *Store) Later(change func(*State)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later = append(s.later, change)
	if s.late == nil && !s.closed {
		s.late = time.AfterFunc(laterTime, func() { _ = s.Update(func(*State) {}) })
	}
}

// write writes until nothing is waiting.
func (s *Store) write() {
	for {
		runtime.Gosched() // Whoever is about to change something too shares the write
		batch, later, next := s.take()
		if len(batch) == 0 {
			return
		}
		for _, change := range later {
			change(next)
		}
		for _, u := range batch {
			u.change(next)
		}
		s.wrote(next, s.disk.write(next))
		for _, u := range batch {
			close(u.done)
		}
	}
}

// take empties the queue and notes that a write begins. It returns the changes that
// were waiting, those of Later, which come first, and the copy of the state that they are
// to change. If nothing was waiting, it notes that no write is going on.
func (s *Store) take() (batch []update, later []func(*State), next *State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 {
		s.began = time.Time{}
		s.schedule()
		return nil, nil, nil
	}
	if s.late != nil {
		s.late.Stop()
	}
	batch, later, next = s.queue, s.later, s.state.clone()
	s.queue, s.later, s.late, s.began = nil, nil, nil, time.Now()
	next.Addresses = s.known(next.Addresses)
	return batch, later, next
}

// wrote puts the next state in force, whether the disk has taken or refused it. It
// notifies when the disk begins to refuse, and when it no longer does.
func (s *Store) wrote(next *State, refused error) {
	s.mu.Lock()
	turned := (refused == nil) != (s.refused == nil)
	if turned {
		s.since = s.began
	}
	s.state, s.refused = next, refused
	s.mu.Unlock()
	if turned && s.notify != nil {
		s.notify(s.Unwritten())
	}
}

// Unwritten says what the disk does not have, or nil.
func (s *Store) Unwritten() *Unwritten {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refused == nil {
		return nil
	}
	return &Unwritten{Since: s.since, Error: s.refused.Error(), Hint: netwatch.Hint(s.refused)}
}

// schedule sets the timer for another try if the disk has refused the state. s.mu is
// held.
func (s *Store) schedule() {
	if s.again != nil {
		s.again.Stop()
	}
	if s.refused != nil && !s.closed {
		s.again = time.AfterFunc(tryAgain, func() { _ = s.Update(func(*State) {}) })
	}
}

// Writing is when the write that is going on began, or zero. A disk that hangs is
// seen by that.
func (s *Store) Writing() (since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.began
}

// Get is the state as it is now. The caller must not change it.
func (s *Store) Get() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// Known are the public addresses last believed, with their newest confirmations.
func (s *Store) Known() netwatch.Addresses {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known(s.state.Addresses)
}

// Confirmed are those of Known that servers say, and have said since the store was
// opened. While they say none, as when the line is down, it is the last good ones.
func (s *Store) Confirmed() netwatch.Addresses {
	all := s.Known()
	maps.DeleteFunc(all, func(_ netwatch.Family, a netwatch.Address) bool { return a.Confirmed.Before(s.opened) })
	now := maps.Clone(all)
	maps.DeleteFunc(now, func(_ netwatch.Family, a netwatch.Address) bool { return !a.Unconfirmed.IsZero() })
	if len(now) == 0 {
		return all
	}
	return now
}

// known returns addresses with their newest confirmations. s.mu is held.
func (s *Store) known(addresses netwatch.Addresses) netwatch.Addresses {
	known := maps.Clone(addresses)
	for family, c := range s.confirmed {
		a, ok := known[family]
		if !ok {
			continue
		}
		if c.at.After(a.Confirmed) {
			a.Confirmed, a.By, a.Own = c.at, c.by, c.own
		}
		if a.Unconfirmed = c.doubted; a.Confirmed.After(c.doubted) {
			a.Unconfirmed = time.Time{}
		}
		known[family] = a
	}
	return known
}

// Confirm notes that servers said the known address of a family at that time. It is written
// with the next change: a write for each poll would wear out a card.
func (s *Store) Confirm(family netwatch.Family, at time.Time, by []string, own netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.confirmed[family] = confirmation{at: at, by: by, own: own}
}

// Doubt notes that servers do not say the known address of a family now.
func (s *Store) Doubt(family netwatch.Family) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.confirmed[family]
	if s.known(s.state.Addresses)[family].Unconfirmed.IsZero() {
		c.doubted = time.Now()
	}
	s.confirmed[family] = c
}

// Seen is the fingerprint of a file as last accepted for events of that name, or
// empty.
func (s *Store) Seen(event, file string) string { return s.Get().Seen[event][file] }

// Sights are all that is noted for events of that name. The caller must not change it.
func (s *Store) Sights(event string) map[string]string {
	s.mu.Lock()
	late := s.late != nil
	s.mu.Unlock()
	if late {
		_ = s.Update(func(*State) {}) // Refused only when all is over
	}
	return s.Get().Seen[event]
}

// See notes the fingerprint of a file.
func (s *Store) See(event, file, fingerprint string) error {
	return s.Update(func(st *State) { st.See(event, file, fingerprint) })
}

// Wrote says whether netwatch alone made the file go from one content to the other.
func (s *Store) Wrote(w netwatch.Replacement) bool { return s.Get().Wrote(w) }

// Of are the times when netwatch started a unit, newest last.
func (s *Store) Of(unit string) []time.Time { return s.Get().Starts[unit] }

// Record notes a start of a unit.
func (s *Store) Record(unit string, at time.Time) error {
	return s.Update(func(st *State) { st.Start(unit, at) })
}
