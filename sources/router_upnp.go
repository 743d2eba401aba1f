package sources

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"netwatch/stunmsg"
)

// upnp is what the protocol is called where netwatch speaks of it.
const upnp = "upnp"

// The rules for who speaks UPnP alone (UPnP Device Architecture 1.1; WANIPConnection:1,
// 2.4.18). Only we connect: nothing listens, and nothing is subscribed to.
const (
	ssdpPort = 1900
	// searchTime is how long answers to a search are waited for, and searchPause the time
	// from one search to the next at least.
	searchTime  = time.Second
	searchPause = 10 * time.Second
	// upnpTime is how long an answer over HTTP may take, and mostUPnP how many bytes it
	// may have.
	upnpTime = 2 * time.Second
	mostUPnP = 64 << 10
	// mostAnswers is how many packets are read after a search, whoever sends them, and
	// mostServices how many services of a router are asked whether they tell its address.
	mostAnswers  = 256
	mostServices = 4
)

// search asks for gateways (UPnP Device Architecture, 1.3.2).
const search = "M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\n" +
	"ST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\n\r\n"

// wanServices are the services that know the address, by how their types begin.
var wanServices = []string{
	"urn:schemas-upnp-org:service:WANIPConnection:", "urn:schemas-upnp-org:service:WANPPPConnection:",
}

// A service is one of a router's that may know its address.
type service struct {
	Type    string `xml:"serviceType"`
	Control string `xml:"controlURL"`
}

// An igd is a router that is asked over UPnP.
type igd struct {
	to      uplink
	client  *http.Client
	service service
}

var errElsewhere = errors.New("what it says leads elsewhere")

// findIGD finds the service of a router that tells its address.
func findIGD(ctx context.Context, to uplink) (*igd, error) {
	location, err := to.search(ctx)
	if err != nil {
		return nil, fmt.Errorf("searching %s for UPnP: %w", to.gateway, stunmsg.Bare(err))
	}
	return to.describe(ctx, location)
}

// describe finds the service by what the router says of itself there.
func (u uplink) describe(ctx context.Context, location *url.URL) (found *igd, err error) {
	g := &igd{to: u, client: u.client()}
	defer func() {
		if err != nil {
			g.client.CloseIdleConnections()
		}
	}()
	text, err := g.fetch(ctx, http.MethodGet, location, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("asking %s what it is: %w", u.gateway, err)
	}
	services := readServices(text)
	for _, s := range services[:min(len(services), mostServices)] {
		at, err := url.Parse(s.Control)
		if err != nil {
			continue
		}
		g.service = service{s.Type, location.ResolveReference(at).String()}
		if _, err := g.ask(ctx); err == nil {
			return g, nil
		}
	}
	return nil, fmt.Errorf("asking %s what it is: it does not tell its address over UPnP", u.gateway)
}

// search asks the gateway where it describes itself: the group, as the standard has
// it, and the gateway itself, whose answer a firewall knows for one.
func (u uplink) search(ctx context.Context) (*url.URL, error) {
	conn, err := (&net.ListenConfig{Control: u.bind}).ListenPacket(ctx, "udp4", ":0")
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	var sent error
	for _, to := range []netip.Addr{u.gateway, netip.AddrFrom4([4]byte{239, 255, 255, 250})} {
		_, err := conn.WriteTo([]byte(search), net.UDPAddrFromAddrPort(netip.AddrPortFrom(to, ssdpPort)))
		sent = errors.Join(sent, err)
	}
	if err := conn.SetReadDeadline(time.Now().Add(searchTime)); err != nil {
		return nil, err
	}
	location, err := u.located(conn)
	if err != nil {
		err = errors.Join(err, sent)
	}
	return location, err
}

// located hears where the gateway describes itself.
func (u uplink) located(conn net.PacketConn) (*url.URL, error) {
	b := make([]byte, stunmsg.MaxPacket)
	for range mostAnswers {
		n, from, err := conn.ReadFrom(b)
		if err != nil {
			return nil, err
		}
		if at, ok := from.(*net.UDPAddr); !ok || at.AddrPort().Addr().Unmap() != u.gateway {
			continue
		}
		if location, err := u.readLocation(b[:n]); err == nil {
			return location, nil
		}
	}
	return nil, errors.New("too many answers")
}

// readLocation reads the answer to a search.
func (u uplink) readLocation(b []byte) (*url.URL, error) {
	answer, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(b)), nil)
	if err != nil {
		return nil, err
	}
	_ = answer.Body.Close() // It has none
	location, err := url.Parse(answer.Header.Get("Location"))
	if err == nil {
		err = u.checkURL(location)
	}
	return location, err
}

// checkURL refuses what does not lead to the gateway itself.
func (u uplink) checkURL(at *url.URL) error {
	host, err := netip.ParseAddr(at.Hostname())
	if err != nil || host != u.gateway || at.Scheme != "http" || at.User != nil {
		return errElsewhere
	}
	return nil
}

// client speaks HTTP with the gateway, and with nobody in between.
func (u uplink) client() *http.Client {
	d := net.Dialer{Timeout: upnpTime, Control: u.bind}
	return &http.Client{
		Timeout: upnpTime,
		Transport: &http.Transport{
			DialContext: d.DialContext, DisableCompression: true, MaxResponseHeaderBytes: mostUPnP,
			IdleConnTimeout: time.Minute, MaxIdleConns: 1,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return errElsewhere },
	}
}

// fetch asks for a text of the gateway's.
func (g *igd) fetch(
	ctx context.Context, method string, at *url.URL, header http.Header, body io.Reader,
) ([]byte, error) {
	if err := g.to.checkURL(at); err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, at.String(), body)
	if err != nil {
		return nil, err
	}
	if header != nil {
		request.Header = header
	}
	answer, err := g.client.Do(request)
	if err != nil {
		return nil, stunmsg.Bare(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, mostUPnP+1))
	switch {
	case err != nil:
		return nil, err
	case len(text) > mostUPnP:
		return nil, errors.New("the answer is too long")
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("it answers %s", answer.Status)
	}
	return text, nil
}

// askAddress asks a service for the router's address. It has its type.
const askAddress = `<?xml version="1.0"?>
<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"
s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/">
<s:Body><u:GetExternalIPAddress xmlns:u="%s"/></s:Body></s:Envelope>`

// ask asks the router for its address.
func (g *igd) ask(ctx context.Context) (saying, error) {
	at, err := url.Parse(g.service.Control)
	if err != nil {
		return saying{}, err
	}
	header := http.Header{
		"Content-Type": {`text/xml; charset="utf-8"`}, "Soapaction": {`"` + g.service.Type + `#GetExternalIPAddress"`},
		"User-Agent": {""}, // No header then
	}
	text, err := g.fetch(ctx, http.MethodPost, at, header, strings.NewReader(fmt.Sprintf(askAddress, g.service.Type)))
	if err != nil {
		return saying{}, fmt.Errorf("asking %s: %w", g.to.gateway, err)
	}
	a, err := readExternal(text)
	return saying{address: a, ageless: true, protocol: upnp}, err
}

// readExternal reads the answer. No address, or 0.0.0.0, is none.
func readExternal(text []byte) (netip.Addr, error) {
	var said []string
	err := walk(text, func(d *xml.Decoder, start xml.StartElement) error {
		if start.Name.Local != "NewExternalIPAddress" {
			return nil
		}
		var value string
		err := d.DecodeElement(&value, &start)
		said = append(said, strings.TrimSpace(value))
		return err
	})
	if err != nil || len(said) != 1 {
		return netip.Addr{}, errNoWord
	}
	a, err := netip.ParseAddr(said[0])
	switch {
	case said[0] == "" || err == nil && a.IsUnspecified():
		return netip.Addr{}, nil
	case err != nil || !a.Is4():
		return netip.Addr{}, errNoWord
	}
	return a, nil
}

// readServices reads which services a description names that may know the address. Their
// types become part of a question, and so are names alone.
func readServices(text []byte) (all []service) {
	_ = walk(text, func(d *xml.Decoder, start xml.StartElement) error { // What came before nonsense counts
		if start.Name.Local != "service" {
			return nil
		}
		var s service
		if err := d.DecodeElement(&s, &start); err != nil {
			return err
		}
		knows := func(begins string) bool {
			version, is := strings.CutPrefix(s.Type, begins)
			return is && len(version) == 1 && version[0] >= '1' && version[0] <= '9'
		}
		if slices.ContainsFunc(wanServices, knows) {
			all = append(all, s)
		}
		return nil
	})
	return all
}

// walk calls each with the elements of a text in XML. A document type, by which a text
// could define others, is an error.
func walk(text []byte, each func(*xml.Decoder, xml.StartElement) error) error {
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.Directive:
			return errNoWord
		case xml.StartElement:
			if err := each(d, token); err != nil {
				return err
			}
		}
	}
}
