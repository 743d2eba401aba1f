package machine

import (
	"slices"
	"strings"
)

// A Synapse is a homeserver of Matrix.
type Synapse struct {
	// Unit runs it.
	Unit string
	// Certificate is what it serves itself; most have a proxy before them, and none.
	Certificate Certificate
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
