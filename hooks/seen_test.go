package hooks

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// An event about a file is accepted while it compares with what is so, once;
// what netwatch is about to write itself is so from then on. What is fired by
// hand claims nothing.
func TestFileIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		r := rule(gate(do(func(_ context.Context, job netwatch.Job) netwatch.Result {
			runs++
			if job.Event.Fields["new"] == "write" {
				if err := job.Changing(netwatch.Rewrite{Place: "/f", From: "2", To: "ours"}); err != nil {
					return netwatch.Failure(err)
				}
			}
			return netwatch.Result{Outcome: netwatch.Changed}
		})))
		r.On = []string{netwatch.FileChanged}
		b := open(t, t.TempDir(), r)
		defer b.close(t)
		for _, c := range []struct {
			source, file, old, new string
			accepted               bool
			seen                   string
		}{
			{"file", "/f", "", "1", true, "1"},
			{"file", "/f", "", "1", false, "1"},
			{"file", "/f", "0", "2", false, "1"},
			{"file", "/f", "1", "2", true, "2"},
			{netwatch.Fired, "/f", "", "9", true, "2"},
			{"file", "/f", "2", "write", true, "write"},
			{"file", "/f", "2", "3", false, "write"},
			{"file", "/link", "", "4", true, "write"},
		} {
			before := runs
			fields := map[string]string{"file": c.file, "old": c.old, "new": c.new}
			names, err := b.Accept(netwatch.NewEvent(netwatch.FileChanged, c.source, fields), nil)
			if (err == nil) != c.accepted || err != nil && !errors.Is(err, ErrOutdated) {
				t.Errorf("%+v: %v", c, err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			ran := runs - before
			if seen := b.store.Seen(netwatch.FileChanged, "/f"); (len(names) == 1) != c.accepted || (ran == 1) != c.accepted || seen != c.seen {
				t.Errorf("%+v: for rules %v, %d runs, seen is %s", c, names, ran, seen)
			}
		}
		if !b.store.Wrote(netwatch.Rewrite{Place: "/f", From: "2", To: "ours"}) {
			t.Error("what netwatch wrote is not known")
		}
	})
}
