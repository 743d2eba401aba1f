package simulate

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"sync"
	"time"

	"netwatch"
)

// A pair is a certificate and its key, as they stand in files.
type pair struct{ cert, key, fingerprint string }

// pairs are those of all worlds: of which one is there it is told by its number alone.
var pairs = sync.OnceValue(func() (all [4]pair) {
	for i := range all {
		all[i] = newPair(int64(i + 1))
	}
	return all
})

func newPair(number int64) pair {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(number), DNSNames: []string{"turn.example.org"},
		NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0),
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	text := func(kind string, raw []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw}))
	}
	return pair{text("CERTIFICATE", raw), text("PRIVATE KEY", private), netwatch.Fingerprint(raw)}
}

// A cert is the certificate of the server.
type cert struct {
	// number is which one it is, and since when both files are of it; writing is how many
	// are being renewed.
	number  int
	since   time.Time
	writing int
	// told is the last that was told of, and owed how many restarts one may still be the
	// reason for.
	told string
	owed int
}

// certText is what is in the configuration of a world with certificates: another rule with
// the unit of the first one.
const certText = `
[source.cert]
files = [%q]

[[rule]]
name = "certificate"
on = ["cert-renewed"]
do = ["restart %s"]
`

// newCert has a certificate be there.
func (w *World) newCert() {
	w.cert = &cert{}
	w.replace("crt.pem", pairs()[0].cert)
	w.replace("key.pem", pairs()[0].key)
}

// put gives a file another content, and tells of it. w.mu is held.
func (w *World) put(name, text string) {
	w.replace(name, text)
	w.still = time.Now()
	if l := w.life; l != nil {
		l.notice(w.path(name))
	}
}

// renews has somebody renew the certificate: the one file after the other, and each of them
// in halves at times. w.mu is held.
func (w *World) renews(n uint64) {
	c := w.cert
	if c.writing > 0 || !w.usual.cert {
		return
	}
	c.writing++
	number := (c.number + 1 + int(n%3)) % len(pairs())
	w.tell("certificate %d begins to be written", number)
	p := pairs()[number]
	files := []string{"crt.pem", p.cert, "key.pem", p.key}
	if n%2 == 0 {
		files = []string{"key.pem", p.key, "crt.pem", p.cert}
	}
	gap := between(mix(n, 1), time.Millisecond, 300*time.Millisecond)
	if mix(n, 2)%8 == 0 {
		gap = between(mix(n, 3), time.Second, 40*time.Second)
	}
	if n%3 == 0 {
		w.put(files[0], files[1][:len(files[1])/2])
	}
	w.later(between(mix(n, 4), time.Millisecond, 50*time.Millisecond), func() { w.put(files[0], files[1]) })
	w.later(51*time.Millisecond+gap, func() {
		w.put(files[2], files[3])
		c.number, c.since = number, time.Now()
		c.writing--
		c.owed = min(2, c.owed+1)
		w.tell("certificate %d is there", number)
		if seen := w.certSeen(); seen == "" || seen == p.fingerprint { // Nobody can tell
			w.unit.leaf = number
		}
	})
}

// later does something after a while.
func (w *World) later(after time.Duration, do func()) {
	time.AfterFunc(after, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		do()
	})
}

// certSeen is the certificate that netwatch knows, or empty. w.mu is held.
func (w *World) certSeen() string {
	return w.disk.known().Seen[netwatch.CertRenewed][w.path("crt.pem")]
}

// renewed is called when the log tells of a certificate. w.mu is held.
func (l *life) renewed(fingerprint string) {
	number := -1
	for i, p := range pairs() {
		if p.fingerprint == fingerprint {
			number = i
		}
	}
	l.tell("told of certificate %d", number)
	if l.cert.told == fingerprint {
		l.broken("a certificate is told of twice")
	}
	l.cert.told = fingerprint
}
