package grant

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"netwatch"
	"netwatch/access"
	"netwatch/helper"
	"netwatch/rewrite"
)

// recordFile says what files were opened. It is not in the daemon's own
// directory: what is in there, the daemon can write.
const recordFile = "/var/lib/netwatch-grant/access.json"

// lockTime is how long another that opens files may take.
const lockTime = 3 * time.Second

// Opened is what opening files came to.
type Opened struct {
	// Rights are what the daemon's user was given or lost.
	Rights []access.Right
	// Closed says what could not be opened, and no more than that: a daemon that
	// cannot read a file does the rest, and says in its status what it cannot do.
	Closed []error
}

// Open lets the daemon's user read what he has to, and takes the rest back. While
// another process is at it, Open waits, for lockTime at most: somebody may keep that
// process from ever ending.
func (n Needs) Open(ctx context.Context) (o Opened, err error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	unlock, err := rewrite.Lock(ctx, recordFile)
	if err != nil {
		err = fmt.Errorf("waiting for another that opens files: %w", err)
		return o, netwatch.WithHint(err, "see systemctl status netwatch-open.service")
	}
	defer unlock()
	return n.open(access.Ledger{File: recordFile, Put: func(text string) error {
		_, err := File{recordFile, text}.Put()
		return err
	}}), nil
}

// WouldOpen is what Open would do, and does nothing.
func (n Needs) WouldOpen() Opened { return n.open(access.Ledger{File: recordFile}) }

func (n Needs) open(l access.Ledger) (o Opened) {
	o.Rights, o.Closed = n.apply(l)
	for _, r := range n.rotations {
		if err := elsewhere(r.File); err != nil {
			o.Closed = append(o.Closed, err)
		}
	}
	return o
}

func (n Needs) apply(l access.Ledger) ([]access.Right, []error) {
	if len(n.reads)+len(n.secrets) == 0 {
		return l.Revoke()
	}
	user, err := access.Lookup(helper.User)
	if err != nil {
		return nil, []error{netwatch.WithHint(err, "systemd-sysusers netwatch.conf makes him")}
	}
	rights, errs := l.Apply(user, n.reads)
	for _, file := range n.secrets {
		errs = append(errs, closed(user, string(file))...)
	}
	return rights, errs
}

// closed says that the user cannot read a file with a secret in it, if so.
func closed(user access.User, file string) []error {
	w, err := access.Walk(file)
	if err == nil {
		defer w.Close()
		err = w.CheckRead(user)
	}
	if !errors.Is(err, fs.ErrPermission) {
		return nil // It can, or it will say itself what is wrong with the file.
	}
	err = fmt.Errorf("%s cannot read %s, which may hold a secret and is not opened by this", helper.User, file)
	file = netwatch.ShellPath(file)
	hint := "chgrp " + helper.User + " " + file + " && chmod 640 " + file + ", and let the group into its directory"
	return []error{netwatch.WithHint(err, hint)}
}

// elsewhere is the finding that a file is not where its path says, by the doing of
// others than root, so that the helper may not be able to write there.
func elsewhere(file string) error {
	w, err := access.Walk(file)
	if err != nil {
		return nil // The step says so
	}
	defer w.Close()
	if w.LedByRoot() || w.Place() == file {
		return nil
	}
	err = fmt.Errorf("%s leads over a symlink that others than root can change, to %s", file, w.Place())
	return netwatch.WithHint(err, "name the real file in the step: what they lead to is not opened to netwatch's helper")
}
