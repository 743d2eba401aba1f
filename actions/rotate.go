package actions

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
	"netwatch/systemd"
)

// rotateUsage is what follows the verb.
var rotateUsage = servers.Usage()

// A Rotation sets our address in the configuration of a server. It is the step
// `rotate SERVER FILE [option=value...]`.
type Rotation struct {
	servers.Target
	// Local is this machine's own address that the server relays from if the file
	// does not say it, given the public address of that family; both may be
	// invalid. netwatch.OwnAddress finds it out.
	Local func(family netwatch.Family, public netip.Addr) netip.Addr
	// Units are those that the other steps of its rule work on.
	Units []string

	files Rewriter
}

// A Rewriter is another process, which may rewrite files that this one may not.
type Rewriter interface {
	// Prepare has it start for a rotation that is likely soon, and returns at once.
	Prepare()
	// Rotate has it do a rotation, and calls changing as a Job says. It returns false
	// when there is none to ask: then this process does it.
	Rotate(ctx context.Context, r servers.Rotation, changing func(netwatch.Rewrite) error) (netwatch.Result, bool)
}

// newRotate makes the step. What comes after it may depend on it.
func newRotate(env Env, verb string, words []string) (netwatch.Step, error) {
	target, err := servers.ParseTarget(words)
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, rotateUsage)
	}
	r := &Rotation{Target: target, Local: netwatch.OwnAddress, files: env.Files}
	return netwatch.Step{Action: r, Gate: true}, nil
}

// Prepare has the process start that rewrites the file, if it is another one.
func (r *Rotation) Prepare() {
	if r.files != nil {
		r.files.Prepare()
	}
}

// Do rewrites the file if the server would advertise another address by it. The
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
	rotation := r.To(public)
	if r.files != nil {
		if result, done := r.files.Rotate(ctx, rotation, job.Changing); done {
			return result
		}
	}
	rotation.Readers = r.readers(ctx)
	return rotation.Do(ctx, job.Changing)
}

// To is the rotation to these addresses.
func (r *Rotation) To(public map[netwatch.Family]netip.Addr) servers.Rotation {
	own := func(f netwatch.Family) netip.Addr { return r.Local(f, public[f]) }
	return servers.Rotation{Target: r.Target, Public: public, Own: own}
}

// maxConf is the size in bytes of a configuration that is read; they are some
// kilobytes.
const maxConf = 4 << 20

// Bound are the addresses of this machine that the file names to listen at or to
// relay from: none where this process may not read it.
func (r *Rotation) Bound() []netip.Addr {
	conf, err := netwatch.ReadRegular(r.File, maxConf)
	server, unknown := servers.Named(r.Server)
	if err != nil || unknown != nil || server.Bound == nil {
		return nil
	}
	return server.Bound(conf)
}

// readers are users who have to be able to read the file. That they cannot be
// found out is no reason to leave the address wrong: owner, mode and ACL stay.
func (r *Rotation) readers(ctx context.Context) []access.Reader {
	all, err := systemd.Readers(ctx, r.File, r.Units)
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
