package report

// A section is a part of what is said, in the reader's language and for whichever view.
type section struct {
	Title string
	// Says are sentences.
	Says []string
	// Facts are what stands at the beginning, each with its name.
	Facts  []fact
	Strips []strips
	Bars   []bars
	Table  *table
	Items  []item
	// More says what was left out, and where it is.
	More string
}

// A fact is one thing in a few words.
type fact struct{ Name, Text string }

// A table has rows of texts, the newest first. Its title is that of its section.
type table struct {
	Title   string
	Columns []column
	Rows    [][]string
}

// A column has a name. One that is not Narrow is for the page alone.
type column struct {
	Name   string
	Narrow bool
	Number bool
}

// An item is something with what there is to say about it.
type item struct {
	Name  string
	Lines []string
	// Hint is a remedy.
	Hint string
}

// How many of something a view has: the page of a year must not be endless, and a mail is
// to be read.
const (
	mostRows     = 400
	mostTextRows = 25
	mostItems    = 25
)

// A teller says a report in a language.
type teller struct {
	Report
	Language
	// rows is how many rows a table has at most.
	rows int
}

// sections are all that is said, in order.
func (t teller) sections() []section {
	all := []section{t.summary()}
	if !t.empty() {
		all = append(all, t.addresses(), t.outages(), t.wrong(), t.habit(), t.failures(), t.proofs())
	}
	if len(t.Peers) > 0 {
		all = append(all, t.peers())
	}
	if len(t.Skipped) > 0 {
		all = append(all, section{Title: t.t("About this report"), Says: t.Skipped})
	}
	for _, s := range all {
		if s.Table != nil {
			s.Table.Title = s.Title
		}
	}
	return all
}

// period says what the report is about.
func (t teller) period() string {
	zone, _ := t.Until.Zone()
	return t.t("%s to %s (local time, %s)", minute(t.Since), minute(t.Until), clean(zone))
}

// empty says whether there is nothing to tell.
func (t teller) empty() bool { return t.From.IsZero() }
