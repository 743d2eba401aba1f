package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/history"
)

// kept is a history in a directory of its own.
func kept(t *testing.T) *history.Log {
	t.Helper()
	h := history.Open(t.TempDir(), func(e netwatch.Entry) { t.Errorf("it says %+v", e) })
	t.Cleanup(h.Close)
	return h
}

// note is an entry of a minute of a day, by a source of its own.
func note(i int) netwatch.Entry {
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * time.Minute)
	return netwatch.Entry{Time: at, Kind: netwatch.EntryNote, Source: fmt.Sprint(i), Detail: fmt.Sprint(i)}
}

func TestHistoryInPages(t *testing.T) {
	h := kept(t)
	c := NewClient(serve(t, stub{history: h}))
	const many = 10_000 // Several pages
	for i := range many {
		h.Add(note(i))
		if i%500 == 0 { // It is not to fall behind
			if _, err := h.Page(t.Context(), history.Query{}, history.Position{}, history.Position{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, q := range []history.Query{
		{}, {Since: note(5).Time}, {Until: note(6).Time}, {Since: note(9000).Time, Until: note(9002).Time},
	} {
		var want, got []string
		for i := range many {
			if e := note(i); q.Wants(e) {
				want = append(want, e.Detail)
			}
		}
		r, err := c.History(t.Context(), q, func(e netwatch.Entry) { got = append(got, e.Detail) })
		if !slices.Equal(want, got) || err != nil || r.Damaged != 0 {
			t.Errorf("%+v: %d of %d, %v, %d damaged", q, len(got), len(want), err, r.Damaged)
		}
	}
}

// What comes after the last page is not told twice, and none of it is left out.
func TestHistoryIsFollowed(t *testing.T) {
	h := kept(t)
	c := NewClient(serve(t, stub{history: h}))
	h.Add(note(0))
	var got []string
	each := func(e netwatch.Entry) { got = append(got, e.Detail) }
	r, err := c.History(t.Context(), history.Query{}, each)
	if err != nil {
		t.Fatal(err)
	}
	h.Add(note(1))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err = c.Follow(ctx, history.Query{}, r, func(e netwatch.Entry) {
		switch each(e); e.Detail {
		case "1":
			h.Add(note(2))
		case "2":
			cancel()
		}
	})
	if diff := cmp.Diff([]string{"0", "1", "2"}, got); diff != "" || !errors.Is(err, context.Canceled) {
		t.Errorf("%v\n%s", err, diff)
	}
}

// A damaged line is counted, and what a stranger asks for is refused.
func TestHistoryOverTheSocketIsChecked(t *testing.T) {
	dir := t.TempDir()
	text := "{\"time\":\"2026-11-23T00:00:00Z\",\"kind\":\"note\",\"detail\":\"a\"}\nnonsense\n"
	if err := os.WriteFile(filepath.Join(dir, "history.jsonl"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	h := history.Open(dir, func(netwatch.Entry) {})
	defer h.Close()
	path := serve(t, stub{history: h})
	n := 0
	if r, err := NewClient(path).History(t.Context(), history.Query{}, func(netwatch.Entry) { n++ }); err != nil ||
		n != 1 || r.Damaged != 1 {
		t.Errorf("%d entries, %d damaged, %v", n, r.Damaged, err)
	}
	for _, query := range []string{"since=x", "until=today", "from=-1-5", "from=x", "from=1--5"} {
		resp, err := NewClient(path).send(t.Context(), http.MethodGet, "/v1/history?"+query, nil)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != http.StatusBadRequest {
			t.Errorf("%s is %s", query, resp.Status)
		}
	}
}
