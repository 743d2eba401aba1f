package actions

import (
	"context"
	"errors"
	"fmt"

	"netwatch"
	"netwatch/access"
	"netwatch/servers"
	"netwatch/systemd"
)

// rotateUsage is what follows the verb.
var rotateUsage = servers.Usage()

// A rotation sets our address in the configuration of a server. It is the step
// `rotate SERVER FILE [option=value...]`.
type rotation struct {
	servers.Target
	files   Helper
	machine Machine
}

// A Helper is another process, which may rewrite files that this one may not.
type Helper interface {
	// Prepare starts it for a rotation that is likely soon, and returns at once.
	Prepare()
	// Rotate has it do a rotation; changing is called as Job.Changing is. It returns
	// false if there is no helper to ask: then this process does the rotation itself.
	Rotate(ctx context.Context, r servers.Rotation, changing func(netwatch.Replacement) error) (netwatch.Result, bool)
}

// newRotate makes the step. What comes after it may depend on it.
func newRotate(env Env, verb string, words []string) (netwatch.Step, error) {
	target, err := servers.ParseTarget(words)
	if err != nil {
		return netwatch.Step{}, fmt.Errorf("%w: %s %s", err, verb, rotateUsage)
	}
	r := &rotation{Target: target, files: env.Files, machine: env.Machine}
	return netwatch.Step{Action: r, Gate: true}, nil
}

// Needs is to rewrite the file.
func (r *rotation) Needs() Needs { return Needs{Rewrites: []servers.Target{r.Target}} }

// Prepare starts the helper, if there is one.
func (r *rotation) Prepare() {
	if r.files != nil {
		r.files.Prepare()
	}
}

// Do rewrites the file if the server would advertise another address by it. The
// detail is the addresses before and after.
func (r *rotation) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	if len(job.Confirmed) == 0 {
		err := errors.New("the public address is not known yet: no server has told it since netwatch started")
		return netwatch.Failure(netwatch.WithHint(err, "run `netwatch probe` to see what each STUN server says"))
	}
	want := r.To(job.Confirmed, r.machine.here())
	want.Version = r.version(ctx, job.Steps)
	want.Elsewhere = Elsewhere(ctx, r.machine.Bus, want, job.Steps)
	if r.files != nil {
		if result, done := r.files.Rotate(ctx, want, job.Changing); done {
			return result
		}
	}
	want.Readers = r.readers(ctx, job.Steps)
	return want.Do(ctx, job.Changing)
}

// readers are users who have to be able to read the file: those of the units that
// the steps of its rule work on. That they cannot be found out is no reason to leave
// the address wrong: owner, mode and ACL stay.
func (r *rotation) readers(ctx context.Context, steps []netwatch.Step) []access.Reader {
	all, err := systemd.Readers(ctx, r.File, NeedsOf(steps...).UnitNames())
	if err != nil {
		return nil
	}
	return all
}
