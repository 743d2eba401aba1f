package report

import (
	"fmt"
	"io"
	"strings"
)

// textWidth is how many columns a text has at most: one fits a terminal and a mail.
const textWidth = 72

// Text writes a report for a terminal or a mail.
func Text(w io.Writer, r Report, l Language) error {
	t := teller{r, l, mostTextRows}
	var b strings.Builder
	wrap(&b, "", "", t.heading())
	wrap(&b, "", "", t.period())
	for _, s := range t.sections() {
		b.WriteString("\n")
		wrap(&b, "", "", strings.ToUpper(s.Title))
		s.text(&b, l)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// heading is what stands above all.
func (t teller) heading() string {
	if t.Host == "" {
		return t.t("netwatch report")
	}
	return t.t("netwatch report: %s", t.Host)
}

// text writes a section, less its title.
func (s section) text(b *strings.Builder, l Language) {
	for _, says := range s.Says {
		wrap(b, "  ", "  ", says)
	}
	factsText(b, s.Facts)
	if s.Table != nil {
		s.Table.text(b)
	}
	for _, bars := range s.Bars {
		bars.text(b, l)
	}
	for _, one := range s.Items {
		one.text(b, l.t("What helps:"))
	}
	if s.More != "" {
		wrap(b, "  ", "  ", s.More)
	}
}

func factsText(b *strings.Builder, facts []fact) {
	widest := 0
	for _, f := range facts {
		widest = max(widest, columns(f.Name))
	}
	for _, f := range facts {
		wrap(b, "  "+pad(f.Name, widest)+"  ", strings.Repeat(" ", widest+4), f.Text)
	}
}

// text writes the columns that are for narrow places.
func (t table) text(b *strings.Builder) {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = columns(c.Name)
		for _, row := range t.Rows {
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	header := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		header[i] = c.Name
	}
	for _, row := range append([][]string{header}, t.Rows...) {
		var cells []string
		for i, c := range t.Columns {
			switch {
			case c.Narrow && c.Number:
				cells = append(cells, strings.Repeat(" ", widths[i]-columns(row[i]))+row[i])
			case c.Narrow:
				cells = append(cells, pad(row[i], widths[i]))
			}
		}
		b.WriteString(strings.TrimRight("  "+strings.Join(cells, "  "), " ") + "\n")
	}
}

// text writes bars of letters, for those that are not empty.
func (b bars) text(to *strings.Builder, l Language) {
	to.WriteString("\n")
	wrap(to, "  ", "  ", l.t("%s:", b.Title))
	widest, series := 0, 0
	for _, one := range b.Bars {
		widest = max(widest, columns(strings.TrimSpace(one.Label+" "+one.Unit)))
	}
	for _, name := range b.Series {
		series = max(series, columns(name)+2)
	}
	room := textWidth - widest - series - 4 - 8
	for _, one := range b.Bars {
		for i, v := range one.Values {
			if v == 0 {
				continue
			}
			name := pad(strings.TrimSpace(one.Label+" "+one.Unit), widest) + "  "
			if len(b.Series) > 0 {
				name += pad(b.Series[i], series)
			}
			fmt.Fprintf(to, "  %s%s %d\n", name, strings.Repeat("#", max(1, v*room/b.most())), v)
		}
	}
}

// text writes an item, and its remedy behind a word.
func (i item) text(b *strings.Builder, remedy string) {
	wrap(b, "  ", "      ", i.Name)
	for _, line := range i.Lines {
		wrap(b, "    ", "    ", line)
	}
	if i.Hint != "" {
		wrap(b, "    ", "    ", remedy+" "+i.Hint)
	}
}

// wrap writes a text in lines that are not too long: the first behind one indent, the
// others behind another.
func wrap(b *strings.Builder, first, others, text string) {
	line, empty := first, true
	for _, word := range strings.Fields(text) {
		if !empty && columns(line)+1+columns(word) > textWidth {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line, empty = others, true
		}
		if !empty {
			line += " "
		}
		for columns(line)+columns(word) > textWidth { // The word alone is too long
			part := fitting(word, textWidth-columns(line))
			b.WriteString(line + part + "\n")
			line, word = others, word[len(part):]
		}
		line, empty = line+word, false
	}
	b.WriteString(strings.TrimRight(line, " ") + "\n")
}

// fitting is as much of a word as fits, and at least a character.
func fitting(word string, room int) string {
	for i, r := range word {
		if room -= columnsOf(r); room < 0 && i > 0 {
			return word[:i]
		}
	}
	return word
}

// columns is how many columns a terminal gives a text, at most.
func columns(text string) (n int) {
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is how many columns a terminal gives a character, at most: those from the
// first of the wide ones on (Unicode's UAX #11) are counted as two.
func columnsOf(r rune) int {
	if r >= 0x1100 && (r < 0x2000 || r >= 0x2e80) {
		return 2
	}
	return 1
}

// pad is a text with spaces behind it.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-columns(text)))
}
