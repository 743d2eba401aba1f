// Package doctor looks whether the whole chain holds as it stands: from the STUN
// servers, over what the configuration names, to what a caller of coturn gets. It
// changes nothing. Each kind of thing has a file with its checks; doctor.go has the
// table of all checks, and makes them.
package doctor

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/control"
	"netwatch/machine"
	"netwatch/packaging"
	"netwatch/systemd"
)

// A Level says how a finding is to be taken.
type Level string

// The levels.
const (
	OK Level = "ok"
	// Note is what is worth knowing, and harms nobody as it is.
	Note Level = "note"
	// Warning is what should be seen to, and is not known to keep anything from working.
	Warning Level = "warning"
	// Problem is what does; for one of them doctor exits with 1.
	Problem Level = "problem"
	// Unknown is what could not be looked at.
	Unknown Level = "unknown"
)

// A Finding is what a check found about one thing.
type Finding struct {
	Level Level `json:"level"`
	// What is the thing: a server, a file, a unit.
	What string `json:"what"`
	// Found is what was found about it.
	Found string `json:"found"`
	// Hint is the remedy.
	Hint string `json:"hint,omitempty"`
}

// A Doctor looks whether the whole chain holds, and changes nothing.
type Doctor struct {
	// Tree is the machine's file system.
	Tree machine.Tree
	// Config is the configuration file.
	Config string
	// Program is where netwatch is to be called from.
	Program string
	// Version is this program's.
	Version string
	// Daemon asks the daemon how it stands; the error says why it cannot.
	Daemon func(ctx context.Context) (control.Status, error)
	// Probe has the daemon ask the broker.
	Probe func(ctx context.Context) (control.Probed, error)
	// Verify has the daemon ask other machines how our servers are from outside, and calls
	// each with what came of one; nil where nobody is to be asked.
	Verify func(ctx context.Context, each func(control.Verified)) error
	// Files is the helper.
	Files actions.Helper
}

// checkTime is the deadline of each check, and addressTime that of what several
// wait for: what the servers and the daemon say. shortTime is that of the daemon where
// nobody expects it to answer.
const (
	checkTime   = 5 * time.Second
	addressTime = 4 * time.Second
	shortTime   = time.Second
)

// A check looks at one link of the chain.
type check struct {
	name string
	// configured says that it needs a configuration without mistakes.
	configured bool
	look       func(ctx context.Context, s *scene) []Finding
}

// checks are all checks in the order of their findings: from the internet over
// what netwatch does to what it depends on.
var checks = []check{
	{"servers", true, checkServers},
	{"address", true, checkAddress},
	{"router", true, checkRouter},
	{"domains", true, checkDomains},
	{"external-ip", true, checkExternal},
	{"shared address", true, checkSharedAddress},
	{"rules", true, checkRules},
	{"containers", true, checkContainers},
	{"command lines", true, checkFlags},
	{"bound addresses", true, checkBound},
	{"units", true, checkUnits},
	{"times", true, checkTimes},
	{"mail", true, checkMail},
	{"machines", true, checkMachines},
	{"broker", true, checkBroker},
	{"relays", true, checkRelays},
	{"calls", true, checkCalls},
	{"open relay", true, checkOpen},
	{"permissions", true, checkPermissions},
	{"certificates", true, checkCertificates},
	{"served certificates", true, checkServed},
	{"hooks", true, checkHooks},
	{"ports", false, checkPorts},
	{"OpenVPN", false, checkVPN},
	{"old scripts", false, checkOld},
	{"daemon", false, checkDaemon},
	{outside, true, checkOutside},
}

// A scene is what the checks look at.
type scene struct {
	Doctor
	cfg *config.Config
	// mistakes is why there is no configuration, if that keeps the daemon from starting.
	mistakes error
	found    machine.Machine
	// told is what the STUN servers say, asked once for all.
	told func() []told
	// lookUnit is systemd.LookUnit, or what stands for it in a test.
	lookUnit func(ctx context.Context, unit string) (systemd.UnitLook, error)
	// daemon is what the daemon says, asked once for all.
	daemon func() (control.Status, error)
	// turns are the coturns in use, looked at once for all.
	turns func() []coturn
	// inUse are all servers in use, looked at once for all.
	inUse func() []inUse
}

// Examine makes all checks at the same time, each with a deadline of its own. It calls
// each with one finding after the other, in the order of the checks.
func (d Doctor) Examine(ctx context.Context, each func(Finding)) {
	s := &scene{Doctor: d, found: machine.Look(ctx, d.Tree, d.Program), lookUnit: lookUnit(systemd.Boots())}
	s.told = sync.OnceValue(func() []told { return s.ask(ctx) })
	s.daemon = sync.OnceValues(func() (control.Status, error) { return s.askDaemon(ctx) })
	s.turns = sync.OnceValue(func() []coturn { return s.lookAtTurns(ctx) })
	s.inUse = sync.OnceValue(func() []inUse { return s.lookAtServers(ctx) })
	first := s.configuration()
	ends := make([]chan []Finding, len(checks))
	for i, c := range checks {
		ends[i] = make(chan []Finding, 1)
		go func() { ends[i] <- s.make(ctx, c) }()
	}
	each(first)
	for _, end := range ends {
		for _, f := range <-end {
			each(f)
		}
	}
}

// maxExample is more than the package's configuration has, in bytes.
const maxExample = 1 << 20

// configuration reads the configuration.
func (s *scene) configuration() Finding {
	cfg, err := config.Load(s.Config, actions.Env{})
	switch {
	case errors.Is(err, fs.ErrPermission):
		return wrong(Unknown, "configuration", err)
	case errors.As(err, new(config.Mistakes)):
		s.mistakes = err
		return Finding{Problem, "configuration", err.Error(), "mend them until netwatch check finds no more"}
	case err != nil:
		s.mistakes = err
		return wrong(Problem, "configuration", netwatch.WithHint(err, "netwatch init writes one"))
	}
	s.cfg = cfg
	if text, err := netwatch.ReadRegular(s.Config, maxExample); err == nil && bytes.Equal(text, packaging.Configuration) {
		return Finding{
			Note, "configuration", s.Config + " is the example that the package brings",
			"netwatch init writes one that fits, or says why not",
		}
	}
	return Finding{OK, "configuration", s.Config, ""}
}

// make makes one check. One that does not end in time is left behind.
func (s *scene) make(ctx context.Context, c check) []Finding {
	if c.configured && s.cfg == nil {
		return []Finding{{Unknown, c.name, "not looked at without a configuration", ""}}
	}
	if c.configured {
		s.told() // Within a deadline of its own, not out of theirs who need it
	}
	span := cmp.Or(longer[c.name], checkTime)
	ctx, cancel := context.WithTimeout(ctx, span)
	defer cancel()
	done := make(chan []Finding, 1)
	go func() { done <- c.look(ctx, s) }()
	select {
	case found := <-done:
		return found
	case <-ctx.Done():
		return []Finding{{
			Warning, c.name, fmt.Sprintf("no end of looking within %s", span),
			"see what hangs: D-Bus, the name servers or a file system",
		}}
	}
}

// wrong is a finding of that level about an error. If the error is only that something
// may not be looked at, the level is Unknown.
func wrong(level Level, what string, err error) Finding {
	hint := netwatch.Hint(err)
	if errors.Is(err, fs.ErrPermission) {
		level, hint = Unknown, "run netwatch doctor as root"
	}
	return Finding{level, what, err.Error(), hint}
}
