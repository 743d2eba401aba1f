package report

import (
	"bytes"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"netwatch"
	"netwatch/history"
	"netwatch/history/historytest"
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

// year is the made-up year.
var year = sync.OnceValue(historytest.Year)

// written is a directory with a history in it.
func written(t testing.TB, entries []netwatch.Entry) string {
	t.Helper()
	dir := t.TempDir()
	if err := historytest.Write(dir, entries); err != nil {
		t.Fatal(err)
	}
	return dir
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
	report := r.Report()
	report.Host, report.Version = "turn.example.org", "1.0"
	for _, err := range reader.Skipped() {
		report.Skipped = append(report.Skipped, err.Error())
	}
	return report
}

// english and inFrench are the languages that there are.
var (
	english  = Language{}
	inFrench = Language{french: true}
)

func textOf(t *testing.T, r Report, l Language) string {
	t.Helper()
	var out bytes.Buffer
	if err := Text(&out, r, l); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func pageOf(t *testing.T, r Report, l Language) string {
	t.Helper()
	var out bytes.Buffer
	if err := Page(&out, r, l); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// shown is a report of the made-up year since a moment, as from the usual directory.
func shown(t testing.TB, since time.Time) Report {
	t.Helper()
	dir := written(t, year())
	r := reckoned(t, dir, since, historytest.End())
	for i, skipped := range r.Skipped {
		r.Skipped[i] = strings.ReplaceAll(skipped, dir, "/var/lib/netwatch")
	}
	return r
}

// TestYear holds what a year of history comes to, in both languages: among a hundred
// thousand entries a line that is connected anew each night, outages, a server that lies,
// a damaged line and a torn one.
func TestYear(t *testing.T) {
	r := shown(t, historytest.Begin())
	golden(t, "year.txt", textOf(t, r, english))
	golden(t, "year.fr.txt", textOf(t, r, inFrench))
	golden(t, "year.html", pageOf(t, r, english))
	golden(t, "year.fr.html", pageOf(t, r, inFrench))
}

func TestMonth(t *testing.T) {
	r := shown(t, historytest.End().AddDate(0, 0, -30))
	golden(t, "month.txt", textOf(t, r, english))
	golden(t, "month.html", pageOf(t, r, english))
}

// TestNothing holds that an empty history is said kindly, and has a page too.
func TestNothing(t *testing.T) {
	r := reckoned(t, t.TempDir(), historytest.Begin(), historytest.End())
	golden(t, "nothing.txt", textOf(t, r, english))
	golden(t, "nothing.fr.txt", textOf(t, r, inFrench))
	golden(t, "nothing.html", pageOf(t, r, english))
}

// TestTextIsNarrow holds that a text fits a mail, whatever is in it.
func TestTextIsNarrow(t *testing.T) {
	r := shown(t, historytest.Begin())
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
	r := shown(t, historytest.Begin())
	restless := NewReckoner(historytest.Begin(), historytest.End())
	for i := range 50_000 {
		restless.AddAddress(changeAt(historytest.Begin().Add(time.Duration(i)*10*time.Minute),
			netip.AddrFrom4([4]byte{198, 51, byte(i >> 8), byte(i)}), "router"))
		restless.AddAddress(changeAt(historytest.Begin().Add(time.Duration(i)*10*time.Minute),
			netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i)), "router"))
	}
	for name, r := range map[string]Report{"regular": r, "restless": restless.Report()} {
		for _, l := range []Language{english, inFrench} {
			if size := len(pageOf(t, r, l)); size > mostPage {
				t.Errorf("%s, %s: %d bytes", name, l, size)
			}
		}
	}
}

// changeAt is the entry of a change of our address.
func changeAt(at time.Time, to netip.Addr, noticed string) netwatch.Entry {
	return netwatch.Entry{
		Time: at, Kind: netwatch.EntryEvent, Event: netwatch.IPChanged, Source: "stun", Noticed: noticed,
		Fields:  map[string]string{"new": to.String(), "by": "stun.example.org:3478"},
		Moments: &netwatch.Moments{Noticed: at, Accepted: at},
	}
}
