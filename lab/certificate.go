package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"os"
	"time"
)

// certificates is where YunoHost has the files of a domain's certificate.
func certificates(domain string) string { return "/etc/yunohost/certs/" + domain }

// Renew gives a domain another certificate in the way of YunoHost: a new
// directory with both files, and then a symlink that is removed and made anew.
// Everybody may read them, for who may is not what the lab tries. It returns
// the certificate's serial number.
func (s *Server) Renew(domain string) (serial string, err error) {
	crt, key, serial, err := pair(domain)
	if err != nil {
		return "", fmt.Errorf("making a certificate: %w", err)
	}
	link := certificates(domain)
	dir := link + "-history/" + time.Now().Format("20060102.150405.000000") + "-letsencrypt"
	for name, content := range map[string]string{dir + "/crt.pem": crt, dir + "/key.pem": key} {
		if err := s.WriteFile(name, content, 0o644); err != nil {
			return "", err
		}
	}
	if err := os.Remove(s.path(link)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("removing the link of before: %w", err)
	}
	return serial, os.Symlink(dir, s.path(link))
}

// pair is a certificate that has signed itself and its key, as PEM.
func pair(domain string) (crt, key, serial string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes([]byte(rand.Text())[:16]), DNSNames: []string{domain},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0),
	}
	leaf, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", "", "", err
	}
	bare, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", "", err
	}
	return text("CERTIFICATE", leaf), text("PRIVATE KEY", bare), template.SerialNumber.String(), nil
}

func text(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// Served is the serial number of the certificate that is served at a port of
// the server, by TLS over TCP.
func (l *Lab) Served(ctx context.Context, port uint16) (serial string, err error) {
	conn, err := l.dialServer(ctx, netip.AddrPortFrom(Private, port))
	if err != nil {
		return "", err
	}
	defer conn.Close()                                                // Nothing is lost.
	client := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // Which one it is, is the question.
	if err := client.HandshakeContext(ctx); err != nil {
		return "", fmt.Errorf("asking port %d for its certificate: %w", port, err)
	}
	return client.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}
