package daemon

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"netwatch"
	"netwatch/hooks"
)

// What became of an event can be followed by its id: each line of history and of
// the log about it, its steps and its runs has the id, and so has each entry
// that a caller gets.
func TestEverythingHasTheID(t *testing.T) {
	d, log := quiet(t)
	defer d.rules.Drain(t.Context())
	ev := netwatch.NewEvent("x", netwatch.Fired, nil)
	told := make(chan netwatch.Entry, 10)
	if _, err := d.rules.Accept(ev, func(e netwatch.Entry) { told <- e }); err != nil {
		t.Fatal(err)
	}
	for kind := ""; kind != netwatch.EntryRun; {
		select {
		case e := <-told:
			if kind = e.Kind; e.ID != ev.ID {
				t.Errorf("a caller gets %+v", e)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the run does not end")
		}
	}
	kinds := ""
	for _, e := range past(t, d) {
		if kinds += e.Kind + " "; e.ID != ev.ID {
			t.Errorf("in history: %+v", e)
		}
	}
	for line := range strings.Lines(log.String()) {
		var e struct{ Message, ID string }
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.ID != ev.ID {
			t.Errorf("in the log (%v): %s", err, line)
		}
		kinds += e.Message + " "
	}
	if kinds != "event step run event step run " {
		t.Errorf("history and log have: %s", kinds)
	}
}

// A source learns whether its event was accepted. That it compares with what is no
// longer so is between the two of them; that netwatch ends is said.
func TestEmitSaysWhetherItWasAccepted(t *testing.T) {
	d, log := quiet(t)
	file := func(old, is string) netwatch.Event {
		return netwatch.NewEvent(netwatch.FileChanged, "file", map[string]string{"file": "/f", "old": old, "new": is})
	}
	if err := d.emit(file("", "1")); err != nil || d.store.Seen(netwatch.FileChanged, "/f") != "1" {
		t.Errorf("it was not accepted: %v", err)
	}
	before := log.String()
	if err := d.emit(file("0", "2")); !errors.Is(err, hooks.ErrOutdated) || log.String() != before {
		t.Errorf("it compares with what is no longer so: %v, and the log says %s", err, log.String())
	}
	d.rules.Drain(t.Context())
	err := d.emit(file("1", "2"))
	if !errors.Is(err, hooks.ErrDraining) || !strings.Contains(log.String(), hooks.ErrDraining.Error()) {
		t.Errorf("netwatch ends: %v, and the log says %s", err, log.String())
	}
	if seen := d.store.Seen(netwatch.FileChanged, "/f"); seen != "1" {
		t.Errorf("seen is %q", seen)
	}
}
