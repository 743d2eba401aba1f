package simulate

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var (
	breaking = flag.Int("breaks", 1, "how many of the breaks are tried, a sample; -1 is all")
	broke    = flag.String("break", "", "the break that is tried, by a word of its name")
	from     = flag.Int("from", 0, "the first break that is tried")
)

// A fault is one line of the program made wrong, and within how many seeds that is found.
type fault struct {
	name, file string
	from, to   string
	seeds      int
}

// breaks are lines of the program that must not be otherwise.
var breaks = []fault{
	{
		"one server fewer than agree suffices", "sources/stun_poll.go",
		"return len(v.by) < agree })", "return len(v.by) < agree-1 })", 60,
	},
	{
		"private addresses count", "sources/stun_query.go",
		"a.Err = netwatch.CheckPublic(a.Address, s.Accept)", "a.Err = nil", 200,
	},
	{
		"the transaction id is not compared", "stunmsg/stunmsg.go",
		"if m.TransactionID != request.TransactionID {", "if false {", 200,
	},
	{"the state is not synced", "state/disk.go", "return file.Sync()", "return nil", 200},
	{"the name of the state is not synced", "state/disk.go", "return d.dir.Sync()", "return nil", 200},
	{"an event is not written", "hooks/dispatcher.go", "s.Accept(ev, rules)\n\t\tif believed {", "if believed {", 60},
	{"the address is not believed", "hooks/dispatcher.go", "s.Believe(address)", "_ = address", 60},
	{"that a gate changes something is not noted", "hooks/lane.go", "s.Change(rule.Name)\n", "\n", 900},
	{"what netwatch writes is not noted", "hooks/lane.go", "s.Replace(w)\n", "\n", 60},
	{"runs of an earlier life are not taken up", "hooks/dispatcher.go", "l.resume(r)", "_ = l", 100},
	{"who waits is told before it is written", "state/store.go", "<-u.done\n", "\n", 100},
	{
		"what the disk refuses is not said", "state/store.go",
		"s.wrote(next, s.disk.write(next))", "_ = s.disk.write(next); s.wrote(next, nil)", 200,
	},
	{"start limits are not heeded", "systemd/limit.go", "return max(1, l.burst-1)", "return l.burst + 2", 300},
	{
		"starts are not recorded", "systemd/limit.go",
		"return until, starts.Record(unit, now)", "return until, nil", 300,
	},
	{
		"a failing run is given up at once", "hooks/lane.go",
		"if !now.Before(r.giveUp) && l.d.ctx.Err() == nil {", "if l.d.ctx.Err() == nil {", 60,
	},
	{"nothing is damped", "sources/damp.go", "s.held = s.held || s.penalty >= heldFrom", "s.held = false", 200},
	{"silence is no doubt", "daemon/moments.go", "d.store.Doubt(family)", "_ = family", 100},
	{"a reload forgets what waits", "hooks/dispatcher.go", "l.become(r)", "d.lanes[r.Name] = newLane(d, r)", 300},
	{"a reload ends all that waits", "hooks/dispatcher.go", "if !there[name] {", "if there[name] {", 300},
	{"steps go on without a change", "hooks/lane.go", "if r.owes || !rule.gated(r.next) {", "if true {", 60},
	{
		"steps behind a gate are never done", "hooks/lane.go",
		"if r.owes || !rule.gated(r.next) {", "if !rule.gated(r.next) {", 60,
	},
	{
		"a source takes netwatch's work for another's", "state/state.go",
		"return r.To == w.To && slices.Contains(r.From, w.From)", "return r.To == w.To && false", 60,
	},
	{
		"nobody is believed who confirms alone", "sources/stun_poll.go",
		"return r.due || r.asked == len(r.answers)", "return false", 100,
	},
	{
		"what fails is tried again the next day", "hooks/lane.go",
		"now.Add(l.d.spread(", "now.Add(24*time.Hour + l.d.spread(", 200,
	},
	{
		"what servers confirm is not noted", "sources/stun.go",
		"s.env.Confirm(v.family, s.Looking(), by, OwnBy(answers, address))", "_ = by", 60,
	},
	{
		"what an earlier life confirmed counts", "state/store.go",
		"return a.Confirmed.Before(s.opened) })", "return false })", 300,
	},
	{
		"what is not confirmed is acted on", "hooks/lane.go",
		"Confirmed: l.d.store.Confirmed(), Changing", "Confirmed: l.d.store.Known(), Changing", 300,
	},
	{
		"a change of a file is not told", "sources/follow.go",
		"if emit(netwatch.NewEvent(f.event, f.name, fields)) != nil {", "if false {", 60,
	},
	{
		"how a file is found is not noted", "sources/follow.go",
		"return f.see(file, found.fingerprint)", "return 0", 100,
	},
	{
		"the newest state is removed before the next is there", "state/disk.go",
		"_ = d.dir.Remove(beforeName)", "_ = d.dir.Remove(fileName)", 200,
	},
	{"an address is held for long", "sources/damp.go", "if now.Sub(d.since) >= steady {", "if false {", 300},
	{
		"the end of a run ends newer ones too", "state/state.go",
		"return slices.Contains(ids, ev.ID)\n\t})\n\tif len(left)", "return true\n\t})\n\tif len(left)", 200,
	},
	{
		"what the disk refused is not tried again", "state/store.go",
		"if s.refused != nil && !s.closed {", "if false {", 100,
	},
	{
		"a job whose answer is lost is asked for again", "systemd/away.go",
		"if now.mark != before.mark {", "if now.mark != before.mark && false {", 300,
	},
	{"nothing is taken up at the start", "daemon/run.go", "d.rules.Resume()", "_ = d.rules", 60},
	{
		"no rule matches", "hooks/rule.go",
		"if !slices.Contains(r.On, ev.Name) ||", "if slices.Contains(r.On, ev.Name) ||", 60,
	},
	{
		"events are not ordered by what a file was", "hooks/dispatcher.go",
		"if seen && s.Seen[ev.Name][file] != ev.Fields[\"old\"] {", "if seen {", 60,
	},
	{
		"runs end with the first step", "hooks/lane.go",
		"for end := rule.notices(); r.next < end; r.next++ {",
		"for end := min(1, rule.notices()); r.next < end; r.next++ {", 60,
	},
	{
		"a mistake in the configuration is not said", "daemon/daemon.go",
		"d.refused.Store(&refused)", "_ = refused", 100,
	},
	{"what is mended stays refused", "daemon/daemon.go", "d.refused.Store(nil)", "_ = d.refused", 100},
	{"a clock that is set wakes nobody", "sources/stun.go", "case <-jumps:\n", "case <-jumps:\n\t\t\tcontinue\n", 60},
	{
		"times that were missed are not told", "sources/timer.go",
		"newest.After(t.since(last, now))", "newest.After(t.since(t.looked, now))", 200,
	},
	{
		"that a time was told is not noted", "sources/timer.go",
		"ev.Sight = netwatch.Sight{Event: ev.Name,", "ev.Sight = netwatch.Sight{Event: ev.Name + \"x\",", 60,
	},
	{
		"a certificate is told of before its key is there", "sources/cert.go",
		"cert, err := tls.X509KeyPair(chain, text)\n\tif err != nil {",
		"cert, err := tls.X509KeyPair(chain, text)\n\tif err != nil {\n\t\treturn leaf(file, chain)", 100,
	},
	{
		"a program goes on without end", "actions/exec.go",
		"run(ctx, a.program", "run(context.WithoutCancel(ctx), a.program", 200,
	},
	{
		"a program that fails has done it", "actions/exec.go",
		"\tif err == nil {\n\t\treturn netwatch.Result{Outcome: netwatch.Changed",
		"\tif true {\n\t\treturn netwatch.Result{Outcome: netwatch.Changed", 100,
	},
	{"nobody is told of what changed", "hooks/notice.go", "idle := !r.changed &&", "idle := true ||", 60},
	{
		"notices are lost", "hooks/notice.go",
		"n.waiting = append(n.waiting, ending{rule, job, idle})",
		"n.waiting = append(n.waiting, ending{rule, job, idle})[:0]", 100,
	},
	{
		"a number is said twice", "sources/mqtt_say.go",
		"s.own.Number = max(s.own.Number+1, time.Now().UnixMilli())",
		"s.own.Number = max(s.own.Number, s.own.Connect, 1)", 60,
	},
	{
		"what a machine said before counts", "sources/mqtt_peers.go",
		"|| !w.Lost && w.Number < one.now.Number):", "|| false):", 300,
	},
	{
		"who is gone for a moment is lost", "sources/mqtt_peers.go",
		"goneTime = 5 * time.Second", "goneTime = 0 * time.Second", 200,
	},
	{
		"numbers of strangers are not bounded", "sources/mqtt_bulletin.go",
		"if w.Number > maxNumber || w.Connect <= 0 || w.Connect > w.Number {",
		"if false {", 300,
	},
	{
		"that others are told is said before they are", "sources/mqtt_say.go",
		"err = s.sayConnected(ctx)\n\t}\n\treturn err", "err = s.sayConnected(ctx)\n\t}\n\treturn nil", 200,
	},
	{
		"of one machine is told at any pace", "sources/mqtt_peers.go",
		"true, time.Now().Add(pause)", "true, time.Now()", 300,
	},
	{"others do not hear our address", "sources/mqtt_say.go", "w.Addresses = s.env.Known()", "w.Addresses = nil", 60},
	{
		"a program's goroutine stays", "actions/exec.go",
		"lines, err := run(ctx, a.program, a.args, environment(job))",
		"go func() { select {} }()\n\tlines, err := run(ctx, a.program, a.args, environment(job))", 60,
	},
	{
		"polls are kept in mind", "sources/stun.go",
		"s.pace.polled = time.Now()\n",
		"s.pace.polled = time.Now()\n\t\tcontext.AfterFunc(ctx, func() { s.pollEnded() })\n", 100,
	},
}

// Each of these breaks is found within so many seeds. All are tried by -breaks -1.
func TestBreaksAreFound(t *testing.T) {
	tried := 0
	for i, b := range breaks {
		sampled := *breaking < 0 || i%(len(breaks)/max(1, *breaking)) == 0 && tried < *breaking
		if *broke == "" && !sampled || i < *from || !strings.Contains(b.name, *broke) {
			continue
		}
		tried++
		t.Run(b.name, b.isFound)
	}
}

// isFound tries seeds on a program with the break, until one breaks a promise.
func (b fault) isFound(t *testing.T) {
	overlay := b.overlay(t)
	for first := 1; first <= b.seeds; first += 20 {
		cmd := exec.Command("go", "test", "-count=1", "-overlay="+overlay, "-timeout=4m", "-run=TestSeeds$", ".",
			fmt.Sprintf("-first=%d", first), "-seeds=20", "-shrink=false")
		out, err := cmd.CombinedOutput()
		text := string(out)
		switch {
		case err != nil && strings.Contains(text, "build failed"):
			t.Fatalf("%s", text)
		case err != nil:
			t.Logf("within %d seeds: %s", first+19, firstBroken(text))
			return
		}
	}
	t.Errorf("not within %d seeds", b.seeds)
}

// firstBroken is the first promise that is said to be broken.
func firstBroken(text string) string {
	for line := range strings.Lines(text) {
		if _, what, is := strings.Cut(line, "BROKEN: "); is {
			return strings.TrimSpace(what)
		}
	}
	lines := strings.SplitN(text, "\n", 6)
	return strings.Join(lines[:len(lines)-1], "; ")
}

// TestBreaksAreOfTheCode holds that each break can be made, also those that are not tried.
func TestBreaksAreOfTheCode(t *testing.T) {
	for _, b := range breaks {
		t.Run(b.name, func(t *testing.T) { b.make(t) })
	}
}

// make is the file to break, and its text with the break.
func (b fault) make(t *testing.T) (file, text string) {
	t.Helper()
	file, err := filepath.Abs(filepath.Join("..", b.file))
	if err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(whole), b.from); n != 1 {
		t.Fatalf("%s has %q %d times", b.file, b.from, n)
	}
	return file, strings.Replace(string(whole), b.from, b.to, 1)
}

// overlay is a file that has the go command take the file with the break for the file.
func (b fault) overlay(t *testing.T) string {
	t.Helper()
	file, text := b.make(t)
	dir := t.TempDir()
	other := filepath.Join(dir, filepath.Base(file))
	if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{file: other}})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay"), list, 0o600); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "overlay")
}
