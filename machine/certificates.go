package machine

import (
	"fmt"
	"slices"

	"netwatch"
)

// A Certificate is a file of a certificate and that of its key; the key may be
// unknown.
type Certificate struct{ File, Key string }

// named is the certificate that a file of somebody's names. Its name comes into
// netwatch.toml, so it has to be plain text.
func (s *search) named(file, key string) Certificate {
	if err := netwatch.CheckPlain(file + key); err != nil {
		s.Unread = append(s.Unread, fmt.Errorf("looking at a certificate: %w", err))
		return Certificate{}
	}
	return Certificate{file, key}
}

// unused finds the certificates of YunoHost and certbot that are for a domain of
// which nothing found here makes use.
func (s *search) unused() {
	used := s.Served()
	for _, kind := range []struct{ dirs, file, key string }{
		{"/etc/yunohost/certs/*", "/crt.pem", "/key.pem"},
		{"/etc/letsencrypt/live/*", "/fullchain.pem", "/privkey.pem"},
	} {
		for _, dir := range s.tree.Glob(kind.dirs) {
			c := Certificate{dir + kind.file, dir + kind.key}
			if s.tree.Has(c.File) && !slices.ContainsFunc(used, func(u Certificate) bool { return u.File == c.File }) {
				s.Unused = append(s.Unused, c)
			}
		}
	}
}

// Served are the certificates that coturn and Synapse serve, each file once.
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
	for _, s := range m.Synapses {
		add(s.Certificate)
	}
	return all
}
