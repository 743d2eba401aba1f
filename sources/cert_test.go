package sources

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
)

// An issued is a certificate with its key, in PEM.
type issued struct{ leaf, ca, chain, key, fingerprint string }

// pairs are certificates of one name, each with another key.
var pairs = sync.OnceValue(func() []issued {
	all := make([]issued, renewals+4)
	ca := issue(0)
	for i := range all {
		all[i] = issue(int64(i))
		all[i].ca, all[i].chain = ca.leaf, all[i].leaf+ca.leaf
	}
	return all
})

// issue makes a certificate that signs itself.
func issue(serial int64) issued {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "example.org"}, DNSNames: []string{"example.org"},
		IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}, NotAfter: time.Date(2036, 1, 2, 3, 4, 5, 0, time.UTC),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return issued{
		leaf:        string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		key:         string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})),
		fingerprint: netwatch.Fingerprint(der),
	}
}

// A pair that does not match is never told, however long it stays; nor half a
// chain, although its leaf is whole and matches.
func TestOnlyMatchingPairs(t *testing.T) {
	dir, l := t.TempDir(), newLedger()
	file, key := dir+"/server.crt", dir+"/server.key"
	one, two := pairs()[0], pairs()[1]
	write(t, file, one.chain)
	write(t, key, one.key)
	f := l.follower(&Cert{Files: []netwatch.Path{netwatch.Path(file)}}, "cert")
	l.start(t, f)
	l.read(t, one.fingerprint)
	for range 3 {
		replace(t, key, two.key)
		l.read(t, "private key does not match public key")
		replace(t, file, two.chain[:len(two.chain)-40])
		l.read(t, "its last block has no end")
		l.read(t, "its last block has no end")
		replace(t, file, "")
		l.read(t, "there is no certificate in it")
		replace(t, file, two.chain)
		replace(t, key, two.key[:40])
		l.read(t, "comparing")
		check(t, os.Remove(key))
		l.read(t, "there is none in it, nor as "+key)
		l.none(t)
		write(t, key, two.key)
		wantRenewal(t, l.next(t), file, one, two)
		one, two = two, one
	}
	if f.Trouble() != nil || l.log.lines() > 0 {
		t.Errorf("what passes is no trouble: %v, log: %s", f.Trouble(), l.log.String())
	}
}

// The same leaf in another chain is no renewal.
func TestSameLeaf(t *testing.T) {
	dir, l := t.TempDir(), newLedger()
	file := dir + "/tls.crt"
	write(t, file, pairs()[0].chain)
	write(t, dir+"/tls.key", pairs()[0].key)
	l.start(t, l.follower(&Cert{Files: []netwatch.Path{netwatch.Path(file)}}, "cert"))
	l.read(t, pairs()[0].fingerprint)
	replace(t, file, pairs()[0].leaf)
	l.read(t, pairs()[0].fingerprint)
	replace(t, file, pairs()[1].leaf)
	replace(t, dir+"/tls.key", pairs()[1].key)
	wantRenewal(t, l.next(t), file, pairs()[0], pairs()[1])
}

// What was renewed while netwatch was down is told at its start; what it never
// saw is not.
func TestRenewedWhileDown(t *testing.T) {
	dir, l := t.TempDir(), newLedger()
	file := dir + "/crt.pem"
	settings := &Cert{Files: []netwatch.Path{netwatch.Path(file)}}
	write(t, file, pairs()[0].chain)
	write(t, dir+"/key.pem", pairs()[0].key)
	f := l.follower(settings, "cert")
	stop := l.start(t, f)
	l.read(t, pairs()[0].fingerprint)
	stop()
	l.none(t)
	write(t, file, pairs()[1].chain)
	write(t, dir+"/key.pem", pairs()[1].key)
	stop = l.start(t, f) // The same can run again
	wantRenewal(t, l.next(t), file, pairs()[0], pairs()[1])
	stop()
	l.start(t, l.follower(settings, "cert"))
	l.read(t, pairs()[1].fingerprint)
	l.none(t)
	if diff := cmp.Diff([]string{pairs()[0].fingerprint}, l.noted); diff != "" {
		t.Error(diff)
	}
}

// Where the key is looked for.
func TestKeysOf(t *testing.T) {
	for file, want := range map[string]string{
		"/etc/yunohost/certs/example.org/crt.pem":         "key.pem",
		"/etc/letsencrypt/live/example.org/fullchain.pem": "privkey.pem",
		"/etc/letsencrypt/live/example.org/cert.pem":      "privkey.pem",
		"/etc/app/cert.pem":                               "key.pem",
		"/etc/tls/tls.crt":                                "tls.key",
		"/etc/ssl/example.org.pem":                        "example.org.key",
		"/root/.acme.sh/example.org/example.org.cer":      "example.org.key",
		"/root/.acme.sh/example.org/fullchain.cer":        "example.org.key",
		"/root/.acme.sh/example.org_ecc/fullchain.cer":    "example.org.key",
		"/etc/haproxy/all-in-one":                         "all-in-one",
	} {
		t.Run(file, func(t *testing.T) {
			dir := t.TempDir()
			at := dir + file
			check(t, os.MkdirAll(at[:strings.LastIndex(at, "/")], 0o700))
			p := pairs()[0]
			write(t, at[:strings.LastIndex(at, "/")+1]+want, p.key)
			chain := p.chain
			if strings.HasSuffix(at, want) {
				chain += p.key
			}
			write(t, at, chain)
			got, err := readPair(at, keysOf(at), false)
			if err != nil || got.fingerprint != p.fingerprint {
				t.Error(got, err)
			}
			until, err := LookCert(at, "")
			if err != nil || until.IsZero() || until.UTC().Format(time.RFC3339) != got.fields["not-after"] {
				t.Errorf("it is good until %s: %v, and the event says %s", until, err, got.fields["not-after"])
			}
			write(t, dir+"/elsewhere", p.key)
			if got, err = readPair(at, []string{dir + "/elsewhere"}, true); err != nil || got.fingerprint != p.fingerprint {
				t.Error(got, err)
			}
		})
	}
}

// A key may be in a directory of its own, which is watched too.
func TestKeysAreWatched(t *testing.T) {
	s := &Cert{Files: []netwatch.Path{"/a/tls.crt", "/b/crt.pem"}}
	found := s.Source("cert", newLedger().env()).(*follower).watch.paths
	s.Key = []netwatch.Path{"/c/a.key", "/d/b.key"}
	named := s.Source("cert", newLedger().env()).(*follower).watch.paths
	if diff := cmp.Diff([]string{
		"/a/tls.crt", "/a/tls.key", "/b/crt.pem", "/b/key.pem", "/b/crt.key", "/a/tls.crt",
		"/b/crt.pem",
	}, found); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"/c/a.key", "/d/b.key", "/a/tls.crt", "/b/crt.pem"}, named); diff != "" {
		t.Error(diff)
	}
}

// A pair that stays broken is a trouble after a while, and said once; it is
// looked at often until then, as its second half may come unseen.
func TestBrokenPair(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/a.crt", pairs()[0].chain)
	write(t, dir+"/a.key", pairs()[1].key)
	synctest.Test(t, func(t *testing.T) {
		l := newLedger()
		f := blindly(l, &Cert{Files: []netwatch.Path{netwatch.Path(dir + "/a.crt")}}, nil)
		l.start(t, f)
		time.Sleep(10*time.Second - time.Millisecond)
		if f.Trouble() != nil || l.log.lines() > 0 {
			t.Errorf("too early: %v %s", f.Trouble(), l.log.String())
		}
		time.Sleep(time.Second)
		want := "comparing " + dir + "/a.crt with its key " + dir +
			"/a.key: tls: private key does not match public key\nhint: put certificate and key of one issue there, " +
			"the leaf certificate first"
		if f.Trouble() == nil || said(f.Trouble()) != want || l.log.lines() != 1 {
			t.Errorf("too late: %v %s", f.Trouble(), l.log.String())
		}
		write(t, dir+"/a.key", pairs()[0].key)
		time.Sleep(time.Minute + confirmTime)
		if got := (<-l.accepted).Fields; got["old"] != none || got["new"] != pairs()[0].fingerprint || f.Trouble() != nil {
			t.Error(got, f.Trouble())
		}
		write(t, dir+"/a.crt", pairs()[1].chain)
		time.Sleep(time.Minute) // A look, which finds it broken
		write(t, dir+"/a.key", pairs()[1].key)
		began := time.Now()
		if <-l.accepted; time.Since(began) > time.Second {
			t.Errorf("seen after %s", time.Since(began))
		}
	})
}

// No message about a key holds any of it, and each says what to do.
func TestKeysAreNotShown(t *testing.T) {
	p := pairs()[0]
	for name, key := range map[string]string{
		"of another": pairs()[1].key,
		"half":       p.key[:100],
		"no PEM":     strings.ReplaceAll(p.key, "-", ""),
		"no key":     strings.ReplaceAll(p.key, "PRIVATE KEY", "SECRET"),
		"encrypted": string(pem.EncodeToMemory(&pem.Block{
			Type:  "ENCRYPTED PRIVATE KEY",
			Bytes: []byte("not to be read without its passphrase"),
		})),
	} {
		dir := t.TempDir()
		write(t, dir+"/a.crt", p.chain)
		write(t, dir+"/a.key", key)
		_, err := readPair(dir+"/a.crt", keysOf(dir+"/a.crt"), false)
		if err == nil || netwatch.Hint(err) == "" {
			t.Errorf("%s: %v, hint %q", name, err, netwatch.Hint(err))
			continue
		}
		for _, line := range strings.Split(p.key+"\n"+key, "\n") {
			if len(line) > 10 && !strings.Contains(line, "KEY") && strings.Contains(err.Error()+netwatch.Hint(err), line[:10]) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What is a certificate to whoever may not read it or its key.
func TestCertNotPermitted(t *testing.T) {
	dir := openDir(t)
	p := pairs()[0]
	live := dir + "/live"
	check(t, os.Mkdir(live, 0o700))
	for _, file := range []string{live + "/fullchain.pem", dir + "/fullchain.pem"} {
		check(t, os.WriteFile(file, []byte(p.chain), 0o644))
		write(t, file[:strings.LastIndex(file, "/")]+"/privkey.pem", p.key)
	}
	check(t, os.Chmod(live, 0))
	check(t, os.Chmod(dir+"/privkey.pem", 0))
	asNobody(func() {
		for file, want := range map[string]string{
			live + "/fullchain.pem": "reading " + live + "/fullchain.pem: permission denied",
			dir + "/fullchain.pem": "checking the key of " + dir + "/fullchain.pem: reading " + dir +
				"/privkey.pem: permission denied",
		} {
			_, err := readPair(file, []string{dir + "/privkey.pem"}, true)
			if err == nil || err.Error() != want || netwatch.Hint(err) != hookHint {
				t.Errorf("%v, hint %q", err, netwatch.Hint(err))
			}
			f := newFollower("cert", netwatch.CertRenewed, newLedger().env(), []netwatch.Path{netwatch.Path(file)}, nil,
				func(string) (sight, error) { return sight{}, err })
			f.look(f.files[0], nil)
			if trouble := f.Trouble(); trouble == nil || said(trouble) != want+"\nhint: "+hookHint {
				t.Errorf("not said at once: %v", trouble)
			}
		}
	})
}

// A certificate whose key nobody named, and which may not be read, as Caddy's, is
// followed all the same; that its key is not checked is said once.
func TestCertWithoutItsKey(t *testing.T) {
	dir := openDir(t)
	p := pairs()
	cert, key := dir+"/x.crt", dir+"/x.key"
	check(t, os.WriteFile(cert, []byte(p[0].chain), 0o644))
	check(t, os.Chmod(cert, 0o666)) // For nobody, who is to write to it

	write(t, key, p[0].key)
	check(t, os.Chmod(key, 0))
	asNobody(func() {
		want, err := readPair(cert, keysOf(cert), false)
		if err != nil || want.unchecked == nil || netwatch.Hint(want.unchecked) != hookHint || want.fields["names"] == "" {
			t.Fatalf("%+v %v", want, err)
		}
		ledger := newLedger()
		var told []netwatch.Event
		f := newFollower("cert", netwatch.CertRenewed, ledger.env(), []netwatch.Path{netwatch.Path(cert)}, nil,
			func(file string) (sight, error) { return readPair(file, keysOf(file), false) })
		emit := func(ev netwatch.Event) error { told = append(told, ev); return nil }
		f.look(f.files[0], emit)
		check(t, os.WriteFile(cert, []byte(p[1].chain), 0o644))
		for range 3 {
			f.look(f.files[0], emit)
		}
		n := strings.Count(ledger.log.String(), "followed unchecked")
		if n != 1 || f.Trouble() != nil || len(told) == 0 || told[0].Fields["names"] == "" {
			t.Errorf("said %d times, trouble %v, told of %v", n, f.Trouble(), told)
		}
	})
}

func TestCertCheck(t *testing.T) {
	for _, test := range []struct {
		settings Cert
		want     []Mistake
	}{
		{Cert{}, []Mistake{{"files", -1, "there is no file to watch"}}},
		{Cert{Files: []netwatch.Path{"/a", "/b", "/a"}}, []Mistake{{"files", 2, "/a is there twice"}}},
		{Cert{Files: []netwatch.Path{"/a"}, Key: []netwatch.Path{"/a"}}, nil},
		{
			Cert{Files: []netwatch.Path{"/a", "/b"}, Key: []netwatch.Path{"/a"}},
			[]Mistake{{"key", -1, "1 for 2 files: give one for each, in the same order, or none"}},
		},
	} {
		if diff := cmp.Diff(test.want, test.settings.Check()); diff != "" {
			t.Error(diff)
		}
	}
}

// A key that was left lying there does not hide the one beside it.
func TestStaleKeyBesideTheRightOne(t *testing.T) {
	dir := t.TempDir()
	file := dir + "/fullchain.pem"
	write(t, file, pairs()[0].chain)
	write(t, dir+"/privkey.pem", pairs()[1].key)
	write(t, dir+"/fullchain.key", pairs()[0].key)
	if _, err := readPair(file, keysOf(file), false); err != nil {
		t.Error(err)
	}
}
