package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"

	"netwatch"
	"netwatch/access"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/helper"
	"netwatch/sources"
)

// recordFile says what files were opened. It is not in the daemon's own
// directory: what is in there, the daemon can write.
const recordFile = "/var/lib/netwatch-grant/access.json"

// readings are the files that the daemon reads itself, and which of them are for
// an administrator to open. Certificates are neither: without their private keys
// they tell nothing, and these are not to be opened. A directory on the way to a
// key may be all that keeps it closed, too.
func readings(cfg *config.Config) (needs []access.Need, secret []netwatch.Path) {
	for _, s := range cfg.Sources {
		if f, ok := s.Settings.(*sources.File); ok {
			for _, file := range f.Files {
				needs = append(needs, access.Need{File: string(file), Watch: true})
			}
		}
	}
	for _, rule := range cfg.Rules {
		for _, step := range rule.Do {
			files, more := actions.FileNeeds(step.Action)
			for _, file := range files {
				needs = append(needs, access.Need{File: string(file)})
			}
			secret = append(secret, more...)
		}
	}
	return needs, secret
}

// open lets the daemon's user read what it has to, and takes the rest back. What
// cannot be opened is said, and no more than that: a daemon that cannot read
// a file does the rest, and says in its status what it cannot do.
func (c *command) open(stderr io.Writer, g *grants, l access.Ledger) {
	rights, errs := apply(g, l)
	for _, r := range rights {
		text := "user:" + helper.User + ":" + r.Perm
		if r.Perm == "" {
			text = "no user:" + helper.User
		}
		if l.Put == nil {
			fmt.Fprintf(c.stdout, "# %s\n%s\n\n", r.Path, text)
		} else {
			fmt.Fprintf(c.stdout, "%s: %s: %s\n", r.Path, text, r.Outcome)
		}
	}
	for _, file := range g.rotated {
		if err := elsewhere(string(file)); err != nil {
			errs = append(errs, err)
		}
	}
	for _, err := range errs {
		report(stderr, fmt.Errorf("granting: %w", err))
	}
}

// apply has the ledger open what the daemon needs, and says which secrets it cannot read.
func apply(g *grants, l access.Ledger) ([]access.Right, []error) {
	if len(g.needs)+len(g.secret) == 0 {
		return l.Revoke()
	}
	user, err := access.Lookup(helper.User)
	if err != nil {
		return nil, []error{netwatch.WithHint(err, "systemd-sysusers netwatch.conf makes him")}
	}
	rights, errs := l.Apply(user, g.needs)
	for _, file := range g.secret {
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
	return []error{netwatch.WithHint(err, "chgrp "+helper.User+" "+file+" && chmod 640 "+file+", and let the group into its directory")}
}
