//go:build lab

// 10. It says what it did, and remembers it.

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"netwatch"
)

// remembered are what a command prints of history, as JSON.
func remembered[E any](t *testing.T, command string) (all []E) {
	t.Helper()
	for line := range strings.Lines(shell(t, command)) {
		var e E
		must(t, json.Unmarshal([]byte(line), &e))
		all = append(all, e)
	}
	return all
}

// allocatePause is how much sooner a caller may have been right than he found out.
const allocatePause = 500 * time.Millisecond

// A witnessed change is one as a caller outside saw it.
type witnessed struct {
	to netip.Addr
	// before and after are around the moment of the change, and right is when the
	// caller was.
	before, after, right time.Time
}

// witness changes the address right after a poll, so that callers are wrong for as long as
// can be, and waits for a caller.
func witness(t *testing.T, to netip.Addr) witnessed {
	t.Helper()
	justConfirmed(t)
	w := witnessed{to: to, before: time.Now()}
	must(t, world.SetPublic(t.Context(), to))
	w.after = time.Now()
	w.right = right(t, to, to, 20*time.Second)
	idle(t, to)
	return w
}

// justConfirmed waits until servers have confirmed the address once more.
func justConfirmed(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	must(t, until(ctx, 20*time.Millisecond, func() error {
		var s struct {
			Addresses map[string]struct{ Confirmed time.Time }
		}
		must(t, json.Unmarshal([]byte(shell(t, "netwatch status --json")), &s))
		if at := s.Addresses["ipv4"].Confirmed; at.Before(began) {
			return fmt.Errorf("it was confirmed at %v", at)
		}
		return nil
	}))
}

// seldom is the poll of these tests.
const seldom = 3 * time.Second

// bears wants what a run says of the change to lie around what the caller saw.
func (w witnessed) bears(t *testing.T, e netwatch.Entry) {
	t.Helper()
	least, most := w.right.Sub(w.before).Seconds(), w.right.Sub(w.after).Seconds()-allocatePause.Seconds()
	t.Logf("a caller was wrong for %.2f to %.2f s; history says %.2f to %.2f s", most, least, e.Wrong.Least, e.Wrong.Most)
	idly := e.Wrong.Least <= 0 || e.Wrong.Most > least+seldom.Seconds()+spare.Seconds()
	if e.Wrong.Least > least || e.Wrong.Most < most || idly {
		t.Errorf("these are not bounds of that: %+v", e.Moments)
	}
	m, last := *e.Moments, time.Time{}
	for _, moment := range []time.Time{m.Confirmed, m.Noticed, m.Accepted, m.Rewritten, m.Restarted, m.Proven} {
		if !moment.After(last) {
			t.Errorf("the moments are not in their order: %+v", m)
		}
		last = moment
	}
	if m.Confirmed.After(w.after) || m.Accepted.Before(w.before) || e.Noticed != netwatch.BySTUN || e.After != "" {
		t.Errorf("it was changed between %v and %v, and it says %+v of %+v", w.before, w.after, m, e)
	}
}

// held is how an address stands in what history prints.
type held struct {
	Family, Address, Noticed, After string
	From, Until                     time.Time
	Seconds                         float64
	By                              []string
}

// wantHeld wants the addresses of history to be these, one after the other.
func wantHeld(t *testing.T, want ...netip.Addr) []held {
	t.Helper()
	all := remembered[held](t, "netwatch history --addresses --json")
	if len(all) != len(want) {
		t.Fatalf("the addresses are %+v, and should be %v", all, want)
	}
	for i, a := range all {
		if a.Address != want[i].String() || a.Family != "ipv4" || len(a.By) < 2 || a.Seconds <= 0 {
			t.Errorf("address %d is %+v, not %s", i, a, want[i])
		}
		if stands := i == len(all)-1; a.Until.IsZero() != stands || !stands && a.After == "" && a.Until.After(all[i+1].From) {
			t.Errorf("address %d is until %v: %+v", i, a.Until, all)
		}
	}
	return all
}

// provingConfig is a configuration whose rule proves what it did.
func provingConfig(every string) string {
	return strings.TrimSuffix(configuration(YunoHost, every), "]\n") + ", \"verify turn " + YunoHost.File + "\"]\n"
}

// For how long callers were wrong lies between the bounds that history says, and its
// addresses are those that there were, also after a reload, a kill and a restart.
func TestHistoryOfTheAddress(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	quickRestart(t)
	watching(t, provingConfig(seldom.String()), FirstPublic)
	first, second := witness(t, Public(84)), witness(t, Public(85))
	shell(t, "systemctl reload netwatch.service")
	inside := show(t, "netwatch.service", "MainPID")
	shell(t, "systemctl kill -s KILL netwatch.service")
	back(t, inside)
	shell(t, "systemctl restart netwatch.service")
	idle(t, second.to)
	runs := remembered[netwatch.Entry](t, `netwatch history --json --event ip-changed | grep '"wrong"'`)
	if len(runs) != 2 {
		t.Fatalf("%d runs made it right: %+v", len(runs), runs)
	}
	first.bears(t, runs[0])
	second.bears(t, runs[1])
	wantHeld(t, FirstPublic, first.to, second.to)
	says(t, "curl -s --unix-socket /run/netwatch/netwatch.sock http://netwatch/metrics | grep wrong_least",
		"# TYPE netwatch_wrong_least_seconds histogram")
	changedWhileStopped(t, first.to, second.to)
	readers(t)
}

// changedWhileStopped wants a change that nobody saw to be said to be that.
func changedWhileStopped(t *testing.T, before ...netip.Addr) {
	t.Helper()
	shell(t, "systemctl stop netwatch.socket netwatch.service")
	to := Public(86)
	must(t, world.SetPublic(t.Context(), to))
	shell(t, "systemctl start netwatch.service")
	idle(t, to)
	all := wantHeld(t, append(append([]netip.Addr{FirstPublic}, before...), to)...)
	if a := all[len(all)-1]; a.After != netwatch.AfterStop {
		t.Errorf("it was changed while netwatch was stopped, and history says %+v", a)
	}
}

// readers wants root, the daemon's user and the group to read the history, and nobody
// else, with the daemon and without.
func readers(t *testing.T) {
	t.Helper()
	shell(t, "useradd -r -G netwatch lab-member; useradd -r lab-stranger")
	undo(t, "userdel lab-member; userdel lab-stranger")
	look := func(stranger int) {
		t.Helper()
		for user, want := range map[string]int{"root": 0, "netwatch": 0, "lab-member": 0, "lab-stranger": stranger} {
			out := shell(t, "runuser -u "+user+" -- netwatch history --addresses 2>&1; echo exit $?")
			if !strings.HasSuffix(out, fmt.Sprint("exit ", want)) || strings.Contains(out, Public(86).String()) != (want == 0) {
				t.Errorf("%s reads:\n%s", user, out)
			}
		}
	}
	look(4)
	shell(t, "systemctl stop netwatch.socket netwatch.service")
	look(3)
}

// said is a rule whose runs history is to remember.
const said = `
[[rule]]
name = "said"
on = ["said"]
settle = "0s"
do = ["exec /bin/true"]
`

// What was told before a kill is there after it, and what a power cut leaves of a line is
// passed over.
func TestHistoryAcrossKills(t *testing.T) {
	fresh(t, YunoHost)
	quickRestart(t)
	watching(t, configuration(YunoHost, "1h")+said, FirstPublic)
	for round := range 3 {
		inside := show(t, "netwatch.service", "MainPID")
		shell(t, fmt.Sprintf("for i in $(seq 30); do netwatch fire said n=r%d-$i >/dev/null || exit; done; "+
			"netwatch history -n 1 >/dev/null; "+
			"(for i in $(seq 30); do netwatch fire said --no-wait n=x$i; done) >/dev/null 2>&1 & "+
			"systemctl kill -s KILL netwatch.service; wait", round))
		back(t, inside)
		shell(t, `systemctl stop netwatch.socket netwatch.service
			printf '{"time":"2026-11-2' >>/var/lib/netwatch/history.jsonl
			systemctl start netwatch.service`)
		idle(t, FirstPublic)
		out := shell(t, "netwatch history --event said --json 2>&1")
		for i := range 30 {
			if !strings.Contains(out, fmt.Sprintf(`"n":"r%d-%d"`, round, i+1)) {
				t.Errorf("round %d: event %d is forgotten", round, i+1)
			}
		}
		if !strings.Contains(out+"\n", fmt.Sprint("damaged lines, which are skipped: ", round+1, "\n")) {
			t.Errorf("after %d torn lines it says %s", round+1, out[max(0, len(out)-200):])
		}
	}
}

// A disk that is full, and a file of a stranger, keep history from being kept and nobody
// from being right; that is said, and over with its cause.
func TestHistoryNotKept(t *testing.T) {
	smallState(t)
	const dir = "/var/lib/netwatch"
	for n, c := range []struct{ breaks, says, hint, mends string }{
		{
			"cd " + dir + "; dd if=/dev/zero of=filler bs=1k 2>/dev/null; true", "no space left on device",
			"make room there: df -h " + dir, "rm " + dir + "/filler",
		},
		{
			"cd " + dir + "; rm history.jsonl; echo theirs >/tmp/lab-theirs; ln -s /tmp/lab-theirs history.jsonl",
			"it is not a regular file (a symlink)", "mv " + dir + "/history.jsonl " + dir + "/history.jsonl.away",
			"mv " + dir + "/history.jsonl " + dir + "/history.jsonl.away",
		},
		{
			"cd " + dir + "; rm history.jsonl; echo theirs >history.jsonl; chmod 666 history.jsonl",
			"it belongs to a stranger: the user 0", "mv " + dir + "/history.jsonl " + dir + "/history.jsonl.away",
			"grep -qx theirs " + dir + "/history.jsonl && rm " + dir + "/history.jsonl",
		},
	} {
		log := logSince(t)
		shell(t, c.breaks)
		to := Public(87 + n)
		must(t, world.SetPublic(t.Context(), to))
		right(t, to, to, 10*time.Second)
		idle(t, to)
		says(t, log, "keeping the history: "+dir+"/", c.says, c.hint)
		says(t, "netwatch status; netwatch doctor", "\nhistory  ", "warning  history: not kept since ", c.says, c.hint)
		says(t, "netwatch history", to.String())
		shell(t, c.mends)
		says(t, log, "the history is kept again")
		if out := shell(t, "netwatch status; netwatch doctor || true"); strings.Contains(out, "not kept") {
			t.Errorf("it is kept again, and they say\n%s", out)
		}
		says(t, "grep -h ip-changed "+dir+"/history.jsonl", to.String())
	}
	if theirs := shell(t, "cat /tmp/lab-theirs"); theirs != "theirs" {
		t.Errorf("the file that the symlink leads to is %q", theirs)
	}
}

// What the router says is what a change is noticed by, and callers were wrong since it
// had the new address at the most.
func TestHistoryNoticedByTheRouter(t *testing.T) {
	behindRouter(t, true)
	atLeisure(t)
	wait(t, quiet)
	n := 0
	took := followsRouter(t, RouterChanges[0], &n, 1, 10*time.Second)[0]
	idle(t, RouterPublic(n))
	runs := remembered[netwatch.Entry](t, `netwatch history --json --event ip-changed | grep '"wrong"'`)
	if len(runs) != 1 || runs[0].Noticed != netwatch.ByRouter || runs[0].Moments.Noticed.After(runs[0].Moments.Accepted) {
		t.Fatalf("history says %+v", runs)
	}
	if w := runs[0].Wrong; w.Least > took.Seconds() || w.Most < took.Seconds() {
		t.Errorf("a caller was wrong for %v, and history says %+v", took, *w)
	}
}

// A time in which no server answers is in history, and what was changed meanwhile says
// so.
func TestHistoryOfAnOutage(t *testing.T) {
	fresh(t, YunoHost)
	unlimited(t, YunoHost.Unit)
	watching(t, configuration(YunoHost, "200ms"), FirstPublic)
	began := time.Now()
	for _, stun := range stuns {
		must(t, stun.Stop())
	}
	says(t, "netwatch history", "outage: no server answers address="+FirstPublic.String()+" family=ipv4")
	to := Public(90)
	must(t, world.SetPublic(t.Context(), to))
	for _, stun := range stuns {
		must(t, stun.Start(t.Context()))
	}
	idle(t, to)
	took := time.Since(began)
	outages := remembered[netwatch.Entry](t, "netwatch history --json | grep '\"kind\":\"outage\"'")
	if len(outages) != 2 || outages[1].Seconds <= 0 || outages[1].Seconds > took.Seconds() {
		t.Errorf("in %v the outages were %+v", took, outages)
	}
	all := wantHeld(t, FirstPublic, to)
	until := all[0].Until
	if all[1].After != netwatch.AfterOutage || !until.Before(all[1].From) || until.After(began.Add(time.Second)) {
		t.Errorf("it was changed in an outage, and history says %+v", all)
	}
}
