package actions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"
	"time"

	"netwatch"
	"netwatch/access"
	"netwatch/rewrite"
	sysd "netwatch/systemd"
)

// rotateUsage is what follows the verb.
const rotateUsage = "coturn FILE [private=keep|auto|none]"

// rotateTries is how often a file is read anew because somebody else rewrote
// it in between.
const rotateTries = 5

// rotatePause is how long a file that somebody writes is left to him.
const rotatePause = 100 * time.Millisecond

// A Rotation sets external-ip in a configuration of coturn. It is the step
// `rotate coturn FILE [private=keep|auto|none]`.
type Rotation struct {
	// File may be a symlink; what it leads to is rewritten.
	File    netwatch.Path
	Private Private
	// Local is this machine's own address that coturn relays from if the file
	// does not say it, given the public address of that family; both may be
	// invalid. LocalAddress finds it out.
	Local func(family netwatch.Family, public netip.Addr) netip.Addr
	// Units are those that the other steps of its rule work on.
	Units []string
	// Readers are users who have to be able to read the file; nil is those of the
	// Units that are started with it.
	Readers func(ctx context.Context) []access.Reader

	elsewhere Rotate
	prepare   func()
}

// A Rotate has another process, which may, do a rotation to the public
// addresses, and calls changing as a Job says. It returns false when there is
// none to ask: then this process does it.
type Rotate func(ctx context.Context, r *Rotation, public map[netwatch.Family]netip.Addr, changing func(netwatch.Rewrite) error) (netwatch.Result, bool)

// newRotate makes the step. What comes after it may depend on it.
func newRotate(env Env, verb string, words []string) (netwatch.Step, error) {
	r, err := parseRotation(words)
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, rotateUsage)
	}
	r.elsewhere, r.prepare = env.Rotate, env.PrepareRotate
	return netwatch.Step{Action: r, Gate: true}, nil
}

// parseRotation reads `coturn FILE [private=...]`.
func parseRotation(words []string) (*Rotation, error) {
	switch {
	case len(words) == 0:
		return nil, errors.New("what to rotate is missing, it can be coturn")
	case words[0] != "coturn":
		return nil, fmt.Errorf("%q cannot be rotated, only coturn", words[0])
	case len(words) == 1 || strings.HasPrefix(words[1], "private="):
		return nil, errors.New("the file of coturn is missing")
	}
	file, err := netwatch.ParsePath(words[1])
	r := &Rotation{File: file, Private: PrivateKeep, Local: LocalAddress}
	for i, word := range words[2:] {
		value, ok := strings.CutPrefix(word, "private=")
		switch {
		case err != nil:
		case !ok:
			err = fmt.Errorf("%q is not understood after the file", word)
		case i > 0:
			err = fmt.Errorf("%q is one option too many", word)
		default:
			err = r.Private.UnmarshalText([]byte(value))
		}
	}
	return r, err
}

// Prepare has the process start that rewrites the file, if it is another one.
func (r *Rotation) Prepare() {
	if r.prepare != nil {
		r.prepare()
	}
}

// Do rewrites the file if coturn would advertise another address by it. The
// detail is the addresses before and after.
func (r *Rotation) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	public := make(map[netwatch.Family]netip.Addr)
	for family, a := range job.Known {
		if a.Address.IsValid() {
			public[family] = a.Address
		}
	}
	if len(public) == 0 {
		err := errors.New("the public address is not known yet: no server has told it since netwatch started")
		return netwatch.Failure(netwatch.WithHint(err, "run `netwatch probe` to see what each STUN server says"))
	}
	if r.elsewhere != nil {
		if result, done := r.elsewhere(ctx, r, public, job.Changing); done {
			return result
		}
	}
	for range rotateTries {
		result, err := r.once(ctx, public, job.Changing)
		switch {
		case err == nil:
			return result
		case !errors.Is(err, rewrite.ErrMoved):
			return netwatch.Failure(err)
		}
		select {
		case <-time.After(rotatePause):
		case <-ctx.Done():
		}
	}
	err := fmt.Errorf("rewriting %s: %w, %d times in a row", r.File, rewrite.ErrMoved, rotateTries)
	return netwatch.Failure(netwatch.WithHint(err, "find what else writes this file, such as an old cron job, and remove it"))
}

// once reads the file, and replaces it if another is wanted.
func (r *Rotation) once(ctx context.Context, public map[netwatch.Family]netip.Addr, changing func(netwatch.Rewrite) error) (netwatch.Result, error) {
	f, err := openConf(string(r.File))
	if err != nil {
		return netwatch.Result{}, err
	}
	defer f.Close()
	local := func(f netwatch.Family) netip.Addr { return r.Local(f, public[f]) }
	text, err := Rewrite(f.Text, public, r.Private, local)
	if err != nil {
		return netwatch.Result{}, fmt.Errorf("rewriting %s: %w", r.File, err)
	}
	before, after := Advertised(f.Text), Advertised(text)
	if bytes.Equal(text, f.Text) {
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: list(after)}, nil
	}
	err = f.Replace(ctx, text, r.readers(ctx), changing)
	if who, unreadable := errors.AsType[rewrite.Unreadable](err); unreadable {
		cannot := fmt.Errorf("rewriting %s: coturn (user %s) cannot read it; it would start as an open relay", r.File, who.User)
		return netwatch.Result{}, netwatch.WithHint(cannot, netwatch.Hint(err))
	}
	if err != nil {
		return netwatch.Result{}, err
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: list(before) + " → " + list(after)}, nil
}

// openConf opens a configuration of coturn. An empty one is what a writer leaves
// for an instant who truncates before he writes; replacing it would lose what he
// writes, and coturn without a configuration is an open relay (measured).
func openConf(file string) (*rewrite.File, error) {
	f, err := rewrite.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, netwatch.WithHint(err, "name the file that coturn is started with (turnserver -c FILE)")
	}
	if err == nil && len(f.Text) == 0 {
		f.Close()
		return nil, netwatch.WithHint(fmt.Errorf("reading %s: it is empty: coturn would start as an open relay", file),
			"restore it from a backup; if it is meant to hold nothing else, write a comment line into it")
	}
	return f, err
}

// readers are users who have to be able to read the file. That they cannot be
// found out is no reason to leave the address wrong: owner, mode and ACL stay.
func (r *Rotation) readers(ctx context.Context) []access.Reader {
	if r.Readers != nil {
		return r.Readers(ctx)
	}
	all, err := sysd.Readers(ctx, string(r.File), r.Units)
	if err != nil {
		return nil
	}
	return all
}

// Before tells each rotation among the steps of a rule which units the others work
// on.
func Before(steps []netwatch.Step) {
	var units []string
	for _, s := range steps {
		if unit, _, ok := UnitNeed(s.Action); ok && !slices.Contains(units, unit) {
			units = append(units, unit)
		}
	}
	for _, s := range steps {
		if r, ok := s.Action.(*Rotation); ok {
			r.Units = units
		}
	}
}

// list is the addresses for a person to read.
func list(all []netip.Addr) string {
	if len(all) == 0 {
		return "none"
	}
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
