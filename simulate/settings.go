package simulate

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// Settings are what a configuration may have otherwise.
type settings struct {
	agree int
	// every and settle are as they are written; empty is the default.
	every, settle string
	// router, timer, cert and mqtt are whether there are such sources, verify and notices such steps,
	// and program whether there is a rule that runs one.
	router, verify, timer, cert, program, notices, mqtt bool
	// mistake is a line that is none, or empty.
	mistake string
}

// firstSettings are those of a world at first, and in the end.
func (w *World) firstSettings() settings {
	is := func(what string) bool { return w.draw(what)%2 == 0 }
	return settings{
		agree: agree, router: w.draw("router")%3 == 0, verify: true, timer: is("timer"), cert: is("cert"),
		program: is("program"), notices: is("notices"), mqtt: is("mqtt"),
	}
}

// has says whether there is a rule of that name.
func (s settings) has(rule string) bool {
	return map[string]bool{
		"turn": true, "look": s.router, "now and then": s.timer, "certificate": s.cert,
		"program": s.program, "others": s.mqtt, "another": s.mqtt,
	}[rule]
}

// configure writes the configuration. w.mu is held, or nobody else is there yet.
func (w *World) configure(s settings) {
	w.wanted = s
	text := fmt.Sprintf("[daemon]\nsocket = %q\nstate = %q\nlog = \"info\"\n", w.path("socket"), w.path("state"))
	first, second := w.path(w.files[0].name), w.path(w.files[1].name)
	text += s.stun(w.serverNames()) + fmt.Sprintf("\n[source.file]\nfiles = [%q, %q]\n", first, second)
	text += s.turn(first, second)
	if s.router {
		text += routerText
	}
	if s.timer {
		text += timerText
	}
	if s.mqtt {
		text += fmt.Sprintf(mqttText, w.path("password"))
	}
	if s.program {
		text += fmt.Sprintf(programText, s.notice(mailStep))
	}
	if s.cert {
		text += fmt.Sprintf(certText, w.path("crt.pem"), unitName)
	}
	w.replace("netwatch.toml", text+s.mistake)
}

// replace puts another file in the place of one, on the real disk.
func (w *World) replace(name, text string) {
	if err := os.WriteFile(w.path(name)+".new", []byte(text), 0o600); err != nil {
		panic(err)
	}
	if err := os.Rename(w.path(name)+".new", w.path(name)); err != nil {
		panic(err)
	}
}

// key is a line with a key, or nothing where that has its default.
func key(name, value string) string {
	if value == "" {
		return ""
	}
	return fmt.Sprintf("%s = %q\n", name, value)
}

// stun is the source. Its timeout is not the whole second of the default: that of a router's
// next look is one too, and which of two things comes first in one instant is chance.
func (s settings) stun(servers string) string {
	return fmt.Sprintf("\n[source.stun]\nservers = [%s]\ntimeout = \"997ms\"\nagree = %d\n", servers, s.agree) +
		key("every", s.every)
}

// turn is the rule, as init writes it.
func (s settings) turn(file, second string) string {
	steps := fmt.Sprintf("\"rotate coturn %s\", \"rotate livekit %s\", \"restart %s\"", file, second, unitName)
	if s.verify {
		steps += fmt.Sprintf(", \"verify turn %s\"", file)
	}
	steps += s.notice(noticeStep)
	return "\n[[rule]]\nname = \"turn\"\non = [\"started\", \"ip-changed\", \"file-changed\"]\n" +
		key("settle", s.settle) + "do = [" + steps + "]\n"
}

// notice is a step after others, where there are notices.
func (s settings) notice(step string) string {
	if !s.notices {
		return ""
	}
	return fmt.Sprintf(", %q", step)
}

// routerText is what is in it where there is a router, and the kernel tells.
const routerText = `
[source.router]
[source.netlink]

[[rule]]
name = "look"
on = ["router-changed", "route-changed"]
do = ["probe stun"]
`

// others have somebody write other settings, and reload.
func (w *World) others(n uint64) {
	pick := func(by uint64, all ...string) string { return all[mix(n, by)%uint64(len(all))] }
	s := settings{
		agree: 2 + int(mix(n, 1)%2), every: pick(2, "", "", "21s", "41s"), settle: pick(3, "", "", "90ms", "3.1s", "10.3s"),
		verify: n%4 > 0, router: mix(n, 4)%3 == 0, timer: mix(n, 5)%2 == 0, cert: w.usual.cert,
		program: w.usual.program, notices: w.usual.notices, mqtt: w.usual.mqtt,
	}
	w.tell("the configuration is %+v", s)
	w.configure(s)
	w.reloadSoon(n)
}

// mistakes are lines that are none.
var mistakes = []string{
	"\n[source.sun]\n", "\n[[rule]]\non = [\"started\"]\ndo = [\"restart\"]\n", "\nnothing\n",
	"\n[[rule]]\nname = \"turn\"\non = [\"started\"]\ndo = [\"probe stun\"]\n",
}

// mistaken has somebody write a mistake, and reload. He mends it later.
func (w *World) mistaken(n uint64) {
	s := w.wanted
	s.mistake = mistakes[n%uint64(len(mistakes))]
	w.tell("the configuration has a mistake")
	w.configure(s)
	w.reloadSoon(n)
	time.AfterFunc(exponential(mix(n, 1), 10*time.Minute)+3*time.Second, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.mend(n)
	})
}

// mend takes the mistake out. w.mu is held.
func (w *World) mend(n uint64) {
	s := w.wanted
	if s.mistake == "" {
		return
	}
	s.mistake = ""
	w.tell("the configuration has no mistake")
	w.configure(s)
	w.still = time.Now()
	w.reloadSoon(n)
}

// reloadSoon has somebody reload.
func (w *World) reloadSoon(n uint64) {
	time.AfterFunc(between(n, time.Millisecond, 2*time.Second), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hangUp()
	})
}

// hangUp has netwatch read its configuration. w.mu is held.
func (w *World) hangUp() {
	l := w.life
	if l == nil || l.dead {
		return
	}
	w.tell("a reload")
	w.still, l.refuses = time.Now(), w.wanted.mistake != ""
	select {
	case l.hangups <- os.Signal(syscall.SIGHUP):
	default:
	}
}

// force notes that the configuration as it is has been put in force. w.mu is held.
func (l *life) force() {
	if l.wanted.timer != l.inForce.timer {
		l.timed = l.now()
	}
	if l.wanted.agree != l.inForce.agree || l.wanted.every != l.inForce.every {
		clear(l.changes) // The source is another, and knows of no penalties
	}
	l.inForce = l.wanted
	l.inForce.mistake = ""
}
