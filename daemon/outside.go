package daemon

import (
	"context"
	"errors"

	"netwatch"
	"netwatch/actions"
	"netwatch/control"
)

// A fleet is a source that knows other machines, which look at us from outside.
type fleet interface {
	netwatch.Source
	Outside(ctx context.Context, p netwatch.Place) netwatch.Sighting
}

// outside has other machines look at a place, by the named source, or by the first that can
// when name is empty.
func (ws *watchers) outside(ctx context.Context, name string, p netwatch.Place) netwatch.Sighting {
	if all := those[fleet](ws, name); len(all) > 0 {
		return all[0].Outside(ctx, p)
	}
	return netwatch.Sighting{Why: errors.New("there is no source that knows other machines")}
}

// Verify has other machines look at each server whose file the rules rewrite, one after the
// other, and calls each with what came of it. A file that lends nothing is nobody's concern.
func (d controlled) Verify(ctx context.Context, each func(control.Verified)) {
	cfg := d.config.Load()
	var steps []netwatch.Step
	for _, r := range cfg.Rules {
		steps = append(steps, r.Do...)
	}
	for _, t := range cfg.Needs().Rewrites {
		r, is := actions.VerifyOutside(ctx, d.env, t, steps, d.store.Confirmed())
		if is && ctx.Err() == nil {
			each(verified(t.Server, t.File, r))
		}
	}
}

// verified is a result for a caller. What kept anybody from being asked says nothing of the
// server.
func verified(server, file string, r netwatch.Result) control.Verified {
	v := control.Verified{Server: server, File: file, Outcome: r.Outcome, Detail: r.Detail}
	if r.Err != nil {
		v.Error, v.Hint = r.Err.Error(), netwatch.Hint(r.Err)
	}
	if errors.As(r.Err, new(actions.Unasked)) {
		v.Outcome = netwatch.Skipped
	}
	return v
}
