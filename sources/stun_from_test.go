package sources

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"netwatch"
)

func TestOnlyOne(t *testing.T) {
	list := func(texts string) (all []netip.Addr) {
		for _, text := range strings.Fields(texts) {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	here := list("127.0.0.1 ::1 192.168.50.2 192.168.50.3 172.17.0.1 fe80::2 2001:db8:50::2")
	for _, c := range []struct{ before, named, want string }{
		{"", "", ""},
		{"", "192.168.50.2", "192.168.50.2"},
		{"", "192.168.50.2 192.168.50.2", "192.168.50.2"},
		{"", "127.0.0.1 192.168.50.2", "192.168.50.2"},
		{"", "192.168.50.77 192.168.50.2", "192.168.50.2"},
		{"", "fe80::2 2001:db8:50::2", "2001:db8:50::2"},
		// Which of several callers get is chance, and who is not here says nothing.
		{"", "192.168.50.2 172.17.0.1", ""},
		{"192.168.50.2", "192.168.50.2 172.17.0.1", ""},
		{"", "192.168.50.77", ""},
		{"", "127.0.0.1", ""},
		// Nor are two servers asked for by the word of one, where the other takes any.
		{"", "192.168.50.2 0.0.0.0", ""},
		{"192.168.50.77", "0.0.0.0 192.168.50.77", ""},
		{"", "2001:db8:50::2 ::", ""},
		// One that was here comes back, unless the file names another.
		{"192.168.50.77", "192.168.50.77", "192.168.50.77"},
		{"192.168.50.77", "192.168.50.2", "192.168.50.2"},
		{"192.168.50.77", "", ""},
	} {
		before, _ := netip.ParseAddr(c.before)
		got := onlyOne(before, list(c.named), here)
		if text(got) != c.want {
			t.Errorf("of %q it is %v, want %q", c.named, got, c.want)
		}
	}
}

// From which address servers are asked is said when it becomes another, and only then.
func TestAskedFromIsLogged(t *testing.T) {
	from, book := netip.Addr{}, &logBook{}
	v := &view{from: func(netip.Addr) netip.Addr { return from }, log: zerolog.New(book)}
	for _, c := range []struct {
		from  netip.Addr
		lines int
		last  string
	}{
		{netip.Addr{}, 0, ""},
		{host(1), 1, host(1).String()},
		{host(1), 1, host(1).String()},
		{netip.Addr{}, 2, "by any way"},
	} {
		from = c.from
		got := v.asksFrom()
		lines := strings.Count(strings.Join(book.lines(), "\n"), "asking ")
		if last := book.lines(); got != c.from || lines != c.lines || !strings.Contains(last[len(last)-1], c.last) {
			t.Errorf("from %s, after %q", got, last)
		}
	}
}

// A server is asked from the address that is given, unless the interface is.
func TestAskedFrom(t *testing.T) {
	s := settings(t, startServer(t))
	from := netip.MustParseAddr("127.0.0.2")
	if a := s.query(t.Context(), internet{}, s.Servers[0], netwatch.IPv4, from); a.Err != nil || a.Own != from {
		t.Errorf("it was asked from %s: %v", a.Own, a.Err)
	}
	// One that is no address of this machine.
	gone := netip.MustParseAddr("192.0.2.1")
	if a := s.query(t.Context(), internet{}, s.Servers[0], netwatch.IPv4, gone); a.Err == nil {
		t.Errorf("it was asked from %s", a.Own)
	}
	files := func() ([]netip.Addr, error) { return nil, errors.New("it is being written") }
	if again := s.from(netwatch.IPv4, from, files, netwatch.OwnAddresses); again != from {
		t.Errorf("while the files cannot be read it is asked from %s", again)
	}
	s.Interface = "lo"
	if from := s.from(netwatch.IPv4, from, files, netwatch.OwnAddresses); from.IsValid() {
		t.Errorf("with an interface it is asked from %s", from)
	}
}
