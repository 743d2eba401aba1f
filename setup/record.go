package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
	"netwatch/machine"
)

// backups is the directory of the backups. Each has a directory of its own there, whose
// name is the time.
const backups = "/var/backups/netwatch"

// manifestFile is the name of the manifest in a backup.
const manifestFile = "manifest.json"

// A manifest says how all files were before a plan was carried out, and what it put in
// place.
type manifest struct {
	Entries []entry `json:"files"`
}

// An entry is one file as it was.
type entry struct {
	File string `json:"file"`
	// Copy is the file in the backup that has its content; empty if the file did not
	// exist.
	Copy string `json:"copy,omitempty"`
	attributes
	// After is the fingerprint of its new content; empty if it was removed.
	After string `json:"after,omitempty"`
	// Made are the directories that were made for it, the innermost first.
	Made []string `json:"made,omitempty"`
	// Calls says that by it others call netwatch: it is taken back before netwatch goes.
	Calls bool `json:"calls,omitempty"`
	// Lines are what was put into it for that; none is the whole file.
	Lines []string `json:"lines,omitempty"`
	// Undone says that it is as it was again.
	Undone bool `json:"undone,omitempty"`
}

// A record is the manifest of a backup.
type record struct {
	dir string
	manifest
}

// records are those of all backups, the newest first.
func records(tree machine.Tree) (all []*record, err error) {
	for _, file := range slices.Backward(tree.Glob(backups + "/*/" + manifestFile)) {
		r, err := readRecord(tree, path.Dir(file))
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// readRecord reads the manifest of one backup, by which root removes files: so nobody
// else may be able to write it.
func readRecord(tree machine.Tree, dir string) (*record, error) {
	r := &record{dir: dir}
	host, err := tree.Resolve(dir + "/" + manifestFile)
	if err == nil {
		err = rootsOwn(host)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = netwatch.WithHint(fs.ErrNotExist, "ls "+backups+" shows what backups there are")
	}
	if err != nil {
		return nil, fmt.Errorf("restoring: reading the manifest of %s: %w", dir, netwatch.WithoutPath(err))
	}
	text, err := tree.Read(dir + "/" + manifestFile)
	if err == nil {
		err = json.Unmarshal(text, &r.manifest)
	}
	if err != nil {
		err = fmt.Errorf("restoring: reading the manifest of %s: %w", dir, netwatch.WithoutPath(err))
		return nil, netwatch.WithHint(err, "put back by hand what lies beside it, and then: rm -r "+netwatch.ShellPath(dir))
	}
	return r, nil
}

// rootsOwn says why root may not go by a file or a directory: somebody else decides what
// is there. Other users go by their own.
func rootsOwn(host string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	_, whole, err := access.ByRoot(host)
	var st unix.Stat_t
	if err == nil {
		err = unix.Lstat(host, &st)
	}
	if err != nil {
		return err
	}
	if whole && st.Uid == 0 && st.Mode&0o022 == 0 {
		return nil
	}
	err = fmt.Errorf("others than root can write %s", host)
	return netwatch.WithHint(err, "namei -l "+netwatch.ShellPath(host)+" shows where; see what is in it, "+
		"and give it to root alone: chown root and chmod go-w")
}

// write writes the manifest into its directory.
func (m manifest) write(host string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return renameio.WriteFile(filepath.Join(host, manifestFile), append(text, '\n'), 0o600)
}

// forget removes from the backup what is as it was again, and all of it if there is no
// copy of anything else.
func (r *record) forget(host string) error {
	left := slices.DeleteFunc(slices.Clone(r.Entries), func(e entry) bool { return e.Undone || e.Copy == "" })
	if len(left) == 0 {
		return os.RemoveAll(host)
	}
	for _, e := range r.Entries {
		if e.Undone && e.Copy != "" {
			if err := os.Remove(filepath.Join(host, e.Copy)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return manifest{left}.write(host)
}

// isOurs says whether a file is one that an init put there, and nobody has changed
// since.
func (p *Plan) isOurs(file string, text []byte) bool {
	all, _ := records(p.tree) // What others can write says nothing.
	for _, r := range all {
		for _, e := range r.Entries {
			if e.File == file && e.Calls && !e.Undone {
				return e.After == netwatch.Fingerprint(text)
			}
		}
	}
	return false
}

// explain says what a file could not be changed for, and what to do about it.
func explain(doing, file string, err error) error {
	quoted := netwatch.ShellPath(file)
	hint := netwatch.Hint(err)
	if link, ok := errors.AsType[*os.LinkError](err); ok {
		err = link.Err // Its paths are those of a temporary file.
	}
	switch {
	case hint != "":
	case errors.Is(err, unix.EROFS):
		hint = "mount for writing what it lies on, which findmnt -T " + quoted + " names"
	case errors.Is(err, unix.EBUSY):
		hint = "umount " + quoted + ", over which something is mounted"
	case errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0:
		hint = "chattr -i -a " + netwatch.ShellPath(path.Dir(file)) + " " + quoted +
			" takes away what keeps even root from changing it"
	}
	err = fmt.Errorf("%s %s: %w", doing, file, netwatch.WithoutPath(err))
	if hint == "" {
		return err
	}
	return netwatch.WithHint(err, hint)
}
