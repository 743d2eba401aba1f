package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page.html
var pageText string

// Page writes a report as a page by itself: nothing in it is from elsewhere, and nothing
// in it runs.
func Page(w io.Writer, r Report, l Language) error {
	t := teller{r, l, mostRows}
	page, err := template.New("page").Funcs(template.FuncMap{
		"t": l.t, "px": pixels, "pc": percent, "class": func(series int) string { return barClasses[series%2] },
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	var out bytes.Buffer // It writes each piece by itself, and all or nothing is wanted
	err = page.Execute(&out, struct {
		Language         Language
		Heading, Period  string
		Version, Written string
		Sections         []section
	}{l, t.heading(), t.period(), r.Version, minute(r.Until), t.sections()})
	if err != nil {
		return fmt.Errorf("making the page: %w", err)
	}
	_, err = w.Write(out.Bytes())
	return err
}

// barClasses are those of the series of bars.
var barClasses = [2]string{"s0", "s1"}

// percent is a place across a picture, and pixels one down.
func percent(x float64) string { return fmt.Sprintf("%.4g%%", x) }
func pixels(y float64) string  { return fmt.Sprintf("%.4g", y) }

// Long says whether a table is so long that it is opened only when somebody wants it.
func (t table) Long() bool { return len(t.Rows) > 40 }
