package report

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/history"
)

var update = flag.Bool("update", false, "write the goldens anew")

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// reckoned is a report of the files in a directory.
func reckoned(t testing.TB, dir string, since, until time.Time) Report {
	t.Helper()
	r := NewReckoner(since, until)
	all, addresses := r.Queries()
	reader := history.NewReader(dir)
	if err := reader.Read(all, r.Add); err != nil {
		t.Fatal(err)
	}
	if err := reader.Read(addresses, r.AddAddress); err != nil {
		t.Fatal(err)
	}
	var skipped []string
	for _, err := range reader.Skipped() {
		skipped = append(skipped, err.Error())
	}
	return r.Report("turn.example.org", "1.0", skipped)
}

// english and inFrench are the languages that there are.
var (
	english  = Language{}
	inFrench = Language{french: true}
)

func textOf(t testing.TB, r Report, l Language) string {
	t.Helper()
	var out bytes.Buffer
	if err := Text(&out, r, l); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pageOf(t testing.TB, r Report, l Language) string {
	t.Helper()
	var out bytes.Buffer
	if err := Page(&out, r, l); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shown is a report of the made-up year since a moment.
func shown(since time.Time) Report {
	r := NewReckoner(since, end())
	for _, e := range year() {
		if r.AddAddress(e); !e.Time.Before(since) {
			r.Add(e)
		}
	}
	return r.Report("turn.example.org", "1.0", nil)
}

// TestYear holds what a year of history comes to, in both languages: among a hundred
// thousand entries a line that is connected anew each night, outages, a server that lies,
// a damaged line and a torn one.
func TestYear(t *testing.T) {
	dir := written(t, year())
	r := reckoned(t, dir, begin(), end())
	for i, skipped := range r.Skipped {
		r.Skipped[i] = strings.ReplaceAll(skipped, dir, "/var/lib/netwatch")
	}
	golden(t, "year.txt", textOf(t, r, english))
	golden(t, "year.fr.txt", textOf(t, r, inFrench))
	golden(t, "year.html", pageOf(t, r, english))
}

func TestMonth(t *testing.T) {
	r := shown(end().AddDate(0, 0, -30))
	golden(t, "month.txt", textOf(t, r, english))
	golden(t, "month.fr.html", pageOf(t, r, inFrench))
}

// TestNothing holds that an empty history is said kindly, and has a page too.
func TestNothing(t *testing.T) {
	r := reckoned(t, t.TempDir(), begin(), end())
	golden(t, "nothing.txt", textOf(t, r, english))
	golden(t, "nothing.fr.txt", textOf(t, r, inFrench))
	golden(t, "nothing.html", pageOf(t, r, english))
}

// TestTextIsNarrow holds that a text fits a mail, whatever is in it.
func TestTextIsNarrow(t *testing.T) {
	r := shown(begin())
	r.Failures = append(r.Failures, Failure{Error: strings.Repeat("漢字", 200), Rule: strings.Repeat("x", 200)})
	r.Addresses = append(r.Addresses, history.Address{
		Family: netwatch.IPv6, Address: netip.MustParseAddr("2001:db8:1234:5678:9abc:def1:2345:6789"),
		From: r.Until.Add(-46*time.Hour - 44*time.Minute), Seconds: (46*time.Hour + 44*time.Minute).Seconds(),
	})
	for _, l := range []Language{english, inFrench} {
		for _, line := range strings.Split(textOf(t, r, l), "\n") {
			if n := columns(line); n > textWidth {
				t.Errorf("%s: %d columns: %s", l, n, line)
			}
		}
	}
}

// mostPage is how large the page of a year may be.
const mostPage = 300_000

// TestPageIsSmall holds the size of the page of a year, also of one in which the address
// never stays.
func TestPageIsSmall(t *testing.T) {
	r := shown(begin())
	restless := NewReckoner(begin(), end())
	for i := range 50_000 {
		restless.AddAddress(changeAt(begin().Add(time.Duration(i)*10*time.Minute),
			fmt.Sprintf("198.51.%d.%d", i>>8, i%256), "router"))
		restless.AddAddress(changeAt(begin().Add(time.Duration(i)*10*time.Minute),
			fmt.Sprintf("2001:db8::%x", i), "router"))
	}
	for name, r := range map[string]Report{"regular": r, "restless": restless.Report("", "", nil)} {
		for _, l := range []Language{english, inFrench} {
			if size := len(pageOf(t, r, l)); size > mostPage {
				t.Errorf("%s, %s: %d bytes", name, l, size)
			}
		}
	}
}

// changeAt is the entry of a change of our address.
func changeAt(at time.Time, to, noticed string) netwatch.Entry {
	family := netwatch.FamilyOf(netip.MustParseAddr(to))
	return netwatch.Entry{
		Time: at, Kind: netwatch.EntryEvent, Event: netwatch.IPChanged, Source: "stun", Noticed: noticed,
		Fields:  map[string]string{"family": string(family), "new": to, "by": "stun.example.org:3478"},
		Moments: &netwatch.Moments{Noticed: at, Accepted: at},
	}
}
