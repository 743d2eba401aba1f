package sources

import (
	"errors"
	"time"
)

// LookCert reads a certificate and its key once, as a source of kind cert does, and
// returns until when the certificate is good. If key is empty, it looks for the key
// itself. An error says what is wrong with the two, with the remedy.
func LookCert(file, key string) (until time.Time, err error) {
	keys := []string{key}
	if key == "" {
		keys = keysOf(file)
	}
	found, err := readPair(file, keys, key != "")
	return found.until, errors.Join(err, found.unchecked)
}

// Certificates are those of the files.
func (s *Cert) Certificates() []Certificate {
	all := make([]Certificate, len(s.Files))
	for i, file := range s.Files {
		all[i].File = file
		if i < len(s.Key) {
			all[i].Key = s.Key[i]
		}
	}
	return all
}
