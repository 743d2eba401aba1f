//go:build lab

// Two instances of YunoHost's Synapse, with all that hangs on them.

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v2"
)

// The user that each Synapse has.
const (
	user     = "alice"
	password = "wonderland"
)

// bothSynapses run in all tests of Synapse.
var bothSynapses = []Instance{FirstSynapse, SecondSynapse}

// TestSynapse has the tests that share two Synapses, because these take seconds
// to start. Each begins by what again does.
func TestSynapse(t *testing.T) {
	synapses(t)
	t.Run("calls through a new address", testCalls)
	t.Run("two instances", testTwoInstances)
	t.Run("a failure of one of two", testOneOfTwoFails)
	t.Run("a renewed certificate", testRenewal)
	t.Run("a pair that does not match", testMismatch)
	t.Run("no ExecReload", testNoReload)
	t.Run("a notice in a room", testNotice)
}

// synapses makes both instances as YunoHost does, with a user each, and starts
// them with their coturns.
func synapses(t *testing.T) {
	t.Helper()
	fresh(t, YunoHost)
	shell(t, "systemctl stop "+YunoHost.Unit) // It makes way for the first instance's, of the same name.
	var units []string
	for _, i := range bothSynapses {
		t.Cleanup(func() {
			if err := server.RemoveSynapse(context.Background(), i); err != nil {
				t.Error(err)
			}
		})
		_, err := server.Renew(i.Domain)
		must(t, err)
		must(t, server.InstallSynapse(t.Context(), i, FirstPublic))
		unlimited(t, i.Coturn.Unit)
		units = append(units, i.Unit(), i.Coturn.Unit)
	}
	began := time.Now()
	shell(t, "systemctl start "+strings.Join(units, " "))
	for _, i := range bothSynapses {
		healthy(t, i)
		must(t, world.Homeserver(i).Register(t.Context(), user, password))
	}
	t.Logf("two Synapses were ready and had a user each after %v", time.Since(began).Round(time.Millisecond))
}

// healthy waits until Synapse answers.
func healthy(t *testing.T, i Instance) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must(t, until(ctx, 20*time.Millisecond, func() error { return world.Homeserver(i).Healthy(ctx) }))
}

// again is the first public address once more, and no netwatch.
func again(t *testing.T) {
	t.Helper()
	shell(t, "systemctl stop netwatch.service 2>/dev/null; rm -rf /var/lib/netwatch")
	must(t, world.SetPublic(t.Context(), FirstPublic))
}

// followBoth is a configuration by which both coturns follow the address.
func followBoth() string {
	first, second := FirstSynapse.Coturn, SecondSynapse.Coturn
	return configuration(first, every.String()) + ruleCoturn(second.File, second.Unit)
}

// An element is what Element has when a call begins: what its Synapse said.
type element struct {
	Caller
	port uint16
}

// logIn gets what a user of an instance needs for calls.
func logIn(t *testing.T, i Instance) element {
	t.Helper()
	h := world.Homeserver(i)
	token, err := h.Login(t.Context(), user, password)
	must(t, err)
	turn, err := h.TURNServer(t.Context(), token)
	must(t, err)
	uri, err := stun.ParseURI(turn.URIs[0])
	must(t, err)
	if uri.Host != i.Domain || uri.Proto != stun.ProtoTypeUDP {
		t.Errorf("the server for calls is %s", uri)
	}
	caller := Caller{Namespace: world.Inet, Username: turn.Username, Password: turn.Password}
	return element{caller, uint16(uri.Port)} // As in a configuration of ours.
}

// at is where the name in the URI leads while the router has this address.
func (e element) at(public netip.Addr) netip.AddrPort { return netip.AddrPortFrom(public, e.port) }

// relayed waits until a call goes by way of an address, and returns when it did.
func (e element) relayed(t *testing.T, public netip.Addr, within time.Duration) time.Time {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	when, err := e.WaitAllocate(ctx, e.at(public), public)
	must(t, err)
	return when
}

func testCalls(t *testing.T) {
	again(t)
	watching(t, followBoth(), FirstPublic)
	alice := logIn(t, FirstSynapse)
	alice.relayed(t, FirstPublic, 5*time.Second)
	var times Times
	for n := range 2 {
		to := Public(100 + n)
		changed := time.Now()
		must(t, world.SetPublic(t.Context(), to))
		times = append(times, alice.relayed(t, to, 20*time.Second).Sub(changed))
		idle(t, to)
	}
	promised(t, times, every+settle+200*time.Millisecond)
	refusesStrangers(t, Public(101))
	stranger := alice
	stranger.Password += "x"
	var refused *TurnError
	if _, err := stranger.Allocate(t.Context(), alice.at(Public(101)), 4); !errors.As(err, &refused) ||
		refused.Code != stun.CodeUnauthorized {
		t.Errorf("with another password than Synapse's: %v, want a refusal with 401", err)
	}
}

// starts is how often systemd has started a unit.
func starts(t *testing.T, unit string) int {
	t.Helper()
	return strings.Count(shell(t, "journalctl --sync; journalctl -b -o cat _PID=1 UNIT="+unit), "Started ")
}

func testTwoInstances(t *testing.T) {
	again(t)
	watching(t, followBoth(), FirstPublic)
	to := Public(110)
	before := map[string]int{}
	elements := map[string]element{}
	for _, i := range bothSynapses {
		before[i.Name], elements[i.Name] = starts(t, i.Coturn.Unit), logIn(t, i)
	}
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), to))
	var times Times
	for _, i := range bothSynapses {
		times = append(times, elements[i.Name].relayed(t, to, 20*time.Second).Sub(changed))
	}
	promised(t, times, every+settle+400*time.Millisecond)
	idle(t, to)
	for _, i := range bothSynapses {
		if n := starts(t, i.Coturn.Unit) - before[i.Name]; n != 1 {
			t.Errorf("the coturn of %s was started %d times, want once", i.Name, n)
		}
	}
	stray := element{elements["synapse"].Caller, SecondSynapse.TURN}
	var refused *TurnError
	if _, err := stray.Allocate(t.Context(), stray.at(to), 4); !errors.As(err, &refused) {
		t.Errorf("the second coturn takes a credential of the first Synapse: %v", err)
	}
}

// A damage hinders the second instance's coturn.
type damage struct {
	name, do, mend string
	// says is a pattern of what netwatch status then says.
	says string
}

// damages are what may be wrong with one instance.
func damages() []damage {
	file, unit := SecondSynapse.Coturn.File, "/etc/systemd/system/"+SecondSynapse.Coturn.Unit
	return []damage{
		{
			"masked", "mv " + unit + " /root/unit; ln -s /dev/null " + unit + "; systemctl daemon-reload",
			"mv /root/unit " + unit + "; systemctl daemon-reload", `masked\s+hint: systemctl unmask synapse__2-coturn\.service`,
		},
		{
			"unreadable", "setfacl -b " + file, "setfacl -m user:turnserver:r " + file,
			`cannot read it.*\s+hint: runuser -u synapse -- setfacl `,
		},
		{"missing", "mv " + file + " /root/conf", "mv /root/conf " + file, `no such file.*\s+hint: `},
	}
}

func testOneOfTwoFails(t *testing.T) {
	for n, d := range damages() {
		t.Run(d.name, func(t *testing.T) { d.hindersNoOther(t, Public(120+n)) })
	}
}

// hindersNoOther fails unless the first coturn follows an address in time while
// the second is damaged, and the second as soon as it is mended.
func (d damage) hindersNoOther(t *testing.T, to netip.Addr) {
	again(t)
	watching(t, followBoth(), FirstPublic)
	first, second := logIn(t, FirstSynapse), logIn(t, SecondSynapse)
	before := starts(t, FirstSynapse.Coturn.Unit)
	shell(t, d.do)
	changed := time.Now()
	must(t, world.SetPublic(t.Context(), to))
	promised(t, Times{first.relayed(t, to, 20*time.Second).Sub(changed)}, every+settle+200*time.Millisecond)
	failing(t, d.says)
	shell(t, d.mend)
	mended := time.Now()
	t.Logf("the other follows %v after it was mended",
		second.relayed(t, to, 20*time.Second).Sub(mended).Round(time.Millisecond))
	idle(t, to)
	if n := starts(t, FirstSynapse.Coturn.Unit) - before; n != 1 {
		t.Errorf("the coturn that did not fail was started %d times, want once", n)
	}
}

// failing waits until netwatch status says that a rule fails, and why.
func failing(t *testing.T, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	pattern := regexp.MustCompile(`failed, again at .*` + says)
	must(t, until(ctx, 50*time.Millisecond, func() error {
		text, err := server.Exec(ctx, "netwatch", "status")
		if err == nil && !pattern.MatchString(text) {
			err = fmt.Errorf("the status does not say %s:\n%s", says, text)
		}
		return err
	}))
}

// onEvent is a configuration with a rule that is not tried twice.
func onEvent(event string, steps ...string) string {
	return fmt.Sprintf("\n[[rule]]\non = [%q]\nsettle = \"0s\"\ntimeout = \"10s\"\nretry = \"0s\"\ndo = [\"%s\"]\n", event,
		strings.Join(steps, `", "`))
}

// at is a port of the server in its own network.
func at(port uint16) netip.AddrPort { return netip.AddrPortFrom(Private, port) }

func testRenewal(t *testing.T) {
	t.Run("signal", func(t *testing.T) { renews(t, FirstSynapse, "signal HUP") })
	t.Run("reload", func(t *testing.T) { renews(t, SecondSynapse, "reload") })
}

// renews fails unless Synapse, by a step, and coturn serve a renewed certificate
// without a restart.
func renews(t *testing.T, i Instance, step string) {
	again(t)
	begin(t, sourceStun("1h", false)+onEvent("cert-renewed", "signal USR2 "+i.Coturn.Unit, step+" "+i.Unit()))
	before := incarnation(t, i.Unit()) + incarnation(t, i.Coturn.Unit)
	leaf, err := server.Renew(i.Domain)
	must(t, err)
	answersWith(t, `signal USR2 `+i.Coturn.Unit+`: changed.*\n.*`+step+` `+i.Unit()+`: changed`, 0, "cert-renewed")
	fired := time.Now()
	serves(t, at(i.TURNS), leaf)
	serves(t, at(i.HTTPS), leaf)
	t.Logf("both serve it %v after netwatch fire", time.Since(fired).Round(time.Millisecond))
	if now := incarnation(t, i.Unit()) + incarnation(t, i.Coturn.Unit); now != before {
		t.Errorf("one was restarted: %s, was %s", now, before)
	}
}

// answersWith fires an event and fails unless what is printed matches a pattern and the
// exit code is as wanted.
func answersWith(t *testing.T, pattern string, want int, event string) {
	t.Helper()
	out, code := fire(t, event)
	if code != want || !regexp.MustCompile(pattern).MatchString(out) {
		t.Errorf("netwatch fire %s exits %d, want %d and %s:\n%s", event, code, want, pattern, out)
	}
}

func testNoReload(t *testing.T) {
	again(t)
	i := FirstSynapse
	begin(t, sourceStun("1h", false)+onEvent("reload", "reload "+i.Unit())+
		onEvent("either", "reload-or-restart "+i.Unit()))
	before := incarnation(t, i.Unit())
	leaf, err := server.Renew(i.Domain)
	must(t, err)
	answersWith(t, `failed: .*reload is not applicable.*\n.*hint: it has no ExecReload=: `+
		`use "reload-or-restart synapse\.service"`, 1, "reload")
	if now := incarnation(t, i.Unit()); now != before {
		t.Errorf("what cannot be reloaded was restarted: %s, was %s", now, before)
	}
	answersWith(t, `reload-or-restart synapse\.service: changed`, 0, "either")
	if now := incarnation(t, i.Unit()); now == before {
		t.Error("it was not restarted")
	}
	healthy(t, i)
	serves(t, at(i.HTTPS), leaf)
}

// testMismatch is about a Synapse that cannot read what it is to serve: it says
// that it reloads and never that it has, and reads it when told again. systemd 262 loses
// that it reloads if it says so before the command of ExecReload= has ended, and no
// property of the unit is another then (measured): what is served tells.
func testMismatch(t *testing.T) {
	again(t)
	i := SecondSynapse
	proof := "verify tls " + at(i.HTTPS).String() + " " + certificates(i.Domain) + "/crt.pem"
	reload := strings.ReplaceAll(onEvent("cert-renewed", "reload "+i.Unit(), proof), "10s", "5s")
	begin(t, sourceStun("1h", false)+reload+onEvent("mended", "signal HUP "+i.Unit()))
	before, err := Served(t.Context(), world.Net, at(i.HTTPS))
	must(t, err)
	leaf, err := server.Renew(i.Domain)
	must(t, err)
	key := certificates(i.Domain) + "/key.pem"
	shell(t, "cp "+key+" /root/key; openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "+key)
	says := `failed: .*no end in time.*\n.*hint: it said RELOADING=1 and never READY=1`
	if Release(*release) == Sid {
		says += `|reload ` + i.Unit() + `: changed(.|\n)*verify tls .*: failed: .*it serves another one`
	}
	answersWith(t, says, 1, "cert-renewed")
	serves(t, at(i.HTTPS), before)
	shell(t, "cp /root/key "+key)
	answersWith(t, `signal HUP `+i.Unit()+`: changed: active`, 0, "mended")
	serves(t, at(i.HTTPS), leaf)
}

// testNotice has a rule tell a room of what it did: what is written there, with
// a token that only netwatch may read, is what the run was about.
func testNotice(t *testing.T) {
	again(t)
	home := world.Homeserver(FirstSynapse)
	token, err := home.Login(t.Context(), user, password)
	must(t, err)
	room, err := home.NewRoom(t.Context(), token)
	must(t, err)
	must(t, install()) // Which makes the group
	must(t, server.WriteFile("/etc/netwatch/matrix.header", "Authorization: Bearer "+token+"\n", 0o640))
	shell(t, "chgrp netwatch /etc/netwatch/matrix.header")
	coturn := FirstSynapse.Coturn
	step := fmt.Sprintf(`http PUT %s/_matrix/client/v3/rooms/%s/send/m.room.message/{id} `+
		`header=@/etc/netwatch/matrix.header body='{"msgtype":"m.text","body":"{event} from {old} to {new}: {outcome}"}'`,
		home.URL(), url.PathEscape(room))
	rule := fmt.Sprintf("\n[[rule]]\non = [\"ip-changed\"]\ndo = [\"rotate coturn %s\", \"restart %s\", %q]\n",
		coturn.File, coturn.Unit, step)
	watching(t, sourceStun(every.String(), false)+"families = [\"ipv4\"]\n"+rule, FirstPublic)
	to := Public(120)
	must(t, world.SetPublic(t.Context(), to))
	want := fmt.Sprintf("ip-changed from %s to %s: changed", FirstPublic, to)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	must(t, until(ctx, 100*time.Millisecond, func() error {
		said, err := home.Messages(t.Context(), token, room)
		if err == nil && !slices.Contains(said, want) {
			err = fmt.Errorf("in the room stands %q, not %q", said, want)
		}
		return err
	}))
}
