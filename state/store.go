package state

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"netwatch"
)

// fileName is the file's name in the state directory.
const fileName = "state.json"

// A Store holds the state and keeps it on disk. Its methods may be called from
// any goroutine.
type Store struct {
	dir *os.File // locked, and synced after each replacement
	// opened is when this process began: what was confirmed before may be long
	// out of date.
	opened time.Time

	mu        sync.Mutex
	state     *State // never changed, only replaced
	queue     []update
	writing   bool
	began     time.Time                        // the present write, while writing
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
	s = &Store{dir: d, opened: time.Now(), confirmed: map[netwatch.Family]confirmation{}}
	s.sweep()
	if s.state, aside, err = load(filepath.Join(dir, fileName)); err != nil {
		_ = d.Close()
		return nil, "", err
	}
	s.age()
	return s, aside, nil
}

// sweep removes what a crash in the middle of a write left behind.
func (s *Store) sweep() {
	left, _ := filepath.Glob(filepath.Join(s.dir.Name(), "."+fileName+"*"))
	for _, file := range left {
		_ = os.Remove(file)
	}
}

// load reads the file, or sets it aside if it is damaged.
func load(file string) (*State, string, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return empty(), "", nil
	}
	if err != nil {
		return nil, "", netwatch.WithHint(fmt.Errorf("reading the state: %w", err), "let the user that runs netwatch have it: chown --reference="+filepath.Dir(file)+" "+file)
	}
	s := empty()
	if err := json.Unmarshal(text, s); err == nil && s.Version == version && s.whole() {
		return s, "", nil
	}
	aside := fmt.Sprintf("%s.damaged-%s", file, time.Now().UTC().Format("20060102T150405.000"))
	if err := os.Rename(file, aside); err != nil {
		return nil, "", fmt.Errorf("setting the damaged state aside: %w", err)
	}
	return empty(), aside, nil
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

// whole says that no part is null, as JSON could make it, and that every
// address is one.
func (s *State) whole() bool {
	for family, a := range s.Addresses {
		if !a.Address.IsValid() || netwatch.FamilyOf(a.Address) != family {
			return false
		}
	}
	// A run of nothing is of a rule that went while it ran.
	maps.DeleteFunc(s.Runs, func(_ string, r Run) bool { return len(r.Events) == 0 })
	return s.Addresses != nil && s.Runs != nil && s.Failures != nil && s.Seen != nil && s.Rewrites != nil && s.Starts != nil
}

// Close writes the newest confirmations and unlocks the directory.
func (s *Store) Close() error {
	return errors.Join(s.Update(func(*State) {}), s.dir.Close())
}

// Update changes the state and returns once the change is on disk; changes
// that come while one is being written share the next write. On an error none
// of them has happened.
func (s *Store) Update(change func(*State)) error {
	u := update{change, make(chan error, 1)}
	s.mu.Lock()
	s.queue = append(s.queue, u)
	if !s.writing {
		s.writing = true
		go s.commit()
	}
	s.mu.Unlock()
	return <-u.done
}

// commit writes until nothing waits, and ends.
func (s *Store) commit() {
	for {
		s.mu.Lock()
		batch, next := s.queue, s.state.clone()
		s.queue = nil
		if len(batch) == 0 {
			s.writing, s.began = false, time.Time{}
			s.mu.Unlock()
			return
		}
		next.Addresses, s.began = s.known(next.Addresses), time.Now()
		s.mu.Unlock()
		for _, u := range batch {
			u.change(next)
		}
		err := s.write(next)
		s.mu.Lock()
		if err == nil {
			s.state = next
		}
		s.mu.Unlock()
		for _, u := range batch {
			u.done <- err
		}
	}
}

// replace gives the file another content. It belongs to whom the directory
// belongs: root, who runs netwatch by hand, must not lock out the user netwatch.
func (s *Store) replace(text []byte) error {
	file, err := renameio.NewPendingFile(filepath.Join(s.dir.Name(), fileName), renameio.WithTempDir(s.dir.Name()), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = file.Cleanup() }() // does nothing once it is in place
	if _, err := file.Write(text); err != nil {
		return err
	}
	var dir unix.Stat_t
	if err := unix.Fstat(int(s.dir.Fd()), &dir); err != nil {
		return err
	}
	if int(dir.Uid) != os.Geteuid() {
		_ = file.Chown(int(dir.Uid), int(dir.Gid)) // only root can, and only root has to
	}
	return file.CloseAtomicallyReplace()
}

// write replaces the file; the directory is synced so that the new name
// survives a power cut too.
func (s *Store) write(next *State) error {
	text, err := json.MarshalIndent(next, "", "  ")
	if err == nil {
		err = s.replace(append(text, '\n'))
	}
	if err == nil {
		err = s.dir.Sync()
	}
	if err != nil {
		return netwatch.WithHint(fmt.Errorf("writing the state: %w", err), "see that "+s.dir.Name()+" is writable and has room")
	}
	return nil
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
