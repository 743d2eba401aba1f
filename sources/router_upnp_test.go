package sources

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// description is what a router says of itself; it has the type and the place of the
// service.
const description = `<?xml version="1.0"?>
<root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANCommonInterfaceConfig:1</serviceType>
<controlURL>/no</controlURL></service>
<service><serviceType>%s</serviceType><serviceId>x</serviceId><controlURL>%s</controlURL></service>
</serviceList></device></deviceList></device></root>`

const wanIP = "urn:schemas-upnp-org:service:WANIPConnection:1"

// external is what it answers; it has the address.
const external = `<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>` +
	`<u:GetExternalIPAddressResponse xmlns:u="urn:schemas-upnp-org:service:WANIPConnection:1">` +
	`<NewExternalIPAddress>%s</NewExternalIPAddress></u:GetExternalIPAddressResponse></s:Body></s:Envelope>`

// A router that speaks UPnP says its address, and nothing that it says leads elsewhere or
// is read without end.
func TestUPnP(t *testing.T) {
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("somebody else was asked")
	}))
	_ = other.Listener.Close() // Another address is another host
	var err error
	if other.Listener, err = net.Listen("tcp", "127.0.0.2:0"); err != nil {
		t.Fatal(err)
	}
	other.Start()
	defer other.Close()
	elsewhere := other.URL
	say := func(text string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	}
	is := func(kind, control string) http.HandlerFunc { return say(fmt.Sprintf(description, kind, control)) }
	at := func(a string) http.HandlerFunc { return say(fmt.Sprintf(external, a)) }
	usual, right := is(wanIP, "/ctl"), at("198.51.100.7")
	short := fmt.Sprintf(external, "198.51.100.7")
	full := short + strings.Repeat(" ", mostUPnP-len(short))
	bare := fmt.Sprintf(external, "&a;")[21:] // Without what begins a text in XML
	for name, c := range map[string]struct {
		root, control http.HandlerFunc
		want          string
	}{
		"an address":            {usual, right, "198.51.100.7"},
		"of a line that dials":  {is(strings.Replace(wanIP, "IP", "PPP", 1), "ctl"), right, "198.51.100.7"},
		"none":                  {usual, at(""), "invalid IP"},
		"nothing yet":           {usual, at("0.0.0.0"), "invalid IP"},
		"no address":            {usual, at("me"), ""},
		"two addresses":         {usual, say(strings.Repeat(strings.Replace(bare, "&a;", "198.51.100.7", 1), 2)), ""},
		"entities":              {usual, say(`<!DOCTYPE x [<!ENTITY a "198.51.100.7">]>` + bare), ""},
		"a document type":       {usual, say("<!DOCTYPE x>" + strings.Replace(bare, "&a;", "198.51.100.7", 1)), ""},
		"as long as may be":     {usual, say(full), "198.51.100.7"},
		"too long":              {usual, say(full + " "), ""},
		"an error":              {usual, http.NotFound, ""},
		"a redirect":            {usual, http.RedirectHandler(elsewhere, http.StatusTemporaryRedirect).ServeHTTP, ""},
		"a service elsewhere":   {is(wanIP, elsewhere), say(""), ""},
		"another service":       {is("urn:schemas-upnp-org:service:Layer3Forwarding:1", "/ctl"), right, ""},
		"a type that is no one": {is(wanIP+`&quot;&gt;`, "/ctl"), right, ""},
		"nothing of itself":     {http.NotFound, right, ""},
		"itself without end":    {say(strings.Repeat(" ", mostUPnP+1)), right, ""},
	} {
		mux := http.NewServeMux()
		mux.HandleFunc("GET /root", c.root)
		mux.HandleFunc("POST /ctl", func(w http.ResponseWriter, r *http.Request) {
			if asked := r.Header.Get("Soapaction"); !strings.HasSuffix(asked, `:1#GetExternalIPAddress"`) {
				t.Errorf("%s: it is asked for %q", name, asked)
			}
			c.control(w, r)
		})
		server := httptest.NewServer(mux)
		place, err := url.Parse(server.URL + "/root")
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if g, err := (uplink{gateway: netip.MustParseAddr("127.0.0.1")}).describe(t.Context(), place); err == nil {
			w, err := g.ask(t.Context())
			if got = w.address.String(); err != nil || w.protocol != upnp {
				t.Errorf("%s: %+v, %v", name, w, err)
			}
			g.client.CloseIdleConnections()
		}
		if got != c.want {
			t.Errorf("%s: it is %q", name, got)
		}
		server.Close()
	}
}

// What a router says of itself costs a few questions, however many services it names, and
// one that tells no address keeps no connection.
func TestManyServices(t *testing.T) {
	var asked atomic.Int64
	closed := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /root", func(w http.ResponseWriter, _ *http.Request) {
		service := "<service><serviceType>" + wanIP + "</serviceType><controlURL>/ctl</controlURL></service>"
		_, _ = io.WriteString(w, "<root>"+strings.Repeat(service, 400)+"</root>")
	})
	mux.HandleFunc("POST /ctl", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		http.NotFound(w, r)
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	server.Start()
	defer server.Close()
	place, err := url.Parse(server.URL + "/root")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (uplink{gateway: netip.MustParseAddr("127.0.0.1")}).describe(t.Context(), place); err == nil {
		t.Error("it tells an address")
	}
	if n := asked.Load(); n == 0 || n > mostServices {
		t.Errorf("it was asked %d times", n)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("its connection was kept")
	}
}

// A babble is a socket at which others than the router answer without end.
type babble struct {
	net.PacketConn
	read int
}

func (b *babble) ReadFrom(p []byte) (int, net.Addr, error) {
	if b.read++; b.read > 1<<16 {
		return 0, nil, net.ErrClosed
	}
	return copy(p, "x"), &net.UDPAddr{IP: net.IPv4(192, 168, 1, 66)}, nil
}

// Who answers a search in the router's place costs some packets, and not a second of a processor.
func TestSearchHearsSome(t *testing.T) {
	b := &babble{}
	if _, err := gateway.located(b); err == nil || b.read > mostAnswers {
		t.Errorf("%d packets were read: %v", b.read, err)
	}
}

// A letter is a socket at which one packet comes from an address.
type letter struct {
	net.PacketConn
	from netip.Addr
	text string
}

func (l *letter) ReadFrom(p []byte) (int, net.Addr, error) {
	if l.text == "" {
		return 0, nil, net.ErrClosed
	}
	n := copy(p, l.text)
	l.text = ""
	return n, net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.from, ssdpPort)), nil
}

// Where the router describes itself, the router alone can say.
func TestSearchHearsTheRouter(t *testing.T) {
	for from, want := range map[netip.Addr]bool{gateway.gateway: true, netip.MustParseAddr("192.168.1.66"): false} {
		_, err := gateway.located(&letter{from: from, text: "HTTP/1.1 200 OK\r\nLocation: http://192.168.1.1/root\r\n\r\n"})
		if (err == nil) != want {
			t.Errorf("what %s says: %v", from, err)
		}
	}
}

func TestReadLocation(t *testing.T) {
	for location, want := range map[string]bool{
		"http://192.168.1.1:5000/root.xml": true,
		"http://192.168.1.2:5000/root.xml": false,
		"https://192.168.1.1/root.xml":     false,
		"http://a:b@192.168.1.1/root.xml":  false,
		"http://router/root.xml":           false,
		"file:///etc/passwd":               false,
		"":                                 false,
	} {
		_, err := gateway.readLocation([]byte("HTTP/1.1 200 OK\r\nLocation: " + location + "\r\n\r\n"))
		if (err == nil) != want {
			t.Errorf("%q: %v", location, err)
		}
	}
	if _, err := gateway.readLocation([]byte("NOTIFY * HTTP/1.1\r\n\r\n")); err == nil {
		t.Error("what is no answer was taken for one")
	}
}

// FuzzUPnP holds that whatever a router says is an IPv4 address, none, or an error, and
// that no text gets into our question.
func FuzzUPnP(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(external, "198.51.100.7")))
	f.Add([]byte(fmt.Sprintf(description, wanIP, "/ctl")))
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := readExternal(text); err == nil && a.IsValid() && !a.Is4() {
			t.Errorf("%q is %s", text, a)
		}
		for _, s := range readServices(text) {
			if strings.ContainsAny(s.Type, "\"'<>& \r\n") {
				t.Errorf("%q is of type %q", text, s.Type)
			}
		}
	})
}
