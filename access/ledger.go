package access

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"netwatch"
)

// A Ledger lets a user read files, and keeps a record of what it gave him.
type Ledger struct {
	// File is the record. It has to be in a directory that root alone can write.
	File string
	// Put replaces the record, or removes it if text is empty. If Put is nil, nothing
	// is changed, and Apply and Revoke only tell what they would do.
	Put func(text string) error
}

// A Right is what the user's own entry in the access list of a file or directory
// gives him.
type Right struct {
	Path string
	// Perm is as getfacl(1) writes it; empty if it was taken back.
	Perm    string
	Outcome netwatch.Outcome
}

// A record says what a user was given: by the path of each file or directory the bits
// of a mode, 4 to read, 1 to search.
type record struct {
	UID   int             `json:"uid"`
	Given map[string]perm `json:"given"`
}

// A goal is a file or directory that is to be opened to the user.
type goal struct {
	*place
	// now is its access list, and base that list without what the record says was
	// given.
	now, base list
}

// A change is one call of Apply: what it found, plans and has done.
type change struct {
	Ledger
	user  User
	old   map[string]perm
	goals map[string]*goal
	// kept are the paths where nothing is taken back.
	kept   map[string]bool
	rights []Right
	errs   []error
}

// Apply lets the user read what he needs and could not read otherwise, and takes back
// everything else that is in the record. If something cannot be done, that is among
// the errors, and the rest is done all the same: what he has already on the way to a
// file that he needs he keeps, for its owner may be another for a while only.
func (l Ledger) Apply(u User, needs []Need) ([]Right, []error) {
	old, err := l.read()
	if err != nil {
		return nil, []error{err}
	}
	s := &change{Ledger: l, user: u, old: old.Given, goals: map[string]*goal{}, kept: map[string]bool{}}
	if old.UID != u.UID { // The user was made anew.
		s.rights, s.errs = l.Revoke()
		s.old = nil
	}
	for _, n := range needs {
		w, err := walk(n)
		if err == nil {
			defer w.Close()
			err = s.plan(w)
		}
		if s.failed(n.File, err); err != nil {
			s.keep(n.File, w)
		}
	}
	if err := s.apply(); err != nil {
		s.errs = append(s.errs, err)
	}
	slices.SortFunc(s.rights, func(a, b Right) int { return strings.Compare(a.Path, b.Path) })
	return s.rights, s.errs
}

// Revoke takes back everything that is in the record.
func (l Ledger) Revoke() ([]Right, []error) {
	old, err := l.read()
	if err != nil {
		return nil, []error{err}
	}
	return l.Apply(User{UID: old.UID}, nil)
}

// failed notes an error about a file, if it is one.
func (s *change) failed(file string, err error) {
	if err != nil {
		s.errs = append(s.errs, fmt.Errorf("letting the user read %s: %w", file, err))
	}
}

// keep takes nothing back on the way to a file, as its name says it and as it was
// walked, if it could be.
func (s *change) keep(file string, w *Way) {
	for path := file; ; path = filepath.Dir(path) {
		s.kept[path] = true
		if path == "/" {
			break
		}
	}
	if w != nil {
		for _, p := range w.places {
			s.kept[p.path] = true
		}
	}
}

// uid is the user as lists have him.
func (s *change) uid() uint32 { return uint32(s.user.UID) } //nolint:gosec // It was one.

// plan makes a goal of each place where the user lacks what the way takes. If one of
// these cannot be opened to him it plans none, since the others would be opened in
// vain.
func (s *change) plan(w *Way) error {
	var lacking []*goal
	if w.end != nil && w.end.stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("it is not a regular file")
	}
	for _, p := range w.places {
		g, err := s.lacks(p)
		if err != nil {
			return fmt.Errorf("opening %s: %w", p.path, err)
		}
		if g != nil {
			lacking = append(lacking, g)
		}
	}
	for _, g := range lacking {
		if same := s.goals[g.path]; same != nil {
			same.need |= g.need
			continue
		}
		s.goals[g.path] = g
	}
	return nil
}

// lacks returns a goal if the user lacks at this place what the way takes, or nil.
func (s *change) lacks(p *place) (*goal, error) {
	if p.need == 0 {
		return nil, nil
	}
	now, err := p.list()
	if err != nil {
		return nil, err
	}
	g := &goal{p, now, now.without(s.uid(), s.old[p.path])}
	if s.user.permitted(g.base, &p.stat, p.need) {
		return nil, nil
	}
	if err := p.check(); err != nil {
		return nil, err
	}
	_, err = g.base.with(s.uid(), p.need)
	return g, err
}

// apply does what is planned. It first writes into the record all that may be open
// meanwhile, so that nothing is ever open that the record does not have. An error is
// one of the record.
func (s *change) apply() error {
	now := map[string]perm{}
	for path, g := range s.goals {
		own, _ := g.base.find(userEntry, s.uid())
		now[path] = g.need &^ own.perm
	}
	both := maps.Clone(now)
	for path, p := range s.old {
		both[path] |= p
	}
	if err := s.write(both); err != nil {
		return err
	}
	for path, p := range s.old {
		switch {
		case s.goals[path] != nil:
			continue
		case s.kept[path]:
			now[path] = p
			continue
		}
		if err := s.takeBack(path, p); err != nil {
			now[path] = p
			s.errs = append(s.errs, fmt.Errorf("closing %s to the user again: %w", path, err))
		}
	}
	for path, g := range s.goals {
		s.failed(path, s.open(g))
	}
	return s.write(now)
}

// open gives the user what he lacks at a goal.
func (s *change) open(g *goal) error {
	wanted, err := g.base.with(s.uid(), g.need)
	if err != nil {
		return err
	}
	own, _ := wanted.find(userEntry, s.uid())
	right := Right{g.path, own.perm.String(), netwatch.Unchanged}
	if !slices.Equal(wanted, g.now) {
		right.Outcome = netwatch.Changed
		if err := s.set(g.place, wanted); err != nil {
			return err
		}
	}
	s.rights = append(s.rights, right)
	return nil
}

// takeBack takes away what was given on a file or directory. If that is gone by now,
// or lies behind a symlink, there is nothing to take away.
func (s *change) takeBack(path string, given perm) error {
	w, err := walk(Need{File: path})
	if err != nil {
		return err
	}
	defer w.Close()
	if w.end == nil || w.links > 0 {
		return nil
	}
	now, err := w.end.list()
	if err != nil {
		return err
	}
	wanted := now.without(s.uid(), given)
	if slices.Equal(wanted, now) {
		return nil
	}
	s.rights = append(s.rights, Right{path, "", netwatch.Changed})
	return s.set(w.end, wanted)
}

func (s *change) set(p *place, l list) error {
	if s.Put == nil {
		return nil
	}
	return p.set(l)
}

// read is the record, empty if there is none.
func (l Ledger) read() (r record, err error) {
	text, err := os.ReadFile(l.File)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r)
	}
	if err != nil {
		err = fmt.Errorf("reading the record of what was opened: %w", err)
		err = netwatch.WithHint(err, "remove "+l.File+"; what is open stays open then, until you close it with setfacl -x")
	}
	return r, err
}

// write replaces the record, if there is or was anything in it.
func (s *change) write(given map[string]perm) error {
	if s.Put == nil || len(s.old)+len(given) == 0 {
		return nil
	}
	text, err := json.MarshalIndent(record{s.user.UID, given}, "", "\t")
	if len(given) == 0 {
		text = nil
	}
	if err == nil {
		err = s.Put(string(text))
	}
	if err != nil {
		err = fmt.Errorf("writing the record of what is opened: %w", err)
	}
	return err
}
