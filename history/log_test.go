package history

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"netwatch"
	_ "netwatch/lab/drawn" // Alike in every run
)

// A kept is a log and the notes that it gave.
type kept struct {
	*Log
	t   *testing.T
	dir string

	mu    sync.Mutex
	notes []netwatch.Entry
}

// open opens a log in a directory, as a daemon does: its notes come back to it.
func open(t *testing.T, dir string) *kept {
	t.Helper()
	k := &kept{t: t, dir: dir}
	k.Log = Open(dir, func(e netwatch.Entry) {
		k.mu.Lock()
		k.notes = append(k.notes, e)
		k.mu.Unlock()
		k.Add(e)
	})
	t.Cleanup(k.Close)
	return k
}

// said is what the notes say.
func (k *kept) said() (all []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.notes {
		all = append(all, strings.ReplaceAll(e.Error+e.Detail, k.dir, "DIR"))
	}
	return all
}

// add adds a note with a detail, of a source of its own, and waits for the disk.
func (k *kept) add(details ...string) {
	for _, detail := range details {
		k.Add(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Source: detail, Detail: detail})
	}
	k.settle()
}

// settle waits for the disk, also until a note is kept that it led to.
func (k *kept) settle() {
	for range 2 {
		k.Log.mu.Lock()
		reached := k.mark()
		k.Log.mu.Unlock()
		await(context.Background(), reached, Query{})
	}
}

// change is that our address is another.
func change() netwatch.Entry {
	return netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryEvent, Event: netwatch.IPChanged, Source: "stun", Noticed: netwatch.BySTUN,
		Fields:  map[string]string{"new": "203.0.113.1", "by": "a"},
		Moments: &netwatch.Moments{Accepted: time.Now()},
	}
}

func wantDetails(t *testing.T, dir string, q Query, want ...string) {
	t.Helper()
	details, skipped := detailsOf(t, dir, q)
	if diff := cmp.Diff(want, details); diff != "" || skipped != "" {
		t.Errorf("%s%s", diff, skipped)
	}
}

func TestKeptAcrossRestarts(t *testing.T) {
	dir := t.TempDir()
	for i := range 3 {
		k := open(t, dir)
		k.Add(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Detail: fmt.Sprint(i)})
		k.Close()
		k.Add(netwatch.Entry{Kind: netwatch.EntryNote, Detail: "too late"})
	}
	wantDetails(t, dir, Query{}, "0", "1", "2")
}

// What a power cut left of a line is not made longer, and nothing that follows is lost.
func TestTornLine(t *testing.T) {
	dir := t.TempDir()
	put(t, dir, "history.jsonl", line("01", "whole")+`{"time":"2026-11-02T12:`)
	wantDetails(t, dir, Query{}, "whole") // As yet it could be that it is being written
	open(t, dir).add("next")
	details, skipped := detailsOf(t, dir, Query{})
	if diff := cmp.Diff([]string{"whole", "next"}, details); diff != "" {
		t.Error(diff)
	}
	if !strings.Contains(skipped, "damaged lines, which are skipped: 1") {
		t.Errorf("it says %q", skipped)
	}
}

// Whatever is damaged, the lines that are not are read, and what is appended is.
func TestAnyDamage(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		var text strings.Builder
		var want []string
		for i := range rapid.IntRange(0, 20).Draw(rt, "lines") {
			whole := line("01", fmt.Sprint(i))
			if cut := rapid.IntRange(-len(whole), len(whole)-1).Draw(rt, "cut"); cut >= 0 {
				junk := rapid.SliceOfN(rapid.Byte(), 0, 200).Draw(rt, "junk")
				whole = whole[:cut] + "\x00" + strings.ReplaceAll(string(junk), "\n", "") + "\n"
			} else {
				want = append(want, fmt.Sprint(i))
			}
			text.WriteString(whole)
		}
		text.WriteString(rapid.SampledFrom([]string{"", "{", `{"time":"`, "\x00"}).Draw(rt, "end"))
		put(t, dir, "history.jsonl", text.String())
		k := open(t, dir)
		k.add("appended")
		k.Close()
		details, _ := detailsOf(t, dir, Query{})
		if diff := cmp.Diff(append(want, "appended"), details); diff != "" {
			rt.Error(diff)
		}
	})
}

// The files are bounded, and what is about the address is pushed out by nothing else.
func TestHistoryIsBounded(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	k.writer.all.file.limit = 10_000
	k.Add(change())
	for i := range 2000 {
		k.add(fmt.Sprint(i))
	}
	k.Close()
	for _, name := range []string{"history.jsonl", "history.jsonl.before"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Size() > 10_000 || info.Size() == 0 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	details, _ := detailsOf(t, dir, Query{})
	if n := len(details); n < 100 || details[n-1] != "1999" || details[0] != fmt.Sprint(2000-n) {
		t.Errorf("%d entries, from %s", n, details[0])
	}
	var all Addresses
	if err := NewReader(dir).Read(Query{Addresses: true}, all.Add); err != nil || len(all.all) != 1 {
		t.Errorf("the addresses are %+v, %v", all.all, err)
	}
}

// A page goes on where the last one ended, also when the file was put away meanwhile.
func TestPageAfterTurn(t *testing.T) {
	k := open(t, t.TempDir())
	k.writer.all.file.limit = 1500
	k.add("a", "b")
	page, err := k.Page(t.Context(), Query{}, Position{}, Position{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 20 {
		k.add(fmt.Sprint(i))
	}
	page, err = k.Page(t.Context(), Query{}, page.Next, Position{})
	if first, _, _ := strings.Cut(string(page.Lines), "\n"); err != nil || !strings.Contains(first, `"detail":"0"`) {
		t.Errorf("%v, the next page begins with %s", err, first)
	}
	if page, err = k.Page(t.Context(), Query{}, page.Next, Position{}); err != nil || len(page.Lines) > 0 {
		t.Errorf("%v, after the last page is %s", err, page.Lines)
	}
}

// More than a true source has is counted, and of the others nothing is left out.
func TestTooManyOfOneSource(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	for range mostAnHour + 50 {
		k.Add(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryEvent, Source: "loud", Detail: "loud"})
		k.Add(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryRun, Rule: "busy", Detail: "busy"})
		k.settle()
	}
	k.add("quiet")
	k.Close()
	counts := map[string]int{}
	details, _ := detailsOf(t, dir, Query{})
	for _, d := range details {
		if strings.HasPrefix(d, "more than 600 entries in an hour: the others until ") {
			d = "from now on"
		}
		counts[d]++
	}
	want := map[string]int{
		"loud": mostAnHour, "busy": mostAnHour, "quiet": 1, "from now on": 2,
		"entries of an hour that were counted and not kept: 50": 2,
	}
	if diff := cmp.Diff(want, counts); diff != "" {
		t.Error(diff)
	}
}

// An hour later there is room again.
func TestQuota(t *testing.T) {
	q, now := quota{}, time.Now()
	for range mostAnHour {
		if kept, note := q.take("s", now); !kept || note != "" {
			t.Fatalf("%t, %s", kept, note)
		}
	}
	if kept, note := q.take("s", now); kept || note == "" {
		t.Errorf("one more: %t, %s", kept, note)
	}
	later := now.Add(time.Hour)
	if notes := q.over(later); !strings.HasSuffix(notes["s"], " 1") || len(q) > 0 {
		t.Errorf("after an hour: %v, %v", notes, q)
	}
	if kept, _ := q.take("s", later); !kept {
		t.Error("there is no room after an hour")
	}
}

// What lies in the place of the file and is not ours is not written to, which is said,
// and what came meanwhile is written when it is gone.
func TestStrangersInTheWay(t *testing.T) {
	strangers := map[string]struct {
		make func(path string) error
		said string
	}{
		"a symlink": {
			func(path string) error { return os.Symlink(filepath.Dir(path)+"/elsewhere", path) },
			"it is not a regular file (a symlink)",
		},
		"a pipe":      {func(path string) error { return unix.Mkfifo(path, 0o600) }, "it is not a regular file (a pipe)"},
		"a directory": {func(path string) error { return os.Mkdir(path, 0o700) }, "it is not a regular file (a directory)"},
	}
	if os.Geteuid() == 0 {
		strangers["another's file"] = struct {
			make func(path string) error
			said string
		}{func(path string) error {
			if err := os.WriteFile(path, nil, 0o666); err != nil {
				return err
			}
			return os.Chown(path, 12345, 12345)
		}, "it belongs to a stranger: the user 12345"}
	}
	for name, stranger := range strangers {
		t.Run(name, func(t *testing.T) { besideStranger(t, stranger.make, stranger.said) })
	}
}

func besideStranger(t *testing.T, puts func(path string) error, said string) {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, allName)
	if err := puts(path); err != nil {
		t.Fatal(err)
	}
	k := open(t, dir)
	k.add("a")
	k.add("b")
	if notes := k.said(); len(notes) != 1 || !strings.Contains(notes[0], said) {
		t.Errorf("it says %q", notes)
	}
	if hint := k.notes[0].Hint; !strings.Contains(hint, "mv "+path+" "+path+".away") {
		t.Errorf("the hint is %s", hint)
	}
	page, err := k.Page(t.Context(), Query{}, Position{}, Position{})
	if err != nil || strings.Count(string(page.Lines), "\n") != 3 {
		t.Errorf("meanwhile %s is told, %v", page.Lines, err)
	}
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	k.add("c")
	k.Close()
	details, _ := detailsOf(t, dir, Query{})
	if diff := cmp.Diff([]string{"a", "", "b", "c", "the history is kept again"}, details); diff != "" {
		t.Error(diff)
	}
}

// A disk that refuses for long costs no more memory than a bound, and what that does not
// hold is counted.
func TestRefusedForLong(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, allName)
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	k := open(t, dir)
	long := strings.Repeat("x", 4<<10)
	for i := range 100 {
		k.add(fmt.Sprint(i) + long)
	}
	if k.writer.all.size > mostHeld {
		t.Errorf("%d bytes wait", k.writer.all.size)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	k.add("again")
	k.Close()
	details, _ := detailsOf(t, dir, Query{})
	lacks := fmt.Sprintf("the history is kept again; %s lacks %d entries", path, 100+1+1-(len(details)-1))
	if last := details[len(details)-1]; last != lacks || len(details) < 30 {
		t.Errorf("the last of %d is %q, want %q", len(details), last, lacks)
	}
}

// Who takes the file away loses what it had, and nothing after that.
func TestFileTakenAway(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	k.add("a")
	if err := os.Remove(filepath.Join(dir, allName)); err != nil {
		t.Fatal(err)
	}
	k.add("b")
	wantDetails(t, dir, Query{}, "b")
}

// Entries for which a disk that hangs has no time are counted, and nobody waits.
func TestHungDisk(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	k.Log.mu.Lock()
	k.writing = true // And does not end
	k.Log.mu.Unlock()
	for range mostWaiting + 7 {
		k.Add(change())
	}
	if n := len(k.queue); n != mostWaiting {
		t.Errorf("%d entries wait", n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := k.Page(ctx, Query{}, Position{}, Position{}); err != nil {
		t.Error(err)
	}
	k.write()
	if said := k.said(); len(said) != 1 || !strings.HasSuffix(said[0], "lacks 7 entries") {
		t.Errorf("it says %q", said)
	}
}

// A follower that does not read is let go and holds nobody up.
func TestSlowFollowerIsLetGo(t *testing.T) {
	k := open(t, t.TempDir())
	_, next, leave := k.Follow(t.Context(), Query{})
	defer leave()
	for range mostBehind + 1 {
		k.Add(netwatch.Entry{Kind: netwatch.EntryNote})
	}
	n := 0
	for range next {
		n++
	}
	if n != mostBehind {
		t.Errorf("it got %d entries before it was let go", n)
	}
}

// What follows the end that a follower was told is what he gets.
func TestFollow(t *testing.T) {
	k := open(t, t.TempDir())
	k.add("a", "b")
	end, next, leave := k.Follow(t.Context(), Query{})
	defer leave()
	k.add("c")
	page, err := k.Page(t.Context(), Query{}, Position{}, end)
	if err != nil || strings.Count(string(page.Lines), "\n") != 2 || page.More {
		t.Errorf("before: %s, %v", page.Lines, err)
	}
	if e := <-next; e.Detail != "c" {
		t.Errorf("then: %+v", e)
	}
}

// A power cut takes at most a second: what was written is made safe by itself.
func TestSyncedByItself(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		k := open(t, dir)
		unsynced := func(f *file) bool {
			synctest.Wait()
			k.Log.mu.Lock()
			defer k.Log.mu.Unlock()
			return f.unsynced
		}
		k.add("a")
		if !unsynced(&k.writer.all.file) {
			t.Error("it is safe at once, and a run may have waited for that")
		}
		time.Sleep(syncTime)
		if unsynced(&k.writer.all.file) {
			t.Error("it is not safe after a second")
		}
		k.Add(change())
		k.settle()
		if unsynced(&k.writer.addresses.file) {
			t.Error("a change of the address is not safe at once")
		}
		k.Close()
	})
}

// However long what a stranger says is, it is one line that can be read.
func TestLongEntry(t *testing.T) {
	dir := t.TempDir()
	k := open(t, dir)
	long := strings.Repeat("é\x01", maxLine)
	k.Add(netwatch.Entry{Kind: netwatch.EntryNote, Detail: long, Error: long, Hint: long})
	k.Add(netwatch.Entry{Kind: netwatch.EntryNote, Source: "s", Fields: map[string]string{"a": long}})
	k.Close()
	if details, skipped := detailsOf(t, dir, Query{}); len(details) != 2 || skipped != "" {
		t.Errorf("%d entries, %s", len(details), skipped)
	}
}

// FuzzHistoryFile reads files of anybody, and appends to them.
func FuzzHistoryFile(f *testing.F) {
	f.Add([]byte(line("01", "a")), uint64(0), int64(0))
	f.Add([]byte("{\"time\":\"\n\x00"), uint64(1), int64(5))
	f.Add([]byte(strings.Repeat("x", 2*maxLine)), uint64(7), int64(1<<40))
	f.Fuzz(func(t *testing.T, text []byte, inode uint64, offset int64) {
		dir := t.TempDir()
		put(t, dir, allName, string(text))
		_, _ = detailsOf(t, dir, Query{})
		if _, err := NewReader(dir).Page(Query{}, Position{inode, max(0, offset)}, Position{}); err != nil {
			t.Error(err)
		}
		open(t, dir).add("appended")
		if details, _ := detailsOf(t, dir, Query{}); len(details) == 0 || details[len(details)-1] != "appended" {
			t.Errorf("what was appended is not the last of %q", details)
		}
	})
}

// An entry costs who reports it next to nothing, whatever the disk does.
func BenchmarkAdd(b *testing.B) {
	l := Open(b.TempDir(), func(netwatch.Entry) {})
	defer l.Close()
	e := change()
	e.Moments, e.Source = nil, ""
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if l.Add(e); i%mostWaiting == mostWaiting-1 {
			b.StopTimer() // So that none is lost
			_, _, leave := l.Follow(b.Context(), Query{})
			leave()
			b.StartTimer()
		}
	}
}

// Nor does it cost the daemon much until it is in the file.
func BenchmarkKeep(b *testing.B) {
	w := newWriter(b.TempDir(), func(netwatch.Entry) {})
	defer w.close()
	e := change()
	e.Moments = nil
	b.ReportAllocs()
	for b.Loop() {
		w.quota = quota{}
		w.keep(e)
	}
}
