package doctor

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"

	"netwatch"
	"netwatch/actions"
	"netwatch/machine"
	"netwatch/servers"
	"netwatch/sources"
)

// checkServed looks whether each coturn serves the certificate of its file, and so does
// whatever else a rule proves that of: one that was renewed is served only once it has
// been read again.
func checkServed(ctx context.Context, s *scene) []Finding {
	var all []func() []Finding
	for _, t := range s.turns() {
		all = append(all, func() []Finding { return s.askServed(ctx, t) })
	}
	for _, r := range s.cfg.Rules {
		for _, step := range r.Do {
			if strings.HasPrefix(step.Text, "verify tls ") && len(actions.NeedsOf(step).Reads) > 0 {
				all = append(all, func() []Finding { return judgeServed(step.Text, step.Do(ctx, netwatch.Job{}), machine.Turn{}) })
			}
		}
	}
	found := make([][]Finding, len(all))
	var wg sync.WaitGroup
	for i, ask := range all {
		wg.Go(func() { found[i] = ask() })
	}
	wg.Wait()
	return slices.Concat(found...)
}

// askServed asks a coturn where callers do. What is wrong with its file, or that it does
// not answer, others say.
func (s *scene) askServed(ctx context.Context, t coturn) []Finding {
	if !t.serves() || !t.unit.Running || s.othersToo(t) {
		return nil
	}
	if _, err := sources.LookCert(t.Certificate.File, ""); err != nil {
		return nil
	}
	at, err := t.offer.At(s.ownOf(netwatch.IPv4))
	if err != nil {
		at, err = t.offer.At(s.ownOf(netwatch.IPv6))
	}
	if err != nil {
		return nil
	}
	result := actions.VerifyTLS(ctx, netip.AddrPortFrom(at, t.TLS), netwatch.Path(t.Certificate.File))
	if result.Err != nil && !errors.Is(result.Err, actions.ErrAnotherServed) {
		return nil
	}
	return judgeServed("certificate by "+t.File, result, t.Turn)
}

// othersToo says whether another coturn may answer at the port for TLS.
func (s *scene) othersToo(t coturn) bool {
	return slices.ContainsFunc(s.turns(), func(o coturn) bool {
		return o.Unit != t.Unit && o.offer != nil && slices.ContainsFunc(o.offer.Listeners, func(l servers.Listener) bool {
			return l.Port == t.TLS && l.Over != servers.UDP
		})
	})
}

// rereads is the command by which a coturn reads its certificate again: by a signal it keeps its
// calls.
func rereads(t machine.Turn) string {
	if t.Renews != "" {
		return "systemctl " + t.Renews + " " + netwatch.ShellPath(t.Unit)
	}
	return "systemctl kill --signal=USR2 " + netwatch.ShellPath(t.Unit)
}

// judgeServed says what a proof of a certificate means. t is the coturn that serves it, if it is
// known.
func judgeServed(what string, result netwatch.Result, t machine.Turn) []Finding {
	if result.Err == nil {
		return []Finding{{OK, what, result.Detail, ""}}
	}
	f := wrong(Problem, what, result.Err)
	if t.Unit != "" {
		f.Hint = fmt.Sprintf("%s has it read the file again; if it serves another one still, "+
			"its user cannot read that or its key: see journalctl -u %s", rereads(t), netwatch.ShellPath(t.Unit))
	}
	return []Finding{f}
}
