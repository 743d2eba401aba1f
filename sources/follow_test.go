package sources

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"github.com/rs/zerolog"

	"netwatch"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// A ledger accepts events as the dispatcher does, in memory: one about a file
// only if its field old is what was accepted before.
type ledger struct {
	mu       sync.Mutex
	seen     map[string]string
	noted    []string // what was noted without an event
	refuse   bool
	rewrites []netwatch.Replacement
	log      logbook

	accepted chan netwatch.Event
	// sights are what was read, for those who want to know that it was.
	sights chan string
}

// A logbook is what was logged.
type logbook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// lines is how many lines were logged.
func (b *logbook) lines() int { return strings.Count(b.String(), "\n") }

func newLedger() *ledger {
	return &ledger{
		seen: map[string]string{}, accepted: make(chan netwatch.Event, 1000),
		sights: make(chan string, 100_000),
	}
}

func (l *ledger) env() Env {
	return Env{Seen: l.Seen, See: l.See, Wrote: l.Wrote, Log: zerolog.New(&l.log)}
}

func (l *ledger) Wrote(w netwatch.Replacement) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Contains(l.rewrites, w)
}

// rewrite notes that netwatch gives the file at a place another content.
func (l *ledger) rewrite(place, from, to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rewrites = append(l.rewrites, netwatch.Replacement{
		Place: place, From: netwatch.Fingerprint([]byte(from)),
		To: netwatch.Fingerprint([]byte(to)),
	})
}

func (l *ledger) Seen(event, file string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.seen[event+" "+file]
}

func (l *ledger) See(event, file, fingerprint string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[event+" "+file] = fingerprint
	l.noted = append(l.noted, fingerprint)
	return nil
}

func (l *ledger) emit(ev netwatch.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ev.Name + " " + ev.Fields["file"]
	if l.refuse || l.seen[key] != ev.Fields["old"] {
		return errUnheard
	}
	l.seen[key] = ev.Fields["new"]
	l.accepted <- ev
	return declared(ev)
}

// errUnheard is why an event is not accepted here.
var errUnheard = errors.New("not accepted, for a test")

// declared is no error, and panics if an event is not one of the table or has other
// fields.
func declared(ev netwatch.Event) error {
	kind, ok := netwatch.KnownEvent(ev.Name)
	for field := range ev.Fields {
		ok = ok && slices.Contains(kind.Fields, field)
	}
	if !ok {
		panic(fmt.Sprintf("the table of events does not have %+v", ev))
	}
	return nil
}

func (l *ledger) setRefuse(is bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = is
}

// follower makes a source that says on l.sights what it read.
func (l *ledger) follower(s Settings, name string) *follower {
	f := s.Source(name, l.env()).(*follower)
	read := f.read
	f.read = func(file string) (sight, error) {
		got, err := read(file)
		if err != nil {
			l.sights <- err.Error()
		} else {
			l.sights <- got.fingerprint
		}
		return got, err
	}
	return f
}

// start runs a source until the test ends, and returns what ends it before.
func (l *ledger) start(t *testing.T, f *follower) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, l.emit) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// next is the event that must come next.
func (l *ledger) next(t *testing.T) netwatch.Event {
	t.Helper()
	select {
	case ev := <-l.accepted:
		return ev
	case <-time.After(patience):
		t.Fatalf("no event; log:\n%s", l.log.String())
	}
	return netwatch.Event{}
}

// read waits until something is read that is, or holds, what is wanted.
func (l *ledger) read(t *testing.T, want string) {
	t.Helper()
	last := ""
	deadline := time.After(patience)
	for {
		select {
		case last = <-l.sights:
			if strings.Contains(last, want) {
				return
			}
		case <-deadline:
			t.Fatalf("%q was not read, but %q", want, last)
		}
	}
}

// none fails if there was an event.
func (l *ledger) none(t *testing.T) {
	t.Helper()
	select {
	case ev := <-l.accepted:
		t.Fatalf("an event: %v", ev.Fields)
	default:
	}
}

// check stops the test at an error of preparing it.
func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	check(t, os.WriteFile(file, []byte(text), 0o600))
}

// replace writes a new file and renames it over the old one, as editors do.
func replace(t *testing.T, file, text string) {
	t.Helper()
	write(t, file+".tmp", text)
	check(t, os.Rename(file+".tmp", file))
}

// link replaces a symlink by removing it and making it anew, as certbot and
// YunoHost do.
func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	check(t, os.Symlink(target, name))
}

// A way is how certificates get into place, by the system calls that were
// measured on the real thing.
type way struct {
	name string
	// inPlace says that a file is empty, and then half written, for an instant.
	inPlace bool
	// prepare makes what is there once, and returns the certificate's file.
	prepare func(t *testing.T, dir string) string
	// renew puts the nth pair into place.
	renew func(t *testing.T, dir string, n int, p issued)
}

var ways = []way{
	{
		name: "certbot",
		prepare: func(t *testing.T, dir string) string {
			check(t, os.MkdirAll(dir+"/archive/example.org", 0o700))
			check(t, os.MkdirAll(dir+"/live/example.org", 0o700))
			return dir + "/live/example.org/fullchain.pem"
		},
		renew: func(t *testing.T, dir string, n int, p issued) {
			live, archive := dir+"/live/example.org/", dir+"/archive/example.org/"
			names := map[string]string{"privkey": p.key, "cert": p.leaf, "chain": p.ca, "fullchain": p.chain}
			for _, name := range []string{"privkey", "cert", "chain", "fullchain"} {
				write(t, fmt.Sprintf("%s%s%d.pem", archive, name, n), names[name])
			}
			for name := range names {
				link(t, fmt.Sprintf("../../archive/example.org/%s%d.pem", name, n-1), live+"previous_"+name+".pem")
			}
			for _, name := range []string{"cert", "privkey", "chain", "fullchain"} {
				link(t, fmt.Sprintf("../../archive/example.org/%s%d.pem", name, n), live+name+".pem")
			}
			for name := range names {
				check(t, os.Remove(live+"previous_"+name+".pem"))
			}
		},
	},
	{
		name:    "YunoHost",
		prepare: func(_ *testing.T, dir string) string { return dir + "/example.org/crt.pem" },
		renew: func(t *testing.T, dir string, n int, p issued) {
			history := fmt.Sprintf("%s/example.org-history/%d-letsencrypt", dir, n)
			check(t, os.MkdirAll(history, 0o755))
			write(t, dir+"/key.tmp", p.key)
			check(t, os.Rename(dir+"/key.tmp", history+"/key.pem"))
			write(t, history+"/crt.pem", p.chain)
			link(t, history, dir+"/example.org")
		},
	},
	{
		name:    "acme.sh",
		inPlace: true,
		prepare: func(t *testing.T, dir string) string {
			check(t, os.Mkdir(dir+"/example.org_ecc", 0o700))
			return dir + "/example.org_ecc/fullchain.cer"
		},
		renew: func(t *testing.T, dir string, _ int, p issued) {
			at := dir + "/example.org_ecc/"
			write(t, at+"example.org.cer", p.leaf) // Opened with O_TRUNC
			write(t, at+"ca.cer", p.ca)
			write(t, at+"example.org.key", p.key)
			write(t, at+"fullchain.cer", p.chain)
		},
	},
	{
		name: "Kubernetes",
		prepare: func(t *testing.T, dir string) string {
			check(t, os.Symlink("..data/tls.crt", dir+"/tls.crt"))
			check(t, os.Symlink("..data/tls.key", dir+"/tls.key"))
			return dir + "/tls.crt"
		},
		renew: func(t *testing.T, dir string, n int, p issued) {
			before, _ := os.Readlink(dir + "/..data")
			data := fmt.Sprintf("..2026_%d", n)
			check(t, os.Mkdir(dir+"/"+data, 0o700))
			write(t, dir+"/"+data+"/tls.crt", p.chain)
			write(t, dir+"/"+data+"/tls.key", p.key)
			check(t, os.Symlink(data, dir+"/..data_tmp"))
			check(t, os.Rename(dir+"/..data_tmp", dir+"/..data"))
			if before != "" {
				check(t, os.RemoveAll(dir+"/"+before))
			}
		},
	},
	{
		name:    "an editor",
		prepare: func(_ *testing.T, dir string) string { return dir + "/server.crt" },
		renew: func(t *testing.T, dir string, _ int, p issued) {
			replace(t, dir+"/server.crt", p.chain)
			replace(t, dir+"/server.key", p.key)
		},
	},
}

// renewals is how often each way is gone, one renewal after the event of the one
// before.
const renewals = 50

// Each way is seen each time, exactly once and as what it is: by cert as another
// leaf, and by file as another content. The ways are gone side by side, as most
// of the time is quiet time.
func TestEachRenewal(t *testing.T) {
	var all []*trial
	for _, w := range ways {
		tr := &trial{way: w, dir: t.TempDir(), certs: newLedger(), files: newLedger()}
		tr.file = w.prepare(t, tr.dir)
		w.renew(t, tr.dir, 1, pairs()[1])
		tr.content = netwatch.Fingerprint([]byte(pairs()[1].chain))
		path := []netwatch.Path{netwatch.Path(tr.file)}
		tr.certs.start(t, tr.certs.follower(&Cert{Files: path}, "cert"))
		tr.files.start(t, tr.files.follower(&File{Files: path}, "file"))
		tr.certs.read(t, pairs()[1].fingerprint)
		tr.files.read(t, tr.content)
		all = append(all, tr)
	}
	for n := 2; n < 2+renewals; n++ {
		for _, tr := range all {
			tr.way.renew(t, tr.dir, n, pairs()[n])
		}
		for _, tr := range all {
			wantRenewal(t, tr.certs.next(t), tr.file, pairs()[n-1], pairs()[n])
			tr.wantRewrite(t, netwatch.Fingerprint([]byte(pairs()[n].chain)))
		}
	}
	for _, tr := range all {
		tr.certs.none(t)
		tr.files.none(t)
	}
}

// A trial is a way with sources of both kinds.
type trial struct {
	way          way
	dir, file    string
	certs, files *ledger
	content      string // that was told last
}

// wantRewrite wants the event of another content. What is written in place may
// be seen half written, if its writer pauses for long; it then is another in the
// end.
func (tr *trial) wantRewrite(t *testing.T, want string) {
	t.Helper()
	for tr.content != want {
		ev := tr.files.next(t)
		got := ev.Fields
		if got["new"] != want && !tr.way.inPlace || got["old"] != tr.content || got["file"] != tr.file ||
			ev.Name != netwatch.FileChanged {
			t.Fatalf("%s: %s %v, wanted old %s, new %s", tr.way.name, ev.Name, got, tr.content, want)
		}
		tr.content = got["new"]
	}
}

func wantRenewal(t *testing.T, ev netwatch.Event, file string, before, after issued) {
	t.Helper()
	f := ev.Fields
	if ev.Name != netwatch.CertRenewed || ev.Source != "cert" || f["file"] != file || f["old"] != before.fingerprint ||
		f["new"] != after.fingerprint || f["names"] != "example.org,192.0.2.1" || f["not-after"] != "2036-01-02T03:04:05Z" {
		t.Fatalf("%s of %s from %s, wanted old %s, new %s: %v", ev.Name, file, ev.Source, before.fingerprint,
			after.fingerprint, f)
	}
}

// Renewals that come faster than the quiet time: the last is always seen.
func TestStorms(t *testing.T) {
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			dir, l := t.TempDir(), newLedger()
			file := w.prepare(t, dir)
			l.start(t, l.follower(&Cert{Files: []netwatch.Path{netwatch.Path(file)}}, "cert"))
			l.read(t, "")
			events, done := 0, 0
			for storm := range 2 {
				// Somewhat longer than even a constant writer is waited for.
				n := 0
				for began := time.Now(); time.Since(began) < time.Second; n++ {
					w.renew(t, dir, 1000*storm+n+2, pairs()[n%len(pairs())])
				}
				done += n
				last := pairs()[(n-1)%len(pairs())]
				for l.Seen(netwatch.CertRenewed, file) != last.fingerprint {
					l.next(t)
					events++
				}
			}
			t.Logf("%d events of %d renewals", events, done)
		})
	}
}

// One who never stops writing, and never the same, cannot keep a change from
// being seen within a second.
func TestConstantWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		f := blindly(l, &File{Files: []netwatch.Path{"/file"}}, nil)
		n := 0
		f.read = func(string) (sight, error) {
			n++
			return sight{fingerprint: fmt.Sprint(n)}, nil
		}
		l.start(t, f)
		synctest.Wait()
		for range 100 {
			f.watch.notify.Events <- fsnotify.Event{Name: "/file", Op: fsnotify.Write}
			time.Sleep(10 * time.Millisecond)
		}
		if len(l.accepted) == 0 {
			t.Error("no event within a second")
		}
	})
}

// Whatever is not there at first or is replaced as a whole is seen when it
// comes.
func TestAncestors(t *testing.T) {
	for _, test := range []struct {
		name   string
		before func(t *testing.T, dir string)
		after  func(t *testing.T, dir string)
		old    string
	}{
		{"nothing is there", func(*testing.T, string) {}, func(t *testing.T, dir string) {
			check(t, os.MkdirAll(dir+"/a/b/c", 0o700))
			write(t, dir+"/a/b/c/file", "new")
		}, none},
		{"the directories come one by one", func(*testing.T, string) {}, func(t *testing.T, dir string) {
			check(t, os.Mkdir(dir+"/a", 0o700))
			check(t, os.Mkdir(dir+"/a/b", 0o700))
			check(t, os.Mkdir(dir+"/a/b/c", 0o700))
			write(t, dir+"/a/b/c/file", "new")
		}, none},
		{"its directory is replaced", tree, func(t *testing.T, dir string) {
			check(t, os.Rename(dir+"/a/b/c", dir+"/a/b/c.old"))
			check(t, os.Mkdir(dir+"/a/b/c", 0o700))
			write(t, dir+"/a/b/c/file", "new")
		}, netwatch.Fingerprint([]byte("old"))},
		{"a directory above is replaced", tree, func(t *testing.T, dir string) {
			check(t, os.MkdirAll(dir+"/next/b/c", 0o700))
			write(t, dir+"/next/b/c/file", "new")
			check(t, os.Rename(dir+"/a", dir+"/a.old"))
			check(t, os.Rename(dir+"/next", dir+"/a"))
		}, netwatch.Fingerprint([]byte("old"))},
		{"all is removed and made anew", tree, func(t *testing.T, dir string) {
			check(t, os.RemoveAll(dir+"/a"))
			check(t, os.MkdirAll(dir+"/a/b/c", 0o700))
			write(t, dir+"/a/b/c/file", "new")
		}, netwatch.Fingerprint([]byte("old"))},
		{"a symlink in the middle leads elsewhere", tree, func(t *testing.T, dir string) {
			check(t, os.MkdirAll(dir+"/elsewhere/c", 0o700))
			write(t, dir+"/elsewhere/c/file", "new")
			check(t, os.RemoveAll(dir+"/a/b"))
			check(t, os.Symlink("../elsewhere", dir+"/a/b"))
		}, netwatch.Fingerprint([]byte("old"))},
		{"a symlink that leads nowhere gets its target", func(t *testing.T, dir string) {
			check(t, os.MkdirAll(dir+"/a/b/c", 0o700))
			check(t, os.Symlink("../../../x/y", dir+"/a/b/c/file"))
		}, func(t *testing.T, dir string) {
			check(t, os.Mkdir(dir+"/x", 0o700))
			write(t, dir+"/x/y", "new")
		}, none},
		{"a loop of symlinks is cut", func(t *testing.T, dir string) {
			check(t, os.MkdirAll(dir+"/a/b/c", 0o700))
			write(t, dir+"/a/b/c/file", "old")
			check(t, os.Rename(dir+"/a/b", dir+"/a/d"))
			check(t, os.Symlink("e", dir+"/a/b"))
			check(t, os.Symlink("b", dir+"/a/e"))
		}, func(t *testing.T, dir string) {
			write(t, dir+"/a/d/c/file", "new")
			link(t, "d", dir+"/a/e")
		}, netwatch.Fingerprint([]byte("seen long ago"))},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			dir, l := t.TempDir(), newLedger()
			file := dir + "/a/b/c/file"
			test.before(t, dir)
			if test.old == netwatch.Fingerprint([]byte("seen long ago")) {
				check(t, l.See(netwatch.FileChanged, file, test.old))
			}
			f := l.follower(&File{Files: []netwatch.Path{netwatch.Path(file)}}, "file")
			l.start(t, f)
			l.read(t, "")
			test.after(t, dir)
			if got := l.next(t).Fields; got["old"] != test.old || got["new"] != netwatch.Fingerprint([]byte("new")) {
				t.Error(got)
			}
			replace(t, file, "newer") // Where it is now: nothing above moves
			if got := l.next(t).Fields; got["new"] != netwatch.Fingerprint([]byte("newer")) {
				t.Error(got)
			}
		})
	}
}

// tree is a file with something above it.
func tree(t *testing.T, dir string) {
	check(t, os.MkdirAll(filepath.Join(dir, "a/b/c"), 0o700))
	write(t, dir+"/a/b/c/file", "old")
}

// said is a trouble as it is told, each part with its remedy.
func said(err error) string {
	var all []string
	for _, part := range netwatch.Parts(err) {
		all = append(all, part.Error())
		if hint := netwatch.Hint(part); hint != "" {
			all = append(all, "hint: "+hint)
		}
	}
	return strings.Join(all, "\n")
}
