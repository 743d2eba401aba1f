package actions

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"netwatch"
	"netwatch/access"
)

// coturnUser is whom Debian's package runs coturn as.
const coturnUser = "turnserver"

// A reader is somebody who must be able to read the file.
type reader struct {
	access.User
	// running says that coturn runs as this reader now, and so will again.
	running bool
}

// checkReaders refuses a new file that coturn cannot read: it would start as
// an open relay (measured). What cannot be found out is no reason to refuse:
// owner, mode and ACL are the same as before.
func (o *original) checkReaders(path string) error {
	readers := o.running()
	if len(readers) == 0 {
		readers = usual()
	}
	for _, r := range readers {
		err := r.CheckRead(path)
		if !errors.Is(err, fs.ErrPermission) {
			continue
		}
		// Who could not read the old file either is not how coturn is run here.
		if !r.running && errors.Is(r.CheckRead(o.Name()), fs.ErrPermission) {
			continue
		}
		return r.refuse(o.path)
	}
	return nil
}

// refuse says that and why the file stays as it was.
func (r reader) refuse(path string) error {
	name := strconv.Itoa(r.UID)
	if u, err := user.LookupId(name); err == nil {
		name = u.Username
	}
	err := fmt.Errorf("rewriting %s: coturn (user %s) cannot read it; it would start as an open relay", path, name)
	return netwatch.WithHint(err, fmt.Sprintf("setfacl -m u:%s:r %s && setfacl -m u:%s:x %s", name, path, name, filepath.Dir(path)))
}

// running are the users, other than root, of the coturn processes that were
// started with the file, by whatever name. With proc-user in it coturn reads
// it as root and then becomes another, who says nothing about who must read it.
func (o *original) running() []reader {
	for _, p := range split(o.text) {
		if p.key == "proc-user" {
			return nil
		}
	}
	found, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is right
	var all []reader
	for _, cmdline := range found {
		text, err := os.ReadFile(cmdline)
		if err != nil || !o.startedWith(strings.Split(string(text), "\x00")) {
			continue // gone meanwhile, or another program
		}
		status, err := os.ReadFile(filepath.Join(filepath.Dir(cmdline), "status"))
		if r, ok := parseStatus(status); err == nil && ok && r.UID != 0 {
			all = append(all, r)
		}
	}
	return all
}

// startedWith says whether args are those of a coturn that reads the file. The
// program's name is asked for too: an editor or a pager has it as an argument
// as well, and any user could start one.
func (o *original) startedWith(args []string) bool {
	if filepath.Base(args[0]) != "turnserver" {
		return false
	}
	for _, arg := range args[1:] {
		arg = strings.TrimPrefix(strings.TrimPrefix(arg, "--config="), "-c")
		var st unix.Stat_t
		if filepath.IsAbs(arg) && unix.Stat(arg, &st) == nil && st.Dev == o.stat.Dev && st.Ino == o.stat.Ino {
			return true
		}
	}
	return false
}

// parseStatus reads /proc/PID/status (proc_pid_status(5)): the last number of
// Uid and Gid is the one that counts for files.
func parseStatus(status []byte) (reader, bool) {
	r := reader{access.User{UID: -1, GID: -1}, true}
	for line := range bytes.Lines(status) {
		word := strings.Fields(string(line))
		switch {
		case len(word) == 5 && word[0] == "Uid:":
			r.UID, _ = strconv.Atoi(word[4])
		case len(word) == 5 && word[0] == "Gid:":
			r.GID, _ = strconv.Atoi(word[4])
		case len(word) > 1 && word[0] == "Groups:":
			r.Groups = numbers(word[1:])
		}
	}
	return r, r.UID >= 0 && r.GID >= 0
}

// usual is Debian's user of coturn, if there is one.
func usual() []reader {
	u, err := access.Lookup(coturnUser)
	if err != nil {
		return nil
	}
	return []reader{{User: u}}
}

func numbers(words []string) []uint32 {
	var all []uint32
	for _, w := range words {
		if n, err := strconv.ParseUint(w, 10, 32); err == nil {
			all = append(all, uint32(n))
		}
	}
	return all
}
