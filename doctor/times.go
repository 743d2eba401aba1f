package doctor

import (
	"context"
	"path"
	"slices"
	"strings"

	"netwatch"
	"netwatch/sources"
)

// checkTimes looks whether the times that rules wait for are those of a timer.
func checkTimes(_ context.Context, s *scene) (found []Finding) {
	var times []string
	for _, source := range s.cfg.Sources {
		if timer, is := source.Settings.(sources.Clocked); is {
			times = append(times, timer.Times()...)
		}
	}
	hint := "add a [source.timer], as with at = [\"04:30\"]"
	if len(times) > 0 {
		hint = "write its match by a time that there is, or give [source.timer] another: there are " +
			strings.Join(times, ", ")
	}
	for _, rule := range s.cfg.Rules {
		heeded := func(at string) bool { return comes(rule.Match, at) }
		if slices.Contains(rule.On, netwatch.Due) && !slices.ContainsFunc(times, heeded) {
			found = append(found, Finding{Warning, "rule " + rule.Name, "it waits for a time that no [source.timer] has", hint})
		}
	}
	return found
}

// comes says whether a rule with this match heeds a time.
func comes(match map[string]string, at string) bool {
	pattern, matches := match["at"]
	fits, _ := path.Match(pattern, at) // It was parsed
	return fits || !matches
}
