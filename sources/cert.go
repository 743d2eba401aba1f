package sources

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"netwatch"
)

// A Cert is the settings of a source that emits cert-renewed when a certificate
// file holds another leaf certificate and its private key matches.
type Cert struct {
	// Files are PEM files of certificates, the leaf first (RFC 8446, 4.4.2),
	// watched over all symlinks.
	Files []netwatch.Path `toml:"files"`
	// Key are their private keys, in the same order: one for each, or none at all. If
	// none is given, each is looked for in the file of the certificate and beside it.
	Key []netwatch.Path `toml:"key"`
}

func newCert() Settings { return &Cert{} }

// Check lists what is wrong beyond the types of single values.
func (s *Cert) Check() []Mistake {
	all := checkFiles("files", s.Files)
	if len(s.Key) > 0 && len(s.Files) > 0 && len(s.Key) != len(s.Files) {
		all = append(all, Mistake{"key", -1, fmt.Sprintf(
			"%d for %d files: give one for each, in the same order, or none", len(s.Key), len(s.Files))})
	}
	return all
}

// Claims are the files: the state keeps one fingerprint for each.
func (s *Cert) Claims() (key string, values []string) { return claimFiles(s.Files) }

// Source makes the source.
func (s *Cert) Source(name string, env Env) netwatch.Source {
	keys := make(map[string][]string, len(s.Files))
	var beside []string
	for i, file := range s.Files {
		keys[string(file)] = keysOf(string(file))
		if len(s.Key) > 0 {
			keys[string(file)] = []string{string(s.Key[i])}
		}
		beside = append(beside, keys[string(file)]...)
	}
	return newFollower(name, netwatch.CertRenewed, env, s.Files, beside, func(file string) (sight, error) {
		return readPair(file, keys[file], len(s.Key) > 0)
	})
}

// keysOf are the files in which the key of a certificate may be, the likeliest first.
// It looks in the file itself and then beside it: YunoHost has crt.pem and key.pem;
// certbot fullchain.pem or cert.pem, and privkey.pem; acme.sh DOMAIN.cer, or
// fullchain.cer in a directory called DOMAIN or DOMAIN_ecc, and DOMAIN.key; others
// NAME.crt (Kubernetes tls.crt among them), NAME.pem or NAME.cer, and NAME.key.
func keysOf(file string) []string {
	dir, base := filepath.Split(file)
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	all := []string{file}
	switch base {
	case "crt.pem":
		all = append(all, dir+"key.pem")
	case "cert.pem", "fullchain.pem":
		all = append(all, dir+"privkey.pem", dir+"key.pem")
	case "fullchain.cer":
		all = append(all, dir+strings.TrimSuffix(filepath.Base(dir), "_ecc")+".key")
	}
	if ext := filepath.Ext(base); ext == ".crt" || ext == ".pem" || ext == ".cer" {
		all = append(all, dir+stem+".key")
	}
	return all
}

// hookHint is the remedy where netwatch may not read a certificate or its key.
const hookHint = "have what renews the certificate run `netwatch fire cert-renewed`, as the hooks in contrib/ do, " +
	"and take the file out of this source; or let the user that runs netwatch read certificate and key"

// readPair reads a certificate, and sees its leaf if one of keys is its key. named
// says that the key was given, and not looked for: one that was not given and may not
// be read, as Caddy's, is not checked. Keys are compared, never shown.
func readPair(file string, keys []string, named bool) (sight, error) {
	chain, err := readFile(file)
	if err != nil {
		return sight{}, hinted(err, hookHint)
	}
	if err := whole(chain); err != nil {
		return sight{}, passing{fmt.Errorf("reading %s: %w", file, err)}
	}
	var closed error // Why a key is not read
	var other error  // A key that is not this one's: what lies beside it may be
	for _, key := range keys {
		text, err := readFile(key)
		defer clear(text)
		switch {
		case errors.As(err, &passing{}) && !named, err == nil && key == file && !named && !holdsKey(text):
			continue
		case errors.Is(err, fs.ErrPermission) && !named:
			closed = hinted(fmt.Errorf("checking the key of %s: %w", file, err), hookHint)
			continue
		case err != nil:
			return sight{}, hinted(fmt.Errorf("checking the key of %s: %w", file, err), hookHint)
		}
		found, err := pair(file, key, chain, text)
		if err == nil {
			return found, nil
		}
		other = cmp.Or(other, err)
	}
	switch {
	case closed != nil:
		found, err := leaf(file, chain)
		found.unchecked = closed
		return found, err
	case other != nil:
		return sight{}, other
	}
	err = fmt.Errorf("checking the key of %s: there is none in it, nor as %s", file, strings.Join(keys[1:], " or "))
	if len(keys) == 1 {
		err = fmt.Errorf("checking the key of %s: there is none in it, "+
			"and for a file of this name none is looked for beside it", file)
	}
	return sight{}, passing{netwatch.WithHint(err, "name it: key = [\"/path/of/the/key\"]")}
}

// hinted adds a remedy to an error about permissions, and leaves any other as it is.
func hinted(err error, hint string) error {
	if errors.Is(err, fs.ErrPermission) {
		return netwatch.WithHint(err, hint)
	}
	return err
}

// whole says why text is not a whole chain of certificates. Go's parser passes over a
// block without an end, which is how a file looks that is just being written.
func whole(text []byte) error {
	some := false
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		some = some || block.Type == "CERTIFICATE"
	}
	switch {
	case bytes.Contains(text, []byte("-----BEGIN")):
		return errors.New("its last block has no end")
	case !some:
		return errors.New("there is no certificate in it")
	}
	return nil
}

// holdsKey says whether there is a private key of any form in a PEM file.
func holdsKey(text []byte) bool {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			return false
		}
		if strings.HasSuffix(block.Type, "PRIVATE KEY") {
			return true
		}
	}
}

// pair sees a certificate by its leaf, if the key belongs to that.
func pair(file, key string, chain, text []byte) (sight, error) {
	cert, err := tls.X509KeyPair(chain, text)
	if err != nil {
		err = fmt.Errorf("comparing %s with its key %s: %w", file, key, err)
		return sight{}, passing{netwatch.WithHint(err,
			"put certificate and key of one issue there, the leaf certificate first")}
	}
	return seen(cert.Leaf), nil
}

// leaf sees a certificate by the first one in its file.
func leaf(file string, chain []byte) (sight, error) {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return sight{}, passing{fmt.Errorf("reading %s: %w", file, err)}
		}
		return seen(cert), nil
	}
	return sight{}, passing{fmt.Errorf("reading %s: there is no certificate in it", file)}
}

// seen is what is seen of a leaf.
func seen(leaf *x509.Certificate) sight {
	return sight{
		fingerprint: netwatch.Fingerprint(leaf.Raw), until: leaf.NotAfter,
		fields: map[string]string{"names": namesIn(leaf), "not-after": leaf.NotAfter.UTC().Format(time.RFC3339)},
	}
}

// namesIn are the DNS names and the addresses that a certificate is for, joined by
// commas.
func namesIn(leaf *x509.Certificate) string {
	all := slices.Clone(leaf.DNSNames)
	for _, ip := range leaf.IPAddresses {
		all = append(all, ip.String())
	}
	return strings.Join(all, ",")
}
