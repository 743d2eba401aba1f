package simulate

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/state"
)

// errDead is what a killed daemon gets of everything: it can do nothing any more, and
// winds down beside the world.
var errDead = errors.New("it was killed")

// A disk is the directory of the state, and knows what a power cut takes.
type disk struct {
	*World
	// names are the files as every process sees them, and safe as the disk has them for
	// sure. Between them are the steps, oldest first, of which it may have the first few.
	names, safe map[string]*inode
	steps       []map[string]*inode
	full        bool
	// atRisk says that it has refused the newest state.
	atRisk bool
	// knew is the newest state, and believed is when it had other addresses.
	knew     kept
	believed time.Duration
}

// An inode is a file: what was written, and how much of it the disk has for sure.
type inode struct {
	text   []byte
	synced bool
	// known is what it says as a state, once somebody has read it.
	known *kept
}

func newDisk(w *World) *disk {
	return &disk{World: w, names: map[string]*inode{}, safe: map[string]*inode{}}
}

// become notes a step. w.mu is held.
func (d *disk) become(change func(names map[string]*inode)) {
	d.names = maps.Clone(d.names)
	change(d.names)
	d.steps = append(d.steps, d.names)
}

// cut is a power cut: of the steps since the last sync the disk has the first few, and of
// what was not synced as much as it likes. w.mu is held.
func (d *disk) cut() {
	if n := int(d.draw("cut") % uint64(len(d.steps)+1)); n > 0 {
		d.safe = d.steps[n-1]
	}
	d.names, d.steps = maps.Clone(d.safe), nil
	for _, name := range slices.Sorted(maps.Keys(d.names)) {
		i := d.names[name]
		if !i.synced {
			kept := int(d.draw("cut "+name) % uint64(len(i.text)+1))
			i = &inode{text: i.text[:kept], synced: true}
		}
		d.names[name] = i
	}
	d.safe = d.names
}

// A directory is the disk as one life of the daemon sees it.
type directory struct {
	*disk
	life *life
}

// step is an effect on the disk. An error of the disk is what it returns. It takes no
// time: who waits for the state holds locks, and for a lock a bubble's time does not pass.
func (d directory) step(what string, grows bool) error {
	d.mu.Lock() // Whoever calls unlocks it
	if err := d.life.effect("disk: " + what); err != nil {
		return err
	}
	if grows && d.full {
		d.atRisk = true
		d.story.fault("the disk refuses a write")
		return &fs.PathError{Op: what, Path: d.Name(), Err: unix.ENOSPC}
	}
	return nil
}

// Name is the path.
func (d directory) Name() string { return d.path("state") }

// Renewed is never another.
func (d directory) Renewed() (state.Directory, error) { return nil, nil }

// Read reads a file.
func (d directory) Read(name string) ([]byte, error) {
	err := d.step("read "+name, false)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	i := d.names[name]
	if i == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: unix.ENOENT}
	}
	return slices.Clone(i.text), nil
}

// A writing is a file that is written.
type writing struct {
	directory
	inode *inode
	name  string
}

// Create makes a file.
func (d directory) Create(name string) (state.File, error) {
	err := d.step("create "+name, false)
	defer d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	i := &inode{}
	d.become(func(names map[string]*inode) { names[name] = i })
	return writing{d, i, name}, nil
}

// Write writes all of it, or a part where the disk is full.
func (f writing) Write(text []byte) (int, error) {
	err := f.step("write "+f.name, true)
	defer f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	f.inode.text, f.inode.synced, f.inode.known = slices.Clone(text), false, nil
	return len(text), nil
}

// Sync has the disk have it.
func (f writing) Sync() error {
	err := f.step("sync "+f.name, false)
	defer f.mu.Unlock()
	if err == nil {
		f.inode.synced = true
	}
	return err
}

// Close does nothing.
func (f writing) Close() error { return nil }

// Remove removes a file.
func (d directory) Remove(name string) error {
	err := d.step("remove "+name, false)
	defer d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case d.names[name] == nil:
		return &fs.PathError{Op: "remove", Path: name, Err: unix.ENOENT}
	}
	d.become(func(names map[string]*inode) { delete(names, name) })
	return nil
}

// Link gives a file a second name.
func (d directory) Link(from, to string) error {
	err := d.step("link "+to, false)
	defer d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case d.names[from] == nil || d.names[to] != nil:
		return &fs.PathError{Op: "link", Path: to, Err: unix.ENOENT}
	}
	d.become(func(names map[string]*inode) { names[to] = names[from] })
	return nil
}

// Rename gives a file another name.
func (d directory) Rename(from, to string) error {
	err := d.step("rename "+from, false)
	defer d.mu.Unlock()
	switch {
	case err != nil:
		return err
	case d.names[from] == nil:
		return &fs.PathError{Op: "rename", Path: from, Err: unix.ENOENT}
	}
	d.become(func(names map[string]*inode) { names[to] = names[from]; delete(names, from) })
	k := d.known()
	d.promised.replaced(d.life, k)
	if !maps.Equal(k.Addresses, d.knew.Addresses) {
		d.believed = d.now()
	}
	d.knew = k
	return nil
}

// Sync has the disk have all names. From then on nothing that is in the state is lost.
func (d directory) Sync() error {
	err := d.step("sync", false)
	defer d.mu.Unlock()
	if err != nil {
		return err
	}
	d.safe, d.steps, d.atRisk = d.names, nil, false
	d.promised.kept(d.known())
	return nil
}

// Close does nothing.
func (d directory) Close() error { return nil }

// A kept is the state as far as the world looks into it.
type kept struct {
	Addresses map[netwatch.Family]struct{ Address string }
	Runs      map[string]struct{ Events []netwatch.Event }
	Seen      map[string]map[string]string
}

// known is the state as the disk has it. w.mu is held.
func (d *disk) known() (k kept) {
	i := d.names["state.json"]
	if i == nil {
		return kept{}
	}
	if i.known == nil {
		i.known = &kept{}
		if err := json.Unmarshal(i.text, i.known); err != nil {
			i.known = &kept{}
		}
	}
	return *i.known
}
