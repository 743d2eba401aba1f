package sources

import (
	"time"

	"netwatch"
)

// LookCert reads a certificate and its key once, as a source of kind cert does,
// and says until when the certificate is good. key is empty where it is to be
// looked for beside it. An error says what is wrong with the two, with the remedy.
func LookCert(file, key string) (until time.Time, err error) {
	keys := []string{key}
	if key == "" {
		keys = keysOf(file)
	}
	seen, err := readPair(file, keys, key != "")
	return seen.until, err
}

// KeyOf is the key that is given for the n-th of the files, empty if none is.
func (s *Cert) KeyOf(n int) netwatch.Path {
	if n < len(s.Key) {
		return s.Key[n]
	}
	return ""
}
