package setup

import (
	"fmt"
	"os/user"
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

// forServers are the sources that coturn and the others need. It has the servers that are asked
// unless somebody names others.
const forServers = `
# The public address, asked of STUN servers of which two must say the same.
[source.stun]
servers = ["stun.cloudflare.com:3478", "stun.nextcloud.com:3478", "stun.sipgate.net:3478"]
agree   = 2

# This machine's own addresses, which a server may listen on as they were at its start,
# and its way out.
[source.netlink]
`

// Text writes the configuration for what was found, with a comment on each part. It
// is empty if there is no server that netwatch could keep right.
func Text(m machine.Machine) string {
	all := keptOnes(m)
	if len(all) == 0 {
		return ""
	}
	d := &draft{Machine: m}
	fmt.Fprint(d, heading, forServers)
	d.routerSource()
	d.fileSource(all)
	d.certSource()
	d.vpnSource()
	for _, k := range all {
		d.keep(k, len(all) == 1)
	}
	d.wayRule()
	d.certRules()
	return d.String()
}

// A draft is the configuration for a machine while it is written.
type draft struct {
	machine.Machine
	strings.Builder
}

// fileSource watches the files that are kept right.
func (d *draft) fileSource(all []kept) {
	var files []string
	for _, k := range all {
		if !k.itself {
			files = append(files, k.file)
		}
	}
	if len(files) == 0 {
		return
	}
	fmt.Fprintf(d, "\n# Rewritten by others too: an upgrade of the app, an editor. netwatch grant, which\n"+
		"# each start does, lets the user netwatch read it, who then has its secrets: verify asks\n"+
		"# with them, as a caller does.\n[source.file]\nfiles = %s\n", list(files))
}

// tell is the command that tells of a certificate's renewal.
func tell(c machine.Certificate) string {
	return "netwatch fire cert-renewed --no-wait --timeout 5s file=" + netwatch.ShellPath(c.File)
}

// certSource watches the certificates that are served here, except those
// that a hook tells of, and those that the daemon could not read.
func (d *draft) certSource() {
	var files []string
	for _, c := range d.Served() {
		h := hookOf(c.File)
		switch {
		case h != nil:
			fmt.Fprintf(d, "\n# %s is for few to read:\n# cert-renewed comes from %s.\n",
				netwatch.Printable(c.File), h.file)
		case !c.Open:
			fmt.Fprintf(d, "\n# The user netwatch cannot read %s:\n# have what renews it run, as root,\n# %s\n",
				netwatch.Printable(c.File), netwatch.Printable(tell(c)))
		default:
			files = append(files, c.File)
		}
	}
	if len(files) > 0 {
		fmt.Fprintf(d, "\n# The certificates that are served here, and that everyone may read.\n"+
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
		_, err := user.Lookup(v.User) // The file may be a sample, or another's
		if err == nil && !slices.Contains(users, v.User) {
			users = append(users, v.User)
		}
	}
	fmt.Fprintf(d, "\n# OpenVPN tells by netwatch hook openvpn that a tunnel came or went: its scripts run\n"+
		"# as root first, and later as the user that it becomes.\n[source.openvpn]\nusers = %s\n", list(users))
}

// exactly is the glob that a name alone fits.
func exactly(name string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(name)
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
	for _, c := range d.Served() {
		var steps, proofs, words []string
		for _, t := range d.Turns {
			if t.Certificate.File == c.File {
				step, said := rereads(t)
				steps, words = append(steps, quote(step)), append(words, said)
				proofs = append(proofs, served(t)...)
			}
		}
		started, said := d.startedFor(c)
		steps, words = append(steps, started...), append(words, said...)
		for _, s := range d.Synapses {
			switch {
			case s.Certificate.File != c.File:
			case s.Hook != "":
				words = append(words, s.Unit+" is left to\n# "+s.Hook+
					",\n# which restarts it: a second restart would kill the first.")
			default:
				steps = append(steps, quote("reload-or-restart "+word(s.Unit)))
			}
		}
		d.certRule(c, strings.Join(slices.Compact(words), "\n# "), append(steps, proofs...))
	}
}

// rereads is the step by which a coturn reads its certificate again, and what is said of that.
func rereads(t machine.Turn) (step, said string) {
	if t.Renews == "" {
		return "signal USR2 " + word(t.Unit), "coturn keeps its calls."
	}
	return t.Renews + " " + word(t.Unit), "coturn in a container\n" +
		"# reads it when it is started, or as its unit says to reload."
}

// certRule writes the rule for a certificate. Where nothing is to be done it only says
// why. YunoHost and certbot tell of renewals by the directory: coturn may name another
// file in it.
func (d *draft) certRule(c machine.Certificate, words string, steps []string) {
	name := netwatch.Printable(c.File)
	if len(steps) == 0 {
		fmt.Fprintf(d, "\n# %s is another sometimes:\n# %s\n", name, words)
		return
	}
	match := exactly(c.File)
	if hookOf(c.File) != nil {
		match = exactly(path.Dir(c.File)) + "/*"
	}
	if words != "" {
		words = " " + words
	}
	fmt.Fprintf(d, "\n# The certificate is another: have it read again.%s\n[[rule]]\nname  = %s\n"+
		"on    = [\"cert-renewed\"]\nmatch = { file = %s }\ndo    = [%s]\n",
		words, quote("certificate "+name), quote(match), strings.Join(steps, ", "))
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
