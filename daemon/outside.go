package daemon

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"netwatch"
	"netwatch/actions"
	"netwatch/control"
	"netwatch/servers"
)

// A fleet is a source that knows other machines, which look at us from outside.
type fleet interface {
	netwatch.Source
	Outside(ctx context.Context, p netwatch.Place) netwatch.Sighting
}

// outside has other machines look at a place, by the named source, or by the first that can
// when name is empty.
func (ws *watchers) outside(ctx context.Context, name string, p netwatch.Place) netwatch.Sighting {
	for _, s := range *ws.live.Load() {
		if f, can := s.(fleet); can && (name == "" || name == s.String()) {
			return f.Outside(ctx, p)
		}
	}
	return netwatch.Sighting{Why: errors.New("there is no source that knows other machines")}
}

// Verify has other machines look at each server whose file the rules rewrite, one after the
// other, and calls each with what came of it. A file that lends nothing is nobody's concern.
func (d controlled) Verify(ctx context.Context, each func(control.Verified)) {
	d.verifying.Lock()
	defer d.verifying.Unlock()
	cfg := d.config.Load()
	var steps []netwatch.Step
	for _, r := range cfg.Rules {
		steps = append(steps, r.Do...)
	}
	for _, t := range cfg.Needs().Rewrites {
		server, err := servers.Named(t.Server)
		if err != nil || server.Offer == nil && server.Calls == nil || ctx.Err() != nil {
			continue
		}
		r := actions.VerifyOutside(ctx, d.env, t.Server, netwatch.Path(t.File), steps, d.store.Confirmed())
		if !errors.Is(r.Err, servers.ErrNoRelays) {
			each(verified(t, r))
		}
	}
}

// verified is a result for a caller. What kept anybody from being asked says nothing of the
// server.
func verified(t servers.Target, r netwatch.Result) control.Verified {
	v := control.Verified{Server: t.Server, File: t.File, Outcome: r.Outcome, Detail: r.Detail}
	if r.Err == nil {
		return v
	}
	v.Error, v.Hint = r.Err.Error(), netwatch.Hint(r.Err)
	if errors.As(r.Err, new(actions.Unasked)) {
		v.Outcome = netwatch.Skipped
	}
	if errors.Is(r.Err, fs.ErrPermission) {
		v.Hint = fmt.Sprintf("have a step `verify %s %s` in a rule, and run netwatch grant: it opens the file to netwatch",
			t.Server, t.File)
	}
	return v
}
