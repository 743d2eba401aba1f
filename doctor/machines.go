package doctor

import (
	"context"
	"fmt"
	"path"
	"slices"
	"time"

	"netwatch"
	"netwatch/config"
	"netwatch/sources"
)

// checkMachines looks how the other machines stand, and whether rules wait for one that
// was never heard. That the broker is not reached is among the daemon's troubles.
func checkMachines(_ context.Context, s *scene) (found []Finding) {
	if !s.cfg.Tells() {
		return s.deafRules(nil)
	}
	d, err := s.daemon()
	if err != nil {
		return nil // That is said of the daemon
	}
	for _, p := range d.Peers {
		found = append(found, s.judgePeer(p))
	}
	return append(found, s.deafRules(d.Peers)...)
}

// onlyTells says whether this machine tells others what it sees, as a router does, and needs
// no public address itself.
func (s *scene) onlyTells() bool {
	asks := func(source config.Source) bool {
		_, is := source.Settings.(sources.Asking)
		return is
	}
	return s.cfg.Tells() && !slices.ContainsFunc(s.cfg.Sources, asks) &&
		len(s.cfg.Needs().Rewrites) == 0
}

// judgePeer says how another machine stands.
func (s *scene) judgePeer(p netwatch.Peer) Finding {
	what, since := "machine "+p.Peer, p.Since.Local().Format("2006-01-02 15:04")
	switch p.State {
	case netwatch.PeerHere:
		return Finding{OK, what, "it is connected to the broker since " + since, ""}
	case netwatch.PeerGone:
		hint := "see there whether it runs: netwatch status"
		if time.Since(p.Since) > longGone {
			hint = "if it is no more, " + s.forgetting(p.Peer)
		}
		return Finding{Warning, what, "it is gone since " + since, hint}
	}
	return Finding{
		Unknown, what, "nothing is heard of it since " + since,
		"see whether it reaches the broker: netwatch probe, here and there",
	}
}

// deafRules are those that wait for another machine that is none of those heard.
func (s *scene) deafRules(heard []netwatch.Peer) (found []Finding) {
	for _, rule := range s.cfg.Rules {
		pattern, matches := rule.Match["peer"]
		fits := func(p netwatch.Peer) bool {
			is, _ := path.Match(pattern, p.Peer) // It was parsed
			return is
		}
		if matches && slices.Contains(rule.On, netwatch.PeerChanged) && !slices.ContainsFunc(heard, fits) {
			found = append(found, Finding{
				Warning, "rule " + rule.Name, fmt.Sprintf("it waits for a machine %s, and none was ever heard", pattern),
				"write its match by the `host` of [source.mqtt] there, and have netwatch run there",
			})
		}
	}
	return found
}
