package actions

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"netwatch"
)

const (
	// tlsUsage is what follows the verb.
	tlsUsage = "tls HOST:PORT [FILE]"
	// tlsTime is how long a server may take to serve the right certificate: coturn has
	// read a new one some milliseconds after its signal (measured).
	tlsTime = 3 * time.Second
	// maxCertificate is the size in bytes of the largest file of a certificate.
	maxCertificate = 1 << 20
)

// A servedCertificate compares the certificate that a server serves with the one that
// it should. It is the step `verify tls HOST:PORT [FILE]`.
type servedCertificate struct {
	host, port string
	// file is the one that is served where no event says another; it may be empty.
	file netwatch.Path
	// time is tlsTime, or less in a test.
	time time.Duration
}

// newTLS makes the step from the words after tls.
func newTLS(words []string) (*servedCertificate, error) {
	switch {
	case len(words) == 0:
		return nil, errors.New("the server is missing")
	case len(words) > 2:
		return nil, fmt.Errorf("%q is not understood after the file", words[2])
	}
	host, port, err := net.SplitHostPort(words[0])
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || host == "" || bad != nil || n == 0 {
		return nil, fmt.Errorf("%q is no server: HOST:PORT, as in turn.example.org:5349", words[0])
	}
	s := &servedCertificate{host: host, port: port, time: tlsTime}
	if len(words) == 2 {
		s.file, err = netwatch.ParsePath(words[1])
	}
	return s, err
}

// Needs is the file, if there is one.
func (s *servedCertificate) Needs() (n Needs) {
	if s.file != "" {
		n.Reads = []netwatch.Path{s.file}
	}
	return n
}

// Do returns Unchanged once the server serves the right certificate, and Failed if it
// does not within some seconds. The detail is which one that is.
func (s *servedCertificate) Do(ctx context.Context, job netwatch.Job) netwatch.Result {
	right, err := s.right(job.Events)
	if err != nil {
		return netwatch.Failure(err)
	}
	ctx, cancel := context.WithTimeout(ctx, s.time)
	defer cancel()
	for {
		leaf, got := s.serves(ctx)
		if got == nil {
			if got = right(leaf); got == nil {
				until := leaf.NotAfter.Format(time.DateOnly)
				return netwatch.Result{Outcome: netwatch.Unchanged, Detail: s.String() + " serves it, good until " + until}
			}
		}
		if err == nil || !over(ctx) { // Else it was broken off, and the one before tells
			err = got
		}
		select {
		case <-time.After(againPause):
		case <-ctx.Done():
			return netwatch.Failure(fmt.Errorf("verifying the certificate of %s: %w", s, err))
		}
	}
}

// over says whether the time of a context is over. The network goes by its deadline, and
// gives up a moment before the context has ended.
func over(ctx context.Context) bool {
	end, limited := ctx.Deadline()
	return ctx.Err() != nil || limited && !time.Now().Before(end)
}

// String is where the server is asked.
func (s *servedCertificate) String() string { return net.JoinHostPort(s.host, s.port) }

// serves is the leaf that the server serves now, whoever signed it.
func (s *servedCertificate) serves(ctx context.Context) (*x509.Certificate, error) {
	d := tls.Dialer{Config: &tls.Config{
		ServerName: s.host, InsecureSkipVerify: true, //nolint:gosec // It is compared, byte by byte or by its names.
	}}
	conn, err := d.DialContext(ctx, "tcp", s.String())
	if err != nil {
		conn = s.here(ctx, d)
	}
	if conn == nil {
		return nil, netwatch.WithHint(fmt.Errorf("nobody serves one there: %w", err),
			"see whether its unit runs (systemctl status), and whether it listens there with TLS")
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// here is a connection to the server at an address of this machine, for a name that leads
// to its loopback alone, or nil: Debian's installer gives the machine's own name 127.0.1.1,
// where nobody listens who listens at the machine's addresses.
func (s *servedCertificate) here(ctx context.Context, d tls.Dialer) net.Conn {
	leads, err := net.DefaultResolver.LookupNetIP(ctx, "ip", s.host)
	elsewhere := func(a netip.Addr) bool { return !a.Unmap().IsLoopback() }
	if _, isAddress := netip.ParseAddr(s.host); err != nil || isAddress == nil || slices.ContainsFunc(leads, elsewhere) {
		return nil
	}
	for _, a := range slices.DeleteFunc(netwatch.OwnAddresses(), netip.Addr.IsLinkLocalUnicast) {
		if conn, err := d.DialContext(ctx, "tcp", net.JoinHostPort(a.String(), s.port)); err == nil {
			return conn
		}
	}
	return nil
}

// ErrAnotherServed says that a server serves another certificate than it should.
var ErrAnotherServed = errors.New("it serves another one")

// VerifyTLS asks a server for its certificate, as the step `verify tls HOST:PORT FILE` does.
func VerifyTLS(ctx context.Context, at netip.AddrPort, file netwatch.Path) netwatch.Result {
	s := servedCertificate{
		host: at.Addr().String(), port: strconv.Itoa(int(at.Port())), file: file, time: tlsTime,
	}
	return s.Do(ctx, netwatch.Job{})
}

// right says whether a leaf is the one that is to be served: the new one of each event of
// the run that is about this host, else that of the file, else any that is good for it.
func (s *servedCertificate) right(events []netwatch.Event) (func(*x509.Certificate) error, error) {
	renewed := s.renewed(events)
	if len(renewed) == 0 && s.file != "" {
		leaf, err := readLeaf(s.file)
		if err != nil {
			return nil, err
		}
		renewed = []string{netwatch.Fingerprint(leaf.Raw)}
	}
	if len(renewed) == 0 {
		return s.good, nil
	}
	return func(leaf *x509.Certificate) error {
		if slices.Contains(renewed, netwatch.Fingerprint(leaf.Raw)) {
			return nil
		}
		return netwatch.WithHint(fmt.Errorf("%w, of %s, good until %s", ErrAnotherServed,
			netwatch.Printable(leaf.Subject.CommonName), leaf.NotAfter.Format(time.DateOnly)),
			"have a step before this one that has it read its certificate again, as `signal USR2` for coturn; "+
				"if there is one, see its log for why it did not")
	}, nil
}

// renewed are the new leaves of the events that are about the host: of each file the
// newest.
func (s *servedCertificate) renewed(events []netwatch.Event) (all []string) {
	files := map[string]string{}
	for _, ev := range events {
		names := strings.Split(ev.Fields["names"], ",")
		about := slices.ContainsFunc(names, func(name string) bool { return nameFits(strings.TrimSpace(name), s.host) })
		if ev.Name == netwatch.CertRenewed && ev.Fields["new"] != "" && about {
			files[ev.Fields["file"]] = ev.Fields["new"]
		}
	}
	for _, fingerprint := range files {
		all = append(all, fingerprint)
	}
	return all
}

// nameFits says whether a name of a certificate, which may begin with *., is for a host
// (RFC 6125, 6.4.3).
func nameFits(name, host string) bool {
	if strings.EqualFold(name, host) {
		return true
	}
	_, domain, _ := strings.Cut(host, ".")
	rest, wild := strings.CutPrefix(name, "*.")
	return wild && domain != "" && strings.EqualFold(rest, domain)
}

// good says whether a leaf is for the host, now.
func (s *servedCertificate) good(leaf *x509.Certificate) error {
	if err := leaf.VerifyHostname(s.host); err != nil {
		return netwatch.WithHint(err, "name the host as the certificate does, or renew it with this name")
	}
	if now := time.Now(); now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		return netwatch.WithHint(fmt.Errorf("it is good from %s to %s only", leaf.NotBefore.Format(time.DateOnly),
			leaf.NotAfter.Format(time.DateOnly)), "renew it: certbot renew, or yunohost domain cert renew DOMAIN")
	}
	return nil
}

// readLeaf reads the first certificate of a file.
func readLeaf(file netwatch.Path) (*x509.Certificate, error) {
	text, err := netwatch.ReadRegular(string(file), maxCertificate)
	if errors.Is(err, fs.ErrPermission) {
		err = netwatch.WithHint(err, netwatch.GrantHint)
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = netwatch.WithHint(err, "name the file of the certificate that is served, or none")
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", file, err)
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", file, err)
			}
			return leaf, nil
		}
	}
	return nil, fmt.Errorf("reading %s: there is no certificate in it", file)
}
