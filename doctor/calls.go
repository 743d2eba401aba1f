package doctor

import (
	"context"
	"sync"

	"netwatch"
	"netwatch/actions"
	"netwatch/servers"
)

// checkCalls asks each LiveKit that rules rewrite the file of for candidates, as callers
// do.
func checkCalls(ctx context.Context, s *scene) []Finding {
	var files []string
	for _, r := range s.cfg.Needs().Rewrites {
		if server, err := servers.Named(r.Server); err == nil && server.Calls != nil {
			files = append(files, r.File)
		}
	}
	found := make([]Finding, len(files))
	var wg sync.WaitGroup
	for i, file := range files {
		wg.Go(func() { found[i] = askCalls(ctx, file, s.confirmed()) })
	}
	wg.Wait()
	return found
}

// askCalls asks the LiveKit of a file.
func askCalls(ctx context.Context, file string, known netwatch.Addresses) Finding {
	what := "calls by " + file
	if len(known) == 0 {
		return Finding{Unknown, what, "the public address is not known", ""}
	}
	return judgeRelays(what, actions.VerifyLiveKit(ctx, netwatch.Path(file), known))
}
