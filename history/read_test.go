package history

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// put writes a file of a history directory.
func put(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// detailsOf reads the details of all entries that a query wants, and what was skipped.
func detailsOf(t *testing.T, dir string, q Query) (details []string, skipped string) {
	t.Helper()
	r := NewReader(dir)
	if err := r.Read(q, func(e netwatch.Entry) { details = append(details, e.Detail) }); err != nil {
		t.Fatal(err)
	}
	for _, err := range r.Skipped() {
		skipped += err.Error() + "\n"
	}
	return details, skipped
}

// line is one of history, with a detail.
func line(day, detail string) string {
	return `{"time":"2026-11-` + day + `T12:00:00Z","kind":"note","detail":"` + detail + `"}` + "\n"
}

func TestReadSkipsWhatIsDamaged(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "history.jsonl.before", line("01", "old"))
	put(t, dir, "history.jsonl", strings.Join([]string{
		line("02", "a"), "\x00\xff\n", line("03", strings.Repeat("x", maxLine)), line("04", "b"),
		`{"time":"2026-11-05T12:00:00Z","kind":"no` + "\n", "[]\n\n", "{}\n", line("06", "c"), `{"time":"2026-11-07`,
	}, ""))
	details, skipped := detailsOf(t, dir, Query{})
	if diff := cmp.Diff([]string{"old", "a", "b", "c"}, details); diff != "" {
		t.Error(diff)
	}
	want := "reading the history: " + dir + "/history.jsonl: damaged lines, which are skipped: 5\n"
	if diff := cmp.Diff(want, skipped); diff != "" {
		t.Error(diff)
	}
}

// What is larger than history becomes would keep its reader for hours, as a file with holes.
func TestReadSkipsWhatIsEndless(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "history.jsonl.before", line("01", "endless"))
	put(t, dir, "history.jsonl", line("02", "ours"))
	if err := os.Truncate(filepath.Join(dir, "history.jsonl.before"), 2*maxFile+1); err != nil {
		t.Fatal(err)
	}
	details, skipped := detailsOf(t, dir, Query{})
	diff := cmp.Diff([]string{"ours"}, details)
	if diff != "" || !strings.Contains(skipped, "it is larger than netwatch") {
		t.Error(diff, skipped)
	}
}

func TestReadStrangers(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "elsewhere", line("01", "theirs"))
	put(t, dir, "history.jsonl", line("02", "ours"))
	if err := os.Symlink("elsewhere", filepath.Join(dir, "history.jsonl.before")); err != nil {
		t.Fatal(err)
	}
	details, skipped := detailsOf(t, dir, Query{})
	if diff := cmp.Diff([]string{"ours"}, details); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(skipped, "history.jsonl.before: it is not a regular file (a symlink)") {
		t.Errorf("it says %q", skipped)
	}
}
