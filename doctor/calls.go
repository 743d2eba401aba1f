package doctor

import (
	"context"
	"slices"
	"sync"

	"netwatch"
	"netwatch/actions"
	"netwatch/servers"
)

// checkCalls asks each LiveKit that runs, or that rules rewrite the file of, for candidates,
// as callers do.
func checkCalls(ctx context.Context, s *scene) []Finding {
	var files []string
	for _, u := range s.inUse() {
		if u.Calls != nil {
			files = append(files, u.File)
		}
	}
	for _, r := range s.cfg.Needs().Rewrites {
		known := func(file string) bool { return s.sameFile(file, r.File) }
		if server, err := servers.Named(r.Server); err == nil && server.Calls != nil && !slices.ContainsFunc(files, known) {
			files = append(files, r.File)
		}
	}
	found := make([]Finding, len(files))
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() { found[i] = s.askCalls(ctx, file) })
	}
	wg.Wait()
	return found
}

// askCalls asks the LiveKit of a file, which a unit runs if one was found.
func (s *scene) askCalls(ctx context.Context, file string) Finding {
	what, unit, known := "calls by "+file, s.unitOf(file), s.confirmed()
	if len(known) == 0 {
		return Finding{Unknown, what, "the public address is not known", ""}
	}
	if f, rests := s.rests(ctx, what, unit); rests {
		return f
	}
	var steps []netwatch.Step
	for _, r := range s.cfg.Rules {
		steps = append(steps, r.Do...)
	}
	f := judgeRelays(what, actions.VerifyLiveKit(ctx, netwatch.Path(file), steps, known))
	if unit != "" {
		f.Found = unit + ": " + f.Found
	}
	return f
}
