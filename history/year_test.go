package history_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/history"
	"netwatch/history/historytest"
)

var update = flag.Bool("update", false, "write the goldens anew")

// What a reader finds in a year: how much of what, and every address.
func TestYear(t *testing.T) {
	dir := t.TempDir()
	if err := historytest.Put(dir); err != nil {
		t.Fatal(err)
	}
	counts, n := map[string]int{}, 0
	r := history.NewReader(dir)
	var last time.Time
	err := r.Read(history.Query{}, func(e netwatch.Entry) {
		n++
		counts[strings.Join([]string{e.Kind, e.Event, e.Rule, string(e.Outcome), e.Noticed, e.After}, " ")]++
		if e.Time.Before(last) {
			t.Errorf("%+v is before %v", e, last)
		}
		last = e.Time
	})
	if err != nil || n != historytest.Entries {
		t.Fatalf("%d entries, %v", n, err)
	}
	var addresses history.Addresses
	if err := r.Read(history.Query{Addresses: true}, addresses.Add); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(counts)) {
		fmt.Fprintf(&text, "%6d %s\n", counts[key], key)
	}
	for _, a := range addresses.Of(history.Query{}, last) {
		fmt.Fprintf(&text, "%s %s %s %.0f %s %s\n", a.Address, a.From.Format(time.RFC3339), a.Until.Format(time.RFC3339),
			a.Seconds, a.Noticed, a.After)
	}
	for _, skipped := range r.Skipped() {
		fmt.Fprintln(&text, strings.ReplaceAll(skipped.Error(), dir, "."))
	}
	golden(t, "year.golden", text.String())
}

// golden compares a text with that of a file.
func golden(t *testing.T, name, text string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s (-) and found (+):\n%s", file, diff)
	}
}

// A hundred thousand entries are read within a second.
func BenchmarkReadYear(b *testing.B) {
	dir := b.TempDir()
	if err := historytest.Put(dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		if err := history.NewReader(dir).Read(history.Query{}, func(netwatch.Entry) { n++ }); err != nil || n < 1000 {
			b.Fatal(n, err)
		}
	}
}

// Who wants a day of them waits for a day of them.
func BenchmarkReadADay(b *testing.B) {
	dir := b.TempDir()
	if err := historytest.Put(dir); err != nil {
		b.Fatal(err)
	}
	q := history.Query{Since: historytest.Begin.AddDate(0, 0, 363)}
	for b.Loop() {
		n := 0
		if err := history.NewReader(dir).Read(q, func(netwatch.Entry) { n++ }); err != nil || n > 1000 {
			b.Fatal(n, err)
		}
	}
}
