package machine

import (
	"fmt"
	"slices"

	"netwatch"
)

// A Certificate is the file of a certificate and that of its key, which may be
// unknown.
type Certificate struct {
	File, Key string
	// Open says that everyone may read the file.
	Open bool
}

// named is a certificate that somebody's file names. The name goes into
// netwatch.toml, so it has to be plain text.
func (s *search) named(file, key string) Certificate {
	if err := netwatch.CheckPlain(file + key); err != nil {
		s.Unread = append(s.Unread, fmt.Errorf("looking at a certificate: %w", err))
		return Certificate{}
	}
	return Certificate{file, key, s.tree.open(file)}
}

// unused finds the certificates of YunoHost and certbot whose domain nothing found
// here uses.
func (s *search) unused() {
	used := s.Served()
	for _, kind := range []struct{ dirs, file, key string }{
		{"/etc/yunohost/certs/*", "/crt.pem", "/key.pem"},
		{"/etc/letsencrypt/live/*", "/fullchain.pem", "/privkey.pem"},
	} {
		for _, dir := range s.tree.Glob(kind.dirs) {
			c := Certificate{File: dir + kind.file, Key: dir + kind.key}
			if s.tree.Has(c.File) && !slices.ContainsFunc(used, func(u Certificate) bool { return u.File == c.File }) {
				s.Unused = append(s.Unused, c)
			}
		}
	}
}

// Served are the certificates that coturn, the other servers and Synapse serve, each file once.
func (m Machine) Served() []Certificate {
	var all []Certificate
	add := func(c Certificate) {
		if c.File != "" && !slices.ContainsFunc(all, func(o Certificate) bool { return o.File == c.File }) {
			all = append(all, c)
		}
	}
	for _, t := range m.Turns {
		add(t.Certificate)
	}
	for _, s := range m.Servers {
		add(s.Certificate)
	}
	for _, s := range m.Synapses {
		add(s.Certificate)
	}
	return all
}
