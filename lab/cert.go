package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/netip"
	"os"
	"time"
)

// A Pair is a certificate and its key, each as the text of a PEM file.
type Pair struct {
	Cert, Key string
	// Leaf is what a TLS client sees of Cert.
	Leaf *x509.Certificate
}

// NewPair makes a key, and a certificate for these names and addresses that is signed with that
// same key. It lasts for 90 days, as those of Let's Encrypt do. No two are alike.
func NewPair(names ...string) (Pair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("making a key: %w", err)
	}
	serial, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120)) // Never fails (crypto/rand).
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: names[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(90 * 24 * time.Hour),
	}
	for _, name := range names {
		if a := net.ParseIP(name); a != nil {
			template.IPAddresses = append(template.IPAddresses, a)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return Pair{}, fmt.Errorf("making a certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return Pair{}, fmt.Errorf("reading the certificate made: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return Pair{}, fmt.Errorf("writing the key made: %w", err)
	}
	text := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	return Pair{Cert: text("CERTIFICATE", der), Key: text("PRIVATE KEY", secret), Leaf: leaf}, nil
}

// Served is the leaf certificate that a TLS server shows to a client in a
// network namespace. Nobody has signed it whom the client would know.
func Served(ctx context.Context, namespace string, addr netip.AddrPort) (*x509.Certificate, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := dialTCP(ctx, namespace, addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close() // Nothing is lost.
	client, err := handshake(ctx, conn)
	if err != nil {
		return nil, err
	}
	return client.ConnectionState().PeerCertificates[0], nil
}

// handshake begins TLS as a client that lets any certificate pass.
func handshake(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	if err := client.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("a TLS handshake with %s: %w", conn.RemoteAddr(), err), conn.Close())
	}
	return client, nil
}

// certificates is where YunoHost has the files of a domain's certificate.
func certificates(domain string) string { return "/etc/yunohost/certs/" + domain }

// Renew gives a domain another certificate in the way of YunoHost: a new
// directory with both files, and then a symlink that is removed and made anew.
// Everybody may read them, for who may is not what the lab tries. It returns
// what a TLS client sees of the certificate.
func (s *Server) Renew(domain string) (*x509.Certificate, error) {
	pair, err := NewPair(domain)
	if err != nil {
		return nil, err
	}
	link := certificates(domain)
	dir := link + "-history/" + time.Now().Format("20060102.150405.000000") + "-letsencrypt"
	for name, content := range map[string]string{dir + "/crt.pem": pair.Cert, dir + "/key.pem": pair.Key} {
		if err := s.WriteFile(name, content, 0o644); err != nil {
			return nil, err
		}
	}
	if err := os.Remove(s.path(link)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("removing the link of before: %w", err)
	}
	return pair.Leaf, os.Symlink(dir, s.path(link))
}
