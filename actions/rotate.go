package actions

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
	sysd "netwatch/systemd"
)

// rotateUsage is what follows the verb.
const rotateUsage = "coturn FILE [private=keep|auto|none]"

// A Rotation sets external-ip in a configuration of coturn. It is the step
// `rotate coturn FILE [private=keep|auto|none]`.
type Rotation struct {
	// File may be a symlink; what it leads to is rewritten.
	File    netwatch.Path
	Private servers.Private
	// Local is this machine's own address that coturn relays from if the file
	// does not say it, given the public address of that family; both may be
	// invalid. LocalAddress finds it out.
	Local func(family netwatch.Family, public netip.Addr) netip.Addr
	// Units are those that the other steps of its rule work on.
	Units []string

	elsewhere Rotate
	prepare   func()
}

// A Rotate has another process, which may, do a rotation, and calls changing as a Job says. It returns false when there is
// none to ask: then this process does it.
type Rotate func(ctx context.Context, c servers.Coturn, changing func(netwatch.Rewrite) error) (netwatch.Result, bool)

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
	r := &Rotation{File: file, Private: servers.PrivateKeep, Local: LocalAddress}
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
	for family, a := range job.Confirmed {
		if a.Address.IsValid() {
			public[family] = a.Address
		}
	}
	if len(public) == 0 {
		err := errors.New("the public address is not known yet: no server has told it since netwatch started")
		return netwatch.Failure(netwatch.WithHint(err, "run `netwatch probe` to see what each STUN server says"))
	}
	c := r.Coturn(public)
	if r.elsewhere != nil {
		if result, done := r.elsewhere(ctx, c, job.Changing); done {
			return result
		}
	}
	c.Readers = r.readers(ctx)
	return c.Rotate(ctx, job.Changing)
}

// Coturn is the configuration and what it is to say.
func (r *Rotation) Coturn(public map[netwatch.Family]netip.Addr) servers.Coturn {
	own := func(f netwatch.Family) netip.Addr { return r.Local(f, public[f]) }
	return servers.Coturn{File: string(r.File), Public: public, Private: r.Private, Own: own}
}

// readers are users who have to be able to read the file. That they cannot be
// found out is no reason to leave the address wrong: owner, mode and ACL stay.
func (r *Rotation) readers(ctx context.Context) []access.Reader {
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
