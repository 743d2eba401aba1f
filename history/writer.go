package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"netwatch"
)

// A writer keeps entries in files. It is used by one goroutine at a time.
type writer struct {
	dir            string
	all, addresses *keeper
	quota          quota
}

// newWriter makes a writer of the files in a state directory.
func newWriter(dir string, told func(netwatch.Entry)) *writer {
	keep := func(name string) *keeper {
		return &keeper{file: file{dir: dir, name: name, limit: maxFile}, told: told}
	}
	return &writer{dir: dir, all: keep(allName), addresses: keep(addressesName), quota: quota{}}
}

// do does what an item wants.
func (w *writer) do(i item) {
	switch {
	case i.reached != nil:
		i.reached <- marks{w.all.end(), w.addresses.end()}
	case i.entry != nil:
		w.keep(*i.entry)
	case i.last:
		w.close()
	default:
		w.all.settle()
		w.addresses.settle() // If the disk was busy with what came before
	}
}

// keep keeps an entry.
func (w *writer) keep(e netwatch.Entry) {
	now := time.Now()
	for who, note := range w.quota.over(now) {
		w.note(who, note)
	}
	line := encode(e)
	if aboutAddress(e) {
		w.addresses.keep(line)
		w.addresses.settle()
	}
	kept, note := w.quota.take(whose(e), now)
	if note != "" {
		w.note(whose(e), note)
	}
	if kept {
		w.all.keep(line)
	}
}

// note keeps a note about what is not kept.
func (w *writer) note(who, text string) {
	w.all.keep(encode(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Source: who, Detail: text}))
}

// lose counts entries that never came here.
func (w *writer) lose(n int) { w.all.lost += n }

// unsynced says whether a power cut could take something.
func (w *writer) unsynced() bool { return w.all.file.unsynced || w.addresses.file.unsynced }

// close says what was counted, makes all safe and closes the files.
func (w *writer) close() {
	for who, note := range w.quota.over(time.Now().Add(time.Hour)) {
		w.note(who, note)
	}
	w.all.close()
	w.addresses.close()
}

// A keeper keeps lines in a file, and says when that cannot be, once.
type keeper struct {
	file file
	told func(netwatch.Entry)
	// refused says that the last line was not kept, and lost how many were not.
	refused bool
	lost    int

	syncing atomic.Bool
	syncs   sync.WaitGroup
	unsafe  bool // the last sync failed
}

// keep keeps a line.
func (k *keeper) keep(line []byte) {
	err := k.file.append(line)
	note := netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote}
	switch {
	case err != nil:
		k.lost++
		if k.refused {
			return
		}
		err = k.file.refused(err)
		k.refused, note.Error, note.Hint = true, err.Error(), netwatch.Hint(err)
	case k.lost > 0:
		note.Detail = fmt.Sprintf("the history is kept again: %s lacks %d entries", k.file.path(), k.lost)
		k.refused, k.lost = false, 0
	default:
		return
	}
	k.told(note)
}

// settle has a power cut take nothing, soon: a slow disk holds up no line. While one goes
// on, there is none other.
func (k *keeper) settle() {
	if k.file.out == nil || !k.file.unsynced || !k.syncing.CompareAndSwap(false, true) {
		return
	}
	owed := k.file.owed()
	k.syncs.Go(func() {
		defer k.syncing.Store(false)
		k.synced(owed())
	})
}

// synced says that lines could not be made safe, once.
func (k *keeper) synced(err error) {
	if err != nil && !k.unsafe {
		err = k.file.refused(err)
		k.told(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Error: err.Error(), Hint: netwatch.Hint(err)})
	}
	k.unsafe = err != nil
}

// close makes all safe and closes the file.
func (k *keeper) close() {
	k.syncs.Wait()
	k.synced(k.file.sync())
	k.file.close()
}

// end is up to where the file has everything.
func (k *keeper) end() Position {
	if k.file.out == nil {
		return Position{}
	}
	return Position{identity(k.file.out), k.file.size}
}

// encode makes the line of an entry. One that is too long loses the end of its texts, and
// then its fields.
func encode(e netwatch.Entry) []byte {
	line := lineOf(e)
	if len(line) > maxLine {
		e.Detail, e.Error, e.Hint = cut(e.Detail), cut(e.Error), cut(e.Hint)
		line = lineOf(e)
	}
	if len(line) > maxLine {
		e.Fields = nil
		line = lineOf(e)
	}
	return line
}

func lineOf(e netwatch.Entry) []byte {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetEscapeHTML(false)
	_ = out.Encode(e) // Every entry can be encoded
	return text.Bytes()
}

// cut is a text without what makes a line too long.
func cut(text string) string { return text[:min(len(text), maxLine/32)] }
