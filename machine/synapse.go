package machine

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"netwatch"
)

// A Synapse is a homeserver of Matrix.
type Synapse struct {
	// Unit runs it.
	Unit string
	// Certificate is the one that it serves itself. Most have a proxy before them, and
	// none.
	Certificate Certificate
	// Hook is the file of YunoHost's app that restarts it when that certificate was
	// renewed, or empty.
	Hook string
}

// synapses are the units that run the main process of Synapse, and that run or will.
func (s *search) synapses() {
	for _, u := range s.all {
		words := u.run(isSynapse)
		switch {
		case words != nil && u.Root == "" && (u.Enabled || u.Running || !s.asked):
			s.Synapses = append(s.Synapses, s.synapse(u.Name, words))
		case words == nil && u.err != nil && mentions(u.Commands, "synapse.app.homeserver"):
			s.notSeen(u, u.err)
		}
	}
}

func isSynapse(words []string) bool {
	return slices.Contains(words, "synapse.app.homeserver") || isProgram(words, "synapse_homeserver")
}

func (s *search) synapse(unit string, words []string) Synapse {
	found := Synapse{Unit: unit}
	conf := s.synapseConf(options(words, "-c", "--config-path"))
	if file := conf["tls_certificate_path"]; path.IsAbs(file) && servesTLS(conf["listeners"]) {
		found.Certificate = s.named(file, conf["tls_private_key_path"])
		if strings.HasPrefix(file, yunohostCerts) {
			found.Hook = s.appHook(strings.TrimSuffix(unit, ".service"))
		}
	}
	return found
}

// synapseConf is what Synapse's files say under the keys that matter here. A directory
// stands for all *.yaml in it; of a key that several files have, the last one counts,
// as a whole.
func (s *search) synapseConf(names []string) map[string]string {
	conf := map[string]string{}
	for _, name := range names {
		files := []string{name}
		if s.tree.isDir(name) {
			files = s.tree.Glob(path.Join(name, "*.yaml"))
		}
		for _, file := range files {
			if !path.IsAbs(file) {
				s.Unread = append(s.Unread, fmt.Errorf("looking into %s of Synapse: it is not an absolute path", file))
				continue
			}
			text := s.read(file)
			for _, key := range []string{"tls_certificate_path", "tls_private_key_path"} {
				if value := setting(text, key); value != "" {
					conf[key] = value
				}
			}
			if block := block(text, "listeners"); block != "" {
				conf["listeners"] = block
			}
		}
	}
	return conf
}

// block is the text under a key at the left margin of a YAML file, with its own line.
func block(text []byte, key string) string {
	var b strings.Builder
	in := false
	for line := range strings.Lines(string(text)) {
		if margin := strings.TrimLeft(line, " \t-#\r\n") != "" && !strings.ContainsAny(line[:1], " \t-#"); margin {
			in = strings.HasPrefix(line, key+":")
		}
		if in {
			b.WriteString(line)
		}
	}
	return b.String()
}

var tlsTrue = netwatch.Pattern(`(?:^|[\s{,-])"?tls"?\s*:\s*(?:true|True|TRUE|yes|Yes|YES|on|On|ON)\s*(?:$|[,}\s])`)

// servesTLS says whether a listener in the configuration of Synapse has TLS.
func servesTLS(listeners string) bool {
	for line := range strings.Lines(listeners) {
		if line, _, _ = strings.Cut(line, "#"); tlsTrue().MatchString(strings.TrimSpace(line)) {
			return true
		}
	}
	return false
}

// yunohostCerts is above the certificates of all domains of YunoHost.
const yunohostCerts = "/etc/yunohost/certs/"

var restart = netwatch.Pattern(`(?m)^[^#\n]*\brestart\b`)

// appHook is the hook by which YunoHost's app restarts its own Synapse when the
// certificate of its domain was renewed, if there is one. A second restart at that time
// kills the first (measured).
func (s *search) appHook(app string) string {
	hook := "/etc/yunohost/hooks.d/post_cert_update/50-" + app
	if !s.tree.Has(hook) || !restart().Match(s.read(hook)) {
		return ""
	}
	return hook
}
