package history

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
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
		i.reached <- marks{w.all.mark(), w.addresses.mark()}
	case i.entry != nil:
		w.keep(*i.entry)
	case i.last:
		w.close()
	default:
		w.all.write()
		w.all.settle()
		w.addresses.write()
		w.addresses.settle()
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

// owes says whether a power cut could take something.
func (w *writer) owes() bool { return w.all.owes() || w.addresses.owes() }

func (k *keeper) owes() bool { return k.file.unsynced || len(k.held) > 0 }

// close says what was counted, and makes all safe.
func (w *writer) close() {
	for who, note := range w.quota.over(time.Now().Add(time.Hour)) {
		w.note(who, note)
	}
	w.all.close()
	w.addresses.close()
}

// mostHeld is how many bytes of lines wait for a disk that refuses them.
const mostHeld = maxPage

// A keeper keeps lines in a file. What the disk refuses waits, as far as there is room,
// and that is said once.
type keeper struct {
	file file
	told func(netwatch.Entry)
	// held are lines that are not in the file, and size is how many bytes they are.
	held [][]byte
	size int
	// refused says why the last line was not taken, and is read by others too; lost is how
	// many will never be.
	refused atomic.Pointer[Unkept]
	lost    int

	syncing atomic.Bool
	syncs   sync.WaitGroup
	unsafe  bool // the last sync failed
}

// keep keeps a line.
func (k *keeper) keep(line []byte) {
	k.held, k.size = append(k.held, line), k.size+len(line)
	for k.size > mostHeld {
		k.lost++
		k.size -= len(k.held[0])
		k.held = k.held[1:]
	}
	k.write()
}

// write writes what is held.
func (k *keeper) write() {
	done := 0
	for ; done < len(k.held); done++ {
		if err := k.file.append(k.held[done]); err != nil {
			k.refuse(err)
			break
		}
		k.size -= len(k.held[done])
	}
	k.held = slices.Delete(k.held, 0, done)
	if len(k.held) == 0 && (k.refused.Load() != nil || k.lost > 0) {
		note := "the history is kept again"
		if k.lost > 0 {
			note += fmt.Sprintf("; %s lacks %d entries", k.file.path(), k.lost)
		}
		k.refused.Store(nil)
		k.lost = 0
		k.told(netwatch.Entry{Time: time.Now(), Kind: netwatch.EntryNote, Detail: note})
	}
}

// An Unkept says that entries are not in the files.
type Unkept struct {
	// Since is when the disk first refused one.
	Since time.Time `json:"since"`
	// Error is why it refused one last.
	Error string `json:"error"`
	// Hint is the remedy.
	Hint string `json:"hint,omitempty"`
}

// refuse notes that the disk does not take lines, and says so once.
func (k *keeper) refuse(err error) {
	why := k.file.refused(err)
	u, before := &Unkept{Since: time.Now(), Error: why.Error(), Hint: netwatch.Hint(why)}, k.refused.Load()
	if before != nil {
		u.Since = before.Since
	}
	k.refused.Store(u)
	if before == nil {
		k.say(why)
	}
}

// say tells what is wrong, as refused explains it.
func (k *keeper) say(err error) {
	k.told(netwatch.Entry{
		Time: time.Now(), Kind: netwatch.EntryNote,
		Error: "keeping the history: " + err.Error(), Hint: netwatch.Hint(err),
	})
}

// settle has a power cut take nothing, soon: a slow disk holds up no line. While one goes
// on, there is none other.
func (k *keeper) settle() {
	if !k.file.unsynced || !k.syncing.CompareAndSwap(false, true) {
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
		k.say(k.file.refused(err))
	}
	k.unsafe = err != nil
}

// close makes all safe.
func (k *keeper) close() {
	k.write()
	k.syncs.Wait()
	k.settle()
	k.syncs.Wait()
}

// mark says how far the file goes.
func (k *keeper) mark() mark {
	return mark{k.file.end(), bytes.Join(k.held, nil)}
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
