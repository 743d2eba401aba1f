package setup

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/rogpeppe/go-internal/diff"

	"netwatch"
	"netwatch/actions"
	"netwatch/config"
	"netwatch/contrib"
	"netwatch/machine"
	"netwatch/sources"
)

// The modes of what others run, and of what they read.
const (
	hookMode   = 0o755
	dropInMode = 0o644
)

// packaged and packagedExamples are the program, and where contrib lies, as the files of contrib
// name them.
const (
	packaged         = "/usr/bin/netwatch"
	packagedExamples = "/usr/share/doc/netwatch/examples/"
)

// examples is where the files of contrib lie once they are installed with the program.
func (p *Plan) examples() string {
	return filepath.Join(filepath.Dir(filepath.Dir(p.program)), "share/doc/netwatch/examples") + "/"
}

// A hook is what tells netwatch of renewals of the certificates in a directory, whose
// keys not everyone may read.
type hook struct {
	dir, file string
	text      []byte
	example   string
}

var hooks = []hook{
	{
		"/etc/yunohost/certs/", "/etc/yunohost/hooks.d/post_cert_update/50-netwatch", contrib.YunoHost,
		"yunohost/50-netwatch",
	},
	{"/etc/letsencrypt/", "/etc/letsencrypt/renewal-hooks/deploy/netwatch", contrib.Certbot, "certbot/netwatch"},
}

// hookOf is the hook that tells of a certificate, or nil.
func hookOf(file string) *hook {
	i := slices.IndexFunc(hooks, func(h hook) bool { return strings.HasPrefix(file, h.dir) })
	if i < 0 {
		return nil
	}
	return &hooks[i]
}

// callers plans what has others call netwatch: the hooks for the certificates that are
// served here, and what OpenVPN runs. Nobody is to call it whom no rule of the
// configuration waits for.
func (p *Plan) callers(m machine.Machine, conf []byte, w Wish) {
	p.program = cmp.Or(w.Program, packaged)
	cfg, err := config.Parse("", conf, actions.Env{})
	if err != nil {
		p.leave("put the configuration right and run netwatch init again: with mistakes in it no hook is put in place")
		return
	}
	var on []string
	for _, r := range cfg.Rules {
		on = append(on, r.On...)
	}
	if slices.Contains(on, netwatch.CertRenewed) {
		p.certHooks(m, cfg)
	}
	p.restarters(cfg)
	p.Later = later(m, cfg)
	p.vpnHooks(m, slices.Contains(on, netwatch.VPNChanged))
}

// certHooks are for certificates that netwatch does not watch itself: a renewal would be
// two events.
func (p *Plan) certHooks(m machine.Machine, cfg *config.Config) {
	for _, c := range m.Served() {
		h := hookOf(c.File)
		switch {
		case watched(cfg, c.File):
		case h == nil && !c.Open:
			p.leave("have what renews %s run, as root: %s", c.File, tell(c))
		case h != nil && !p.called(h.file):
			p.place(h.file, h.text, hookMode, h.example)
		}
	}
}

// watched says whether a source of the configuration watches a certificate.
func watched(cfg *config.Config, file string) bool {
	for _, s := range cfg.Sources {
		if certified, ok := s.Settings.(sources.Certified); ok {
			of := func(c sources.Certificate) bool { return string(c.File) == file }
			if slices.ContainsFunc(certified.Certificates(), of) {
				return true
			}
		}
	}
	return false
}

// vpnHooks leaves a client alone that calls netwatch already, or the old script, for
// which --migrate puts netwatch. waits says that a rule waits for what OpenVPN tells.
func (p *Plan) vpnHooks(m machine.Machine, waits bool) {
	for _, v := range m.VPNs {
		old := slices.ContainsFunc(m.Old, func(o machine.Old) bool { return o.File == v.File })
		migrated := slices.ContainsFunc(p.Changes, func(c Change) bool { return c.File == v.File })
		switch {
		case migrated:
			p.raiseLimit(v.File)
			p.restartVPN(v.File)
			if !waits {
				p.leave("add the [source.openvpn] and the vpn-changed that are shown above: until a rule waits for it, " +
					"nothing follows when a tunnel comes or goes")
			}
		case waits && len(v.Hooked) == 0 && !old:
			p.vpn(v)
		}
	}
}

// restartVPN says what is left to do once an OpenVPN client is to call netwatch.
func (p *Plan) restartVPN(file string) {
	p.leave("systemctl daemon-reload; systemctl try-restart %s: from then on OpenVPN calls netwatch "+
		"(the tunnel is down for a moment)", netwatch.ShellPath(vpnUnit(file)))
}

// called says whether something else in the directory of a hook calls netwatch already:
// a renewal would be two events.
func (p *Plan) called(hook string) bool {
	return slices.ContainsFunc(p.tree.Glob(path.Dir(hook)+"/*"), func(file string) bool {
		text, _ := p.now(file) // What cannot be read calls nobody that we know of.
		return file != hook && machine.Calling(text) != ""
	})
}

// place plans to write a file of ours. One that somebody else wrote there stays.
func (p *Plan) place(file string, text []byte, mode uint32, example string) {
	text = bytes.ReplaceAll(text, []byte(packaged), []byte(p.program))
	text = bytes.ReplaceAll(text, []byte(packagedExamples), []byte(p.examples()))
	if slices.ContainsFunc(p.Changes, func(c Change) bool { return c.File == file }) {
		return
	}
	_, err := p.lies(file)
	var before []byte
	if err == nil {
		before, err = p.tree.Read(file)
	}
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		p.leave("%s is not written: %v", file, netwatch.WithoutPath(err))
	case err == nil && bytes.Equal(before, text):
	case err == nil && !p.isOurs(file, before):
		p.leave("%s is not netwatch's and stays; compare it with %s%s", file, p.examples(), example)
	default:
		p.Changes = append(p.Changes, Change{
			File: file, Before: before, After: text, mode: mode, calls: true,
			shown: string(diff.Diff(nameOr(before, file), before, file, text)),
		})
	}
}

// leave says what is left to do by hand.
func (p *Plan) leave(format string, args ...any) {
	if line := fmt.Sprintf(format, args...); !slices.Contains(p.Advice, line) {
		p.Advice = append(p.Advice, line)
	}
}

// scripts has the directories whose files YunoHost's VPN client runs. It rewrites its
// configuration.
const scripts = "/etc/openvpn/scripts/"

// vpn plans that an OpenVPN client calls netwatch. A configuration that calls programs
// of its own stays: there may be one of each kind.
func (p *Plan) vpn(v machine.VPN) {
	text, err := p.tree.Read(v.File)
	_, led := p.lies(v.File)
	security := slices.ContainsFunc(strings.Split(string(text), "\n"), func(line string) bool {
		return strings.HasPrefix(strings.TrimSpace(line), "script-security")
	})
	byHand := fmt.Sprintf("GOMAXPROCS=1 %s hook openvpn || :", p.program)
	switch {
	case err != nil: // Find has said so.
	case bytes.Contains(text, []byte(scripts)):
		for _, dir := range []string{"route-up.d", "route-down.d"} {
			if file := scripts + dir + "/90-netwatch"; p.tree.Has(path.Dir(file)) && !p.called(file) {
				p.place(file, contrib.Script, hookMode, "openvpn/yunohost/90-netwatch")
			}
		}
	case len(v.Scripts) > 0:
		p.leave("%s stays, since it calls a program by %s: have that run `%s`", v.File, strings.Join(v.Scripts, ", "), byHand)
	case security && v.Silent():
		p.leave("%s stays, since it forbids OpenVPN to call programs (script-security %s): "+
			"write `script-security 2` and what %sopenvpn/client.conf has", v.File, v.Security, p.examples())
	case led != nil:
		p.leave("%s is not written: %v", v.File, led)
	default:
		p.insert(v.File, text, p.clientLines(security))
		p.raiseLimit(v.File)
		p.restartVPN(v.File)
	}
}

// clientLines are those of contrib, less the level of security where the file has one
// that suffices.
func (p *Plan) clientLines(security bool) []byte {
	lines := bytes.ReplaceAll(contrib.Client, []byte(packaged), []byte(p.program))
	if security {
		lines = bytes.ReplaceAll(lines, []byte("script-security 2\n"), nil)
	}
	return lines
}

// insert plans to put lines at the end of a file. Of the rest nothing is shown: it may
// hold keys.
func (p *Plan) insert(file string, before, lines []byte) {
	if len(before) > 0 && !bytes.HasSuffix(before, []byte{'\n'}) {
		lines = append([]byte{'\n'}, bytes.TrimSuffix(lines, []byte{'\n'})...)
	}
	shown := strings.Trim(string(lines), "\n")
	p.Changes = append(p.Changes, Change{
		File: file, Before: before, After: slices.Concat(before, lines), calls: true, lines: []string{string(lines)},
		shown: "    + " + strings.ReplaceAll(shown, "\n", "\n    + ") + "\n",
	})
}

// enoughTasks is how many tasks of OpenVPN's user leave room for our hook, which has
// few of its own: those of all else that runs as that user count too.
const enoughTasks = 1 << 10

// raiseLimit plans to raise the number of tasks that OpenVPN's unit lets its user have,
// if the unit has one that our hook could meet and nobody else has raised it.
func (p *Plan) raiseLimit(file string) {
	unit, _, _ := strings.Cut(vpnUnit(file), "@")
	unit += "@.service"
	dropIn := "/etc/systemd/system/" + unit + ".d/netwatch.conf"
	for _, other := range p.tree.Glob(path.Dir(dropIn) + "/*.conf") {
		if _, ok := limit(p.tree, other); ok && other != dropIn {
			return
		}
	}
	for _, dir := range []string{"/etc/systemd/system/", "/lib/systemd/system/", "/usr/lib/systemd/system/"} {
		if tasks, ok := limit(p.tree, dir+unit); ok && tasks < enoughTasks {
			p.place(dropIn, contrib.Limit, dropInMode, "openvpn/limit.conf")
			return
		}
	}
}

// vpnUnit is Debian's unit that runs a configuration.
func vpnUnit(file string) string {
	name := strings.TrimSuffix(path.Base(file), ".conf") + ".service"
	if path.Base(path.Dir(file)) == "client" {
		return "openvpn-client@" + name
	}
	return "openvpn@" + name
}

// isVPN says whether a file is the configuration of one of Debian's units for OpenVPN.
func isVPN(file string) bool {
	return slices.ContainsFunc([]string{"/etc/openvpn/*.conf", "/etc/openvpn/client/*.conf"}, func(pattern string) bool {
		fits, _ := path.Match(pattern, file) // The patterns are well-formed.
		return fits
	})
}

// limit is the number of tasks that a unit's file lets its user have, if it says one.
func limit(tree machine.Tree, file string) (int, bool) {
	text, _ := tree.Read(file) // What is not there says nothing.
	return limitOf(string(text))
}

func limitOf(text string) (int, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "LimitNPROC="); ok {
			n, err := strconv.Atoi(value)
			return n, err == nil
		}
	}
	return 0, false
}
