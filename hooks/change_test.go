package hooks

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// at is a moment, in seconds.
func at(seconds float64) time.Time { return time.Unix(1_800_000_000, int64(seconds*1e9)) }

// changed is a change of our address that was confirmed and accepted then.
func changed(confirmed, accepted float64) *change {
	c := &change{moments: netwatch.Moments{Accepted: at(accepted)}}
	if confirmed > 0 {
		c.moments.Confirmed = at(confirmed)
	}
	return c
}

// at has a step end that made something right.
func (c *change) at(set *time.Time, began, ended float64) *change {
	*set, c.righting = at(ended), at(began)
	return c
}

// For how long callers were wrong lies between two bounds, whatever was done.
func TestWrong(t *testing.T) {
	rewritten := func(c *change) *change { return c.at(&c.moments.Rewritten, 12, 13) }
	restarted := func(c *change) *change { return c.at(&c.moments.Restarted, 14, 16) }
	proven := func(c *change) *change { c.moments.Proven = at(17); return c }
	for name, want := range map[string]struct {
		*change
		wrong *netwatch.Wrong
	}{
		"no change":         {nil, nil},
		"nothing was wrong": {proven(changed(5, 10)), nil},
		"the first address": {restarted(rewritten(changed(0, 10))), nil},
		"rewritten":         {rewritten(changed(5, 10)), &netwatch.Wrong{Least: 2, Most: 8}},
		"restarted":         {restarted(rewritten(changed(5, 10))), &netwatch.Wrong{Least: 4, Most: 11}},
		"proven":            {proven(restarted(rewritten(changed(5, 10)))), &netwatch.Wrong{Least: 4, Most: 12}},
		"proven before":     {restarted(proven(rewritten(changed(5, 10)))), &netwatch.Wrong{Least: 4, Most: 12}},
		// Nobody knows since when the file that was rewritten before counts.
		"rewritten before a stop": {restarted(changed(5, 10)), &netwatch.Wrong{Least: 0, Most: 11}},
		"a clock that was set":    {restarted(rewritten(changed(50, 20))), &netwatch.Wrong{Least: 0, Most: 0}},
	} {
		if diff := cmp.Diff(want.wrong, want.change.wrong()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// Of several changes in one run callers are wrong since the first, and what was done
// counts for all of them.
func TestChangesInOneRun(t *testing.T) {
	first, second := changed(5, 10), changed(20, 21)
	first.noticed, second.noticed = netwatch.ByRouter, netwatch.BySTUN
	first.at(&first.moments.Rewritten, 11, 12)
	var none *change
	for _, both := range []*change{first.with(second), second.with(first), none.with(first).with(second).with(nil)} {
		m := both.moments
		if both.noticed != netwatch.ByRouter || !m.Confirmed.Equal(at(5)) || !m.Rewritten.Equal(at(12)) {
			t.Errorf("it is %+v", both)
		}
	}
	if both := changed(0, 3).with(first); !both.moments.Accepted.Equal(at(10)) {
		t.Errorf("one before which there was no address counts: %+v", both)
	}
}

// A run because of a change has its moments, and those of its steps, across tries.
func TestMomentsOfARun(t *testing.T) {
	c := changed(5, 10)
	c.did(netwatch.Step{Gate: true}, netwatch.Unchanged, at(11))
	c.did(netwatch.Step{Applies: true}, netwatch.Skipped, at(11))
	c.did(netwatch.Step{Proof: true}, netwatch.Failed, at(11))
	if m := c.moments; !m.Rewritten.IsZero() || !m.Restarted.IsZero() || !m.Proven.IsZero() || !c.righting.IsZero() {
		t.Errorf("nothing was done, and it is %+v", m)
	}
	before := time.Now()
	c.did(netwatch.Step{Gate: true}, netwatch.Changed, at(11))
	c.did(netwatch.Step{Applies: true}, netwatch.Changed, at(12))
	c.did(netwatch.Step{Applies: true}, netwatch.Failed, at(13))
	c.did(netwatch.Step{Proof: true}, netwatch.Unchanged, at(14))
	for _, moment := range []time.Time{c.moments.Rewritten, c.moments.Restarted, c.moments.Proven} {
		if moment.Before(before) {
			t.Errorf("%+v", c.moments)
		}
	}
	if !c.righting.Equal(at(12)) {
		t.Errorf("it was about to be right at %v", c.righting)
	}
	var e netwatch.Entry
	if c.told(&e); *e.Moments != c.moments {
		t.Errorf("it tells %+v", e.Moments)
	}
}
