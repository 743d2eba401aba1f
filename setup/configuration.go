package setup

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"netwatch"
	"netwatch/machine"
)

// heading is the beginning of every configuration that init writes.
const heading = `# Written by netwatch init from what it found on this machine; see
# netwatch.toml(5). After a change: netwatch check, then
# systemctl reload netwatch.service.
`

// forTurns are the sources that coturn needs. It has the servers that are asked
// unless somebody names others.
const forTurns = `
# The public address, asked of STUN servers of which two must say the same.
[source.stun]
servers = ["stun.cloudflare.com:3478", "stun.nextcloud.com:3478", "stun.sipgate.net:3478"]
agree   = 2

# This machine's own addresses, which coturn listens on as they were at its start, and
# its way out.
[source.netlink]
`

// Text writes the configuration for what was found, with a comment on each part. It
// is empty if there is nothing that netwatch could keep right.
func Text(m machine.Machine) string {
	if len(m.Turns) == 0 && len(m.Served()) == 0 {
		return ""
	}
	d := &draft{Machine: m}
	fmt.Fprint(d, heading)
	if len(d.Turns) > 0 {
		fmt.Fprint(d, forTurns)
		d.routerSource()
		d.fileSource()
	}
	d.certSource()
	d.vpnSource()
	for _, t := range d.Turns {
		d.turnRules(t)
	}
	if len(d.Turns) > 0 {
		d.wayRule()
	}
	d.certRules()
	return d.String()
}

// A draft is the configuration for a machine while it is written.
type draft struct {
	machine.Machine
	strings.Builder
}

// fileSource watches the files of coturn.
func (d *draft) fileSource() {
	var files []string
	for _, t := range d.Turns {
		files = append(files, t.File)
	}
	fmt.Fprintf(d, "\n# Rewritten by others too: an upgrade of the app, an editor. netwatch grant, which\n"+
		"# each start does, lets the user netwatch read it, who then has its secrets: verify asks\n"+
		"# coturn with them, as a caller does.\n[source.file]\nfiles = %s\n", list(files))
}

// hooks are the directories whose certificates have keys that not everyone may read,
// and the hook of contrib/ that tells of their renewal.
var hooks = []struct{ dir, hook string }{
	{"/etc/yunohost/certs/", "contrib/yunohost/50-netwatch"},
	{"/etc/letsencrypt/", "contrib/certbot/netwatch"},
}

// hookOf is the hook that tells of a certificate, or empty.
func hookOf(file string) string {
	for _, h := range hooks {
		if strings.HasPrefix(file, h.dir) {
			return h.hook
		}
	}
	return ""
}

// certSource watches the certificates that coturn and Synapse serve, except those
// that a hook tells of.
func (d *draft) certSource() {
	var files []string
	for _, c := range d.Served() {
		if hook := hookOf(c.File); hook != "" {
			fmt.Fprintf(d, "\n# %s is for few to read:\n# cert-renewed comes from the hook %s, once that is in place.\n",
				netwatch.Printable(c.File), hook)
			continue
		}
		files = append(files, c.File)
	}
	if len(files) > 0 {
		fmt.Fprintf(d, "\n# The certificates that are served here. The user netwatch must be able to read them\n"+
			"# and their keys; else have what renews them run netwatch fire cert-renewed.\n"+
			"[source.cert]\nfiles = %s\n", list(files))
		if keys := d.keys(files); keys != nil {
			fmt.Fprintf(d, "key   = %s\n", list(keys))
		}
	}
}

// keys are the keys of the files, in the same order. It returns nil if one is
// unknown, or if all are where the source looks anyway.
func (d *draft) keys(files []string) (keys []string) {
	beside := true
	for _, file := range files {
		i := slices.IndexFunc(d.Served(), func(c machine.Certificate) bool { return c.File == file })
		key := d.Served()[i].Key
		if !path.IsAbs(key) {
			return nil
		}
		keys = append(keys, key)
		beside = beside && path.Base(file) == "crt.pem" && key == path.Dir(file)+"/key.pem"
	}
	if beside {
		return nil
	}
	return keys
}

// vpnSource lets the scripts of OpenVPN fire.
func (d *draft) vpnSource() {
	if len(d.VPNs) == 0 {
		return
	}
	users := []string{"root"}
	for _, v := range d.VPNs {
		if v.User != "" && !slices.Contains(users, v.User) {
			users = append(users, v.User)
		}
	}
	fmt.Fprintf(d, "\n# OpenVPN tells by netwatch hook openvpn that a tunnel came or went: its scripts run\n"+
		"# as root first, and later as the user that it becomes.\n[source.openvpn]\nusers = %s\n", list(users))
}

// turnRules writes the rules for one coturn.
func (d *draft) turnRules(t machine.Turn) {
	stem := strings.TrimSuffix(t.Unit, ".service")
	rotate, restart, verify := "rotate coturn "+word(t.File), "restart "+t.Unit, "verify turn "+word(t.File)
	fmt.Fprintf(d, "\n# The address is another, or somebody rewrote the file of %s: put it right.\n"+
		"# The restart is skipped when the file was right. A caller's way in proves it.\n[[rule]]\nname = %s\n"+
		"on   = [\"started\", \"ip-changed\", \"file-changed\"]\n"+
		"do   = %s\n", netwatch.Printable(stem), quote(stem), steps(rotate, restart, verify))
	fmt.Fprintf(d, "\n# This machine has other addresses by which callers come in: coturn must be started to\n"+
		"# listen on them, also where the public one is the same. Those of containers are none.\n"+
		"[[rule]]\nname   = %s\non     = [\"addr-changed\"]\nmatch  = { use = \"callers\" }\nsettle = \"5s\"\n"+
		"do     = %s\n", quote(stem+" moves"), steps("probe stun", rotate, restart+" always", verify))
}

// wayRule asks where packets take another way, as over a VPN.
func (d *draft) wayRule() {
	on := `"route-changed"`
	if len(d.VPNs) > 0 {
		on += `, "vpn-changed"`
	}
	fmt.Fprintf(d, "\n# Packets to the internet take another way, where the public address may be another: ask\n"+
		"# now, not at the next poll.\n[[rule]]\nname = \"way out\"\non   = [%s]\ndo   = [\"probe stun\"]\n", on)
}

// steps are the steps of a rule, one a line.
func steps(lines ...string) string {
	var w strings.Builder
	for _, line := range lines {
		w.WriteString("\n  " + quote(line) + ",")
	}
	return "[" + w.String() + "\n]"
}

// certRules writes the rules by which those that serve a certificate read it again.
func (d *draft) certRules() {
	all := d.Served()
	for _, c := range all {
		var steps, proofs []string
		for _, t := range d.Turns {
			if t.Certificate.File == c.File {
				steps = append(steps, quote("signal USR2 "+t.Unit))
				proofs = append(proofs, served(t)...)
			}
		}
		for _, s := range d.Synapses {
			if s.Certificate.File == c.File {
				steps = append(steps, quote("reload-or-restart "+s.Unit))
			}
		}
		match := ""
		if len(all) > 1 {
			match = fmt.Sprintf("match = { file = %s }\n", quote(c.File))
		}
		fmt.Fprintf(d, "\n# The certificate is another: have it read again. coturn keeps its calls.\n[[rule]]\nname = %s\n"+
			"on   = [\"cert-renewed\"]\n%sdo   = [%s]\n",
			quote("certificate "+netwatch.Printable(c.File)), match, strings.Join(append(steps, proofs...), ", "))
	}
}

// served is the step that proves that a coturn serves its certificate, where it is said
// by its directory for which of its domains that is.
func served(t machine.Turn) []string {
	domain := path.Base(path.Dir(t.Certificate.File))
	if t.TLS == 0 || !slices.Contains(t.Domains, domain) {
		return nil
	}
	return []string{quote(fmt.Sprintf("verify tls %s:%d", domain, t.TLS))}
}

// list writes texts as a list of TOML.
func list(texts []string) string {
	quoted := make([]string, len(texts))
	for i, t := range texts {
		quoted[i] = quote(t)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// quote writes a text as a basic string of TOML: it escapes quotation marks,
// backslashes, and, as JSON does, what is not printable.
func quote(text string) string {
	return `"` + netwatch.Printable(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text)) + `"`
}

// word writes a name as one word of a step.
func word(name string) string {
	if !strings.ContainsAny(name, " \t'\"\\") {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
