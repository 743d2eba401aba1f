//go:build lab

// Whatever the broker does, or is done to it: nothing else is slower for it, and all is
// right again by itself.

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// An ordeal is a time in which something is wrong with the broker.
type ordeal struct {
	pid      int
	resident int
	spent    time.Duration
	log      string
	stop     func() Times
}

// ordealOf begins one: a rule that has nothing to do with other machines runs again and
// again, and what netwatch logs is kept.
func ordealOf(t *testing.T) *ordeal {
	t.Helper()
	pid, stop := pidHere(t, show(t, "netwatch.service", "MainPID")), beating(t)
	wait(t, 3*time.Second) // Until it has what that takes
	return &ordeal{pid, memoryOf(t, pid, "VmRSS"), processorTime(t, pid), logSince(t), stop}
}

// over ends it. No run of the other rule was slow or lost, memory is level, and of the
// broker there are few lines in the log.
func (o *ordeal) over(t *testing.T, lines int) {
	t.Helper()
	times := o.stop()
	text := shell(t, o.log+` | grep '"source":"mqtt"' | grep -v '"message":"event"' || true`)
	said := strings.Split(strings.TrimSpace(text), "\n")
	resident := memoryOf(t, o.pid, "VmRSS")
	t.Logf("the other rule took: %s; %d KB more; %d lines; %s of a processor", times, resident-o.resident, len(said),
		processorTime(t, o.pid)-o.spent)
	for _, took := range times {
		if took > 2*time.Second {
			t.Errorf("the other rule took %s", took)
		}
	}
	if len(said) > lines {
		t.Errorf("%d lines:\n%s", len(said), strings.Join(said, "\n"))
	}
	if resident-o.resident > 6<<10 {
		t.Errorf("%d KB more than before", resident-o.resident)
	}
}

// beating fires for a rule that has nothing to do with the broker until it is called, and
// says how long each run took. None may fail.
func beating(t *testing.T) (stop func() Times) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var all Times
	var beats sync.WaitGroup
	beats.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			began := time.Now()
			out, err := server.Exec(context.Background(), "netwatch", "fire", "beat", fmt.Sprint("n=", n))
			if all = append(all, time.Since(began)); err != nil {
				t.Errorf("beat %d: %v: %s", n, err, out)
			}
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
	return func() Times {
		cancel()
		beats.Wait()
		return all
	}
}

// cut drops packets from and to the broker, as a cable that is pulled does: all, or those
// that are as a rule of nft says.
func cut(t *testing.T, which string) {
	t.Helper()
	shell(t, strings.ReplaceAll(`nft -f - <<'END'
table inet cut {
	chain in { type filter hook input priority 0; WHICH tcp dport 8883 drop; WHICH tcp sport 8883 drop; }
}
END`, "WHICH", which))
	undo(t, "nft delete table inet cut 2>/dev/null || true")
}

func mend(t *testing.T) {
	t.Helper()
	shell(t, "nft delete table inet cut")
}

// heardAfter is how long after a moment the gateway's word of an address was heard.
func heardAfter(t *testing.T, to netip.Addr, since time.Time) Times {
	t.Helper()
	says(t, "netwatch history | grep peer-changed", "told=addr-changed", "new="+to.String())
	return Times{time.Since(since)}
}

// A broker that is cut off for a moment, for so long that it is noticed, and for so long
// that it is said, is followed within seconds of being there again: also what was told
// while nobody here had anything to say.
func TestBrokerCutOff(t *testing.T) {
	threeMachines(t)
	o := ordealOf(t)
	for n, long := range []time.Duration{2 * time.Second, 9 * time.Second, 40 * time.Second} {
		cut(t, "")
		to := Public(70 + n)
		must(t, world.SetPublic(t.Context(), to))
		wait(t, long)
		if n == 2 {
			says(t, "netwatch status", "peer gateway", "unknown since", "reaching the broker", "hint: see whether")
			says(t, "netwatch doctor || true", "reaching the broker", "hint: see whether the broker runs")
		}
		mend(t)
		promised(t, heardAfter(t, to, time.Now()), 12*time.Second)
		rightAfter(t, to, time.Now())
	}
	o.over(t, 4)
	says(t, "netwatch status", "peer gateway", "here since", "peer outside")
}

// A machine that is cut off alone, while it has nothing to say and another does, hears that
// soon after it is no more: TCP alone would try it again after as long as the cut was.
func TestMachineCutOff(t *testing.T) {
	threeMachines(t)
	cut(t, "iifname lo")
	to := Public(99)
	_, err := run(t.Context(), inNet(world.Router, "ip", "addr", "add", to.String()+"/32", "dev", "wan")...)
	must(t, err)
	t.Cleanup(func() {
		_, _ = run(context.Background(), inNet(world.Router, "ip", "addr", "del", to.String()+"/32", "dev", "wan")...)
	})
	wait(t, 27*time.Second)
	mend(t)
	promised(t, heardAfter(t, to, time.Now()), 6*time.Second)
}

// A broker that is there and says nothing, and one to which the way loses packets.
func TestBrokerSlow(t *testing.T) {
	threeMachines(t)
	o := ordealOf(t)
	shell(t, "systemctl kill -s STOP mosquitto.service")
	undo(t, "systemctl kill -s CONT mosquitto.service")
	must(t, world.SetPublic(t.Context(), Public(80)))
	says(t, "netwatch probe || true", "has not said within 3s", "hint: see whether it is reached")
	wait(t, 15*time.Second)
	says(t, "netwatch status", "peer gateway", "unknown since", "hint: see whether")
	says(t, "netwatch doctor || true", "hint: see whether")
	shell(t, "systemctl kill -s CONT mosquitto.service")
	promised(t, rightAfter(t, Public(80), time.Now()), 8*time.Second)
	says(t, "netwatch status", "peer gateway", "here since")
	// What is lost comes later, and later still when it is lost again: the kernel of the lab
	// has nothing else to delay it.
	cut(t, "numgen random mod 4 == 0")
	for n := range 3 {
		must(t, world.SetPublic(t.Context(), Public(81+n)))
		promised(t, rightAfter(t, Public(81+n), time.Now()), 8*time.Second)
	}
	mend(t)
	o.over(t, 6)
}

// A machine that is stopped for a while, and one that reads nothing of what comes, hold up
// nobody, and the first one follows when it goes on.
func TestBrokerStalledReader(t *testing.T) {
	gateway, outside := threeMachines(t)
	must(t, outside.process.cmd.Process.Signal(syscall.SIGSTOP))
	must(t, world.SetPublic(t.Context(), Public(90)))
	promised(t, rightAfter(t, Public(90), time.Now()), time.Second)
	pid := show(t, "netwatch.service", "MainPID")
	shell(t, "kill -STOP "+pid)
	undo(t, "kill -CONT "+pid+" 2>/dev/null || true")
	must(t, world.SetPublic(t.Context(), Public(91)))
	gateway.says(t, "history", "tell: changed: the broker has it")
	wait(t, 5*time.Second) // Its watchdog waits longer
	shell(t, "kill -CONT "+pid)
	promised(t, rightAfter(t, Public(91), time.Now()), 2*time.Second)
	must(t, outside.process.cmd.Process.Signal(syscall.SIGCONT))
	outside.says(t, "status", "peer turn", Public(91).String())
}

// floodOf is a command by which the machine outside says so many states, at most 20,000 of
// them a second.
func floodOf(qos, states int) string {
	return fmt.Sprintf(`awk 'BEGIN { for (i = 1; i <= %d; i++) { n = sprintf("%%.0f", %d + i)
		print "{\"number\":" n ",\"connect\":1,\"told\":[{\"number\":" n \
			",\"event\":\"addr-changed\",\"new\":\"" i "\"}]}"
		if (i %% 1000 == 0) { fflush(); system("sleep 0.05") } } }' | `, states, time.Now().UnixMilli()) +
		strings.Replace(published, "-q 1", fmt.Sprint("-q ", qos), 1) + "-r -t netwatch/outside/state -l"
}

// Ten thousand states a second of a machine that may say its own alone, at either quality
// of service: the gateway is followed meanwhile.
func TestMachineFloods(t *testing.T) {
	_, outside := threeMachines(t)
	must(t, outside.stop(syscall.SIGKILL))
	for qos := range 2 {
		const states = 350_000
		o, done, began := ordealOf(t), make(chan error, 1), time.Now()
		go func() { done <- errorOf(server.Exec(context.Background(), "sh", "-c", floodOf(qos, states))) }()
		for n := range 3 {
			wait(t, 4*time.Second)
			to := Public(100 + 10*qos + n)
			must(t, world.SetPublic(t.Context(), to))
			promised(t, rightAfter(t, to, time.Now()), 3*time.Second)
		}
		if len(done) > 0 {
			t.Errorf("the flood was over before: %s", time.Since(began))
		}
		must(t, <-done)
		rate := states / time.Since(began).Seconds()
		t.Logf("QoS %d: %.0f states a second", qos, rate)
		if rate < 8_000 { // A busy machine makes so many of 20,000, and half as many again when it is not
			t.Errorf("that is no flood: %.0f states a second", rate)
		}
		o.over(t, 2)
		says(t, "netwatch status", "peer gateway", "here since", "peer outside")
	}
}
