package report

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/net/html"

	"netwatch"
)

// A tree is what a page is made of, less its texts: each element with its attributes,
// and each end.
type tree []string

// freeAttributes are those whose values are texts.
var freeAttributes = []string{"aria-label", "content"}

// treeOf reads a page.
func treeOf(t testing.TB, page string) (all tree) {
	t.Helper()
	tokens := html.NewTokenizer(strings.NewReader(page))
	for {
		switch kind := tokens.Next(); kind {
		case html.ErrorToken:
			if !errors.Is(tokens.Err(), io.EOF) {
				t.Fatal(tokens.Err())
			}
			return all
		case html.StartTagToken, html.SelfClosingTagToken, html.EndTagToken:
			token := tokens.Token()
			text := map[html.TokenType]string{html.EndTagToken: "/"}[kind] + token.Data
			for _, a := range token.Attr {
				if text += " " + a.Key; !slices.Contains(freeAttributes, a.Key) {
					text += "=" + a.Val
				}
			}
			all = append(all, text+map[html.TokenType]string{html.SelfClosingTagToken: " /"}[kind])
		case html.CommentToken:
			t.Errorf("there is a comment: %s", tokens.Token())
		}
	}
}

// elements are those that a page may have, each with its attributes.
var elements = map[string]string{
	"html": "lang", "head": "", "meta": "charset http-equiv content name", "title": "", "style": "", "body": "",
	"header": "", "main": "", "section": "", "footer": "", "h1": "", "h2": "", "h3": "", "p": "class", "strong": "",
	"dl": "", "dt": "", "dd": "", "div": "class tabindex role aria-label", "span": "", "ul": "class", "li": "",
	"details": "", "summary": "", "table": "", "thead": "", "tbody": "", "tr": "", "th": "scope class", "td": "class",
	"figure": "", "figcaption": "", "svg": "width height style aria-hidden role aria-label",
	"pattern": "id width height patternunits patterntransform", "rect": "class x y width height fill",
	"line": "x1 x2 y1 y2", "text": "class x y dx dy",
}

// void are elements that have no end.
var void = []string{"meta"}

// check says what is wrong with a page: ends that are missing, elements and attributes
// that are none of ours.
func (all tree) check(t *testing.T) {
	t.Helper()
	var open []string
	for _, one := range all {
		words := strings.Fields(one)
		name, closed := strings.CutPrefix(words[0], "/")
		switch {
		case closed && (len(open) == 0 || open[len(open)-1] != name):
			t.Errorf("%s ends in %v", name, open)
			return
		case closed:
			open = open[:len(open)-1]
		case !slices.Contains(void, name) && words[len(words)-1] != "/":
			open = append(open, name)
		}
		allowed, known := elements[name]
		if !known {
			t.Errorf("there is an element %s", one)
		}
		for _, word := range words[1:] {
			key, _, is := strings.Cut(word, "=")
			if is && !strings.Contains(" "+allowed+" ", " "+key+" ") && !strings.ContainsAny(key, "();") {
				t.Errorf("there is an attribute %s of %s", key, one)
			}
		}
	}
	if len(open) > 0 {
		t.Errorf("these do not end: %v", open)
	}
}

// TestPageIsByItself holds that a page is whole, runs nothing and has nothing from
// elsewhere: not one address is in it but in texts, and the browser is told so.
func TestPageIsByItself(t *testing.T) {
	const policy = `<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">`
	for name, r := range map[string]Report{
		"year": shown(begin()), "month": shown(end().AddDate(0, 0, -30)), "day": shown(end().AddDate(0, 0, -1)),
		"nothing": NewReckoner(begin(), end()).Report("", "", nil), "hostile": hostile(`"><script>`),
	} {
		for _, l := range []Language{english, inFrench} {
			page := pageOf(t, r, l)
			treeOf(t, page).check(t)
			before, _, found := strings.Cut(page, policy)
			if !found || strings.Contains(before, "<style") {
				t.Errorf("%s: the policy is not there, or too late", name)
			}
			for _, never := range []string{"://", "@import", "<script", "<link", "<img", "<a ", "srcset", "url(h", "ZgotmplZ"} {
				if strings.Contains(page, never) {
					t.Errorf("%s: %s is in it", name, never)
				}
			}
		}
	}
}

// evils are what somebody might call what is his.
var evils = []string{
	`<script>alert(1)</script>`, `"><svg onload=alert(1)>`, `' onmouseover='alert(1)`,
	`</title></svg><img src=x onerror=y>`,
	`</style><script>`, `--><!--`, `]]>`, `{{.Host}}`, `&lt;b&gt;&#x202e;`, `javascript:alert(1)`, `%!s(MISSING)%n`, "`",
	"\x1b[2J\x1b]0;x\x07", "\u009b31m", "\u202egnp.exe\u2066", "\u2028\u200b\u200f\ufeff", "a\r\nProofs\n  b", "\x00\x7f",
	"\xff\xfe", "\xed\xa0\x80", "漢字\u0301\U0001F600", strings.Repeat("x", 5000), strings.Repeat("漢", 900),
	strings.Repeat("\xe2\x80", 700), "2001:db8::1%<b>",
}

// hostile is a report in which everything that a stranger can write is this text.
func hostile(text string) Report {
	r := NewReckoner(begin(), begin().Add(time.Hour))
	at := begin().Add(time.Minute)
	entry := netwatch.Entry{
		Time: at, ID: text, IDs: []string{text}, Event: text, Source: text, Rule: "r" + text, Step: "s" + text,
		Detail: "d" + text, Error: "e" + text, Hint: "h" + text, Noticed: text, After: text, Outcome: netwatch.Failed,
		Fields: map[string]string{"peer": "p" + text, "told": text, "family": text, "old": text, "by": text, text: text},
	}
	for _, kind := range []string{netwatch.EntryStep, netwatch.EntryRun, netwatch.EntryNote, netwatch.EntryOutage, text} {
		e := entry
		e.Kind, e.Seconds = kind, 20
		r.Add(e)
		r.AddAddress(e)
	}
	proof, event, outage := entry, entry, entry
	proof.Kind, proof.Step = netwatch.EntryStep, "verify "+text
	note := netwatch.Entry{Time: at, Kind: netwatch.EntryNote, Source: "s" + text, Error: "e" + text}
	event.Kind, event.Event, outage.Kind = netwatch.EntryEvent, netwatch.PeerLost, netwatch.EntryOutage
	r.Add(proof)
	r.Add(note)
	r.Add(event)
	r.AddAddress(outage)
	outage.Fields, outage.Seconds = map[string]string{"family": "ipv4", "address": text}, 0
	r.AddAddress(outage)
	for _, address := range []string{"198.51.100.1", "fe80::1%" + text, "x" + text} {
		e := changeAt(at, "198.51.100.1", text)
		e.After, e.Fields = text, map[string]string{"new": address, "by": text, "family": text}
		r.AddAddress(e)
	}
	return r.Report(text, text, []string{"k" + text})
}

// FuzzStrangers holds that nothing that a stranger can write does anything: a page has
// the same elements whatever it is, and neither view has characters that command a
// terminal or turn the direction of writing.
func FuzzStrangers(f *testing.F) {
	for _, evil := range evils {
		f.Add(evil)
	}
	harmless := map[Language]tree{}
	for _, l := range []Language{english, inFrench} {
		harmless[l] = treeOf(f, pageOf(f, hostile("x"), l))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || slices.Contains([]string{"told", "peer", "family", "old", "by"}, text) {
			return
		}
		for l, want := range harmless {
			page, r := pageOf(t, hostile(text), l), hostile(text)
			if got := treeOf(t, page); !slices.Equal(want, got) {
				t.Errorf("%q makes another page: %s", text, cmp.Diff(want, got))
			}
			mail := textOf(t, r, l)
			for _, c := range page + mail {
				if !strconv.IsPrint(c) && c != '\n' {
					t.Fatalf("%q has %q shown", text, c)
				}
			}
			for _, line := range strings.Split(mail, "\n") {
				if columns(line) > textWidth {
					t.Errorf("%q makes a line of %d columns: %s", text, columns(line), line)
				}
			}
		}
	})
}

// TestHeadings holds that no text of a stranger passes for one of ours in a mail: a line
// of his is never at the margin.
func TestHeadings(t *testing.T) {
	for _, evil := range evils {
		r := hostile(evil)
		r.Host = "host"
		ours := map[string]bool{}
		for _, s := range (teller{r, english, 1}).sections() {
			ours[strings.ToUpper(s.Title)] = true
		}
		for i, line := range strings.Split(textOf(t, r, english), "\n") {
			if i > 1 && line != "" && !strings.HasPrefix(line, "  ") && !ours[line] {
				t.Errorf("%q makes a line %q", evil, line)
			}
		}
	}
}

// TestScale holds that the axis of values ends above the largest, at a round number, and
// has few ticks.
func TestScale(t *testing.T) {
	for most := range 2000 {
		b := bars{Bars: []bar{{Values: []int{most}}}}
		distance, end := b.scale()
		ticks := len(b.Ticks())
		digits := strings.TrimRight(fmt.Sprint(distance), "0")
		if end < most || end-most >= 2*distance || ticks < 2 || ticks > 7 ||
			!slices.Contains([]string{"1", "2", "5"}, digits) {
			t.Errorf("%d: by %d to %d, %d ticks", most, distance, end, ticks)
		}
	}
}
