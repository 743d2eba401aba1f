package history

import (
	"bytes"
	"cmp"
	"context"
	"sync"
	"time"

	"netwatch"
)

const (
	// mostWaiting is how many entries may wait for a disk that hangs. Those beyond are
	// counted.
	mostWaiting = 1024
	// mostBehind is how many entries a follower may lag behind. One that falls behind
	// further is let go.
	mostBehind = 256
	// syncTime is how long what is no change of our address may wait until no power cut
	// can take it.
	syncTime = time.Second
	// closeTime is how long the disk may take for the last entries.
	closeTime = 2 * time.Second
)

// A Log keeps entries in the files of a state directory and hands them to followers. Its
// methods may be called from any goroutine; none waits for the disk but those that say
// so. What is kept is written by a goroutine that is there only while there is something
// to write.
type Log struct {
	writer *writer // of the goroutine that writes

	mu        sync.Mutex // guards what follows
	queue     []item
	waiting   int // entries in queue
	lost      int // entries for which there was no room in it
	writing   bool
	idle      *sync.Cond // writing has become false
	syncing   *time.Timer
	closed    bool
	followers map[chan netwatch.Entry]bool
}

// An item is what the writer is to do: keep an entry, say that it has come so far, or
// end; with none of these, have a power cut take nothing.
type item struct {
	entry   *netwatch.Entry
	reached chan<- marks
	last    bool
}

// marks say how far a log has come in each of the files.
type marks struct{ all, addresses mark }

// A mark is where a file ends, and the lines that should be in it and are not.
type mark struct {
	end  Position
	held []byte
}

// Open makes a log that keeps entries in a state directory, in which it is alone. It
// opens nothing yet, and nothing that is wrong there is an error: told gets a note when
// entries cannot be kept, and when they can be again. Close ends it.
func Open(dir string, told func(netwatch.Entry)) *Log {
	l := &Log{writer: newWriter(dir, told), followers: map[chan netwatch.Entry]bool{}}
	l.idle = sync.NewCond(&l.mu)
	l.syncing = time.AfterFunc(time.Hour, l.syncNow)
	l.syncing.Stop()
	return l
}

// Add keeps an entry and hands it to the followers. One that does not keep up is let go.
func (l *Log) Add(e netwatch.Entry) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.followers {
		select {
		case f <- e:
		default:
			l.drop(f)
		}
	}
	if l.waiting == mostWaiting || l.closed {
		l.lost++
		return
	}
	l.waiting++
	l.enqueue(item{entry: &e})
}

// enqueue gives the writer something to do. l.mu is held.
func (l *Log) enqueue(i item) {
	l.queue = append(l.queue, i)
	if !l.writing {
		l.writing = true
		go l.write()
	}
}

// write does what waits, and returns.
func (l *Log) write() {
	for {
		l.mu.Lock()
		batch, lost := l.queue, l.lost
		l.queue, l.waiting, l.lost = nil, 0, 0
		if len(batch) == 0 {
			l.rest()
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.writer.lose(lost)
		for _, i := range batch {
			l.writer.do(i)
		}
	}
}

// rest notes that nothing is to be written, and when that which was is to be safe. l.mu
// is held.
func (l *Log) rest() {
	l.writing = false
	l.idle.Broadcast()
	if l.writer.owes() && !l.closed {
		l.syncing.Reset(syncTime)
	}
}

// syncNow makes safe what was written, and tries what was refused. The timer calls it.
func (l *Log) syncNow() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.enqueue(item{})
	}
}

// Unkept says since when the disk refuses entries, and why, or is nil. It waits for nothing.
func (l *Log) Unkept() *Unkept {
	return cmp.Or(l.writer.all.refused.Load(), l.writer.addresses.refused.Load())
}

// Follow returns a channel of the entries to come, which is closed if the follower falls
// behind, and up to where the files have those before it, for those of a query. It waits
// for the disk, at most until ctx is done; end is then zero. The caller calls leave once.
func (l *Log) Follow(ctx context.Context, q Query) (end Position, next <-chan netwatch.Entry, leave func()) {
	l.mu.Lock()
	f, reached := make(chan netwatch.Entry, mostBehind), l.mark()
	l.followers[f] = true
	l.mu.Unlock()
	return await(ctx, reached, q).end, f, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.drop(f)
	}
}

// Page reads a page of the files (Reader.Page), which have everything that was added
// before; or, if ctx is done sooner, what they have by then. What the disk refuses is on
// the last page.
func (l *Log) Page(ctx context.Context, q Query, from, to Position) (Page, error) {
	l.mu.Lock()
	reached := l.mark()
	l.mu.Unlock()
	m := await(ctx, reached, q)
	page, err := NewReader(l.writer.dir).Page(q, from, to)
	if err != nil && len(m.held) > 0 {
		err = nil // Why it is held says the same
	}
	if !page.More && to == (Position{}) {
		var held Page // All of it: it is less than a page
		held.take(newScanner(bytes.NewReader(m.held)), q)
		page.Lines = append(page.Lines, held.Lines...)
	}
	return page, err
}

// mark has the writer say when it has come so far. l.mu is held.
func (l *Log) mark() <-chan marks {
	reached := make(chan marks, 1)
	if l.closed {
		close(reached)
		return reached
	}
	l.enqueue(item{reached: reached})
	return reached
}

func await(ctx context.Context, reached <-chan marks, q Query) mark {
	select {
	case m := <-reached:
		if q.Addresses {
			return m.addresses
		}
		return m.all
	case <-ctx.Done():
		return mark{}
	}
}

// drop lets a follower go. l.mu is held.
func (l *Log) drop(f chan netwatch.Entry) {
	if l.followers[f] {
		delete(l.followers, f)
		close(f)
	}
}

// Close has the last entries kept, if the disk does not take too long, and keeps no more.
func (l *Log) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	l.syncing.Stop()
	l.enqueue(item{last: true})
	late := false
	defer time.AfterFunc(closeTime, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		late = true
		l.idle.Broadcast()
	}).Stop()
	for l.writing && !late {
		l.idle.Wait()
	}
}
