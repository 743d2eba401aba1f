package setup

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"netwatch"
)

// Findings are what there is on a machine that netwatch can keep right, and what
// it replaces.
type Findings struct {
	// Turns are the coturns, by their units.
	Turns []Turn
	// Synapses are the Synapses, by their units.
	Synapses []Synapse
	// VPNs are the OpenVPN clients, by their files.
	VPNs []VPN
	// Unused are certificates that nothing found here serves.
	Unused []Certificate
	// Old are the scripts and lines that netwatch replaces.
	Old []Old
	// Unread are the files that could not be looked into.
	Unread []error
}

// A Certificate is a file of a certificate and that of its key; the key may be
// unknown.
type Certificate struct{ File, Key string }

// A Synapse is a homeserver of Matrix.
type Synapse struct {
	// Unit runs it.
	Unit string
	// Certificate is what it serves itself; most have a proxy before them, and none.
	Certificate Certificate
}

// Find looks at the machine. program is where netwatch is to be called from.
func Find(tree Tree, program string) Findings {
	s := &search{tree: tree, program: program}
	all := s.units()
	s.turns(all)
	s.synapses(all)
	s.vpns()
	s.unused()
	s.old()
	return s.Findings
}

// A search is a Find on its way.
type search struct {
	Findings
	tree    Tree
	program string
}

// read is a file, and nil if there is none; that it may not be read is noted.
func (s *search) read(name string) []byte {
	text, err := s.tree.read(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.Unread = append(s.Unread, fmt.Errorf("looking into %s: %w", name, bare(err)))
	}
	return text
}

// named is the certificate that a file of somebody's names. Its name comes into
// netwatch.toml, so it has to be plain text.
func (s *search) named(file, key string) Certificate {
	if err := netwatch.CheckPlain(file + key); err != nil {
		s.Unread = append(s.Unread, fmt.Errorf("looking at a certificate: %w", err))
		return Certificate{}
	}
	return Certificate{file, key}
}

// bare is an error of a file without the name of it.
func bare(err error) error {
	if p := new(fs.PathError); errors.As(err, &p) {
		return p.Err
	}
	return err
}

// setting is the value of a key at the left margin of a YAML file that is as flat
// as YunoHost's settings and the upper keys of Synapse; empty if there is none.
func setting(text []byte, key string) string {
	for line := range strings.Lines(string(text)) {
		value, ok := strings.CutPrefix(line, key+":")
		if !ok || value != "" && !strings.ContainsAny(value[:1], " \t\r\n") {
			continue
		}
		value, _, _ = strings.Cut(value, " #")
		return strings.Trim(strings.TrimSpace(value), `"'`)
	}
	return ""
}

// synapses are those of the units that run Synapse's main process.
func (s *search) synapses(all []unit) {
	for _, u := range all {
		if !slices.Contains(u.words, "synapse.app.homeserver") {
			continue
		}
		found := Synapse{Unit: u.name}
		if conf := option(u.words, "-c", "--config-path"); conf != "" {
			text := s.read(conf)
			file := setting(text, "tls_certificate_path")
			if strings.HasPrefix(file, "/") && servesTLS(text) {
				found.Certificate = s.named(file, setting(text, "tls_private_key_path"))
			}
		}
		s.Synapses = append(s.Synapses, found)
	}
}

// servesTLS says that a listener of Synapse's configuration has TLS.
func servesTLS(text []byte) bool {
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(strings.TrimLeft(line, "- \t"), "#")
		if strings.Join(strings.Fields(line), "") == "tls:true" {
			return true
		}
	}
	return false
}

// unused finds the certificates of YunoHost and certbot that are for a domain of
// which nothing found here makes use.
func (s *search) unused() {
	used := s.Served()
	for _, kind := range []struct{ dirs, file, key string }{
		{"/etc/yunohost/certs/*", "/crt.pem", "/key.pem"},
		{"/etc/letsencrypt/live/*", "/fullchain.pem", "/privkey.pem"},
	} {
		for _, dir := range s.tree.glob(kind.dirs) {
			c := Certificate{dir + kind.file, dir + kind.key}
			if s.tree.has(c.File) && !slices.ContainsFunc(used, func(u Certificate) bool { return u.File == c.File }) {
				s.Unused = append(s.Unused, c)
			}
		}
	}
}

// Served are the certificates that coturn and Synapse serve, each file once.
func (f Findings) Served() []Certificate {
	var all []Certificate
	add := func(c Certificate) {
		if c.File != "" && !slices.ContainsFunc(all, func(o Certificate) bool { return o.File == c.File }) {
			all = append(all, c)
		}
	}
	for _, t := range f.Turns {
		add(t.Certificate)
	}
	for _, s := range f.Synapses {
		add(s.Certificate)
	}
	return all
}
