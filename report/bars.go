package report

import (
	"fmt"
	"strings"
)

// A bars is a picture of how many of something there are: a column for each kind of it,
// or one for each of two series. Across, all is in percent of the width, so that the
// texts keep their size on a narrow screen; down, in pixels.
type bars struct {
	// Title says what it shows, X and Y what the axes are.
	Title, X, Y string
	// Series are the names of the values of each bar, if there are several.
	Series []string
	Bars   []bar
}

// A bar has a label, in one line or in two, and a value of each series. A label that is
// Rare is only for where there is room.
type bar struct {
	Label, Unit string
	Rare        bool
	Values      []int
}

// Where the picture has what, in pixels from its top, and in percent from its left.
const (
	barsTop    = 30
	barsBottom = 160
	barsLeft   = 7.0
	barsWidth  = 100 - barsLeft
)

// A rect is one column.
type rect struct {
	Series       int
	X, W, Middle float64
	Y, H         float64
	Value        int
	Rare         bool
}

// A tick is a line of an axis, with what it stands for.
type tick struct {
	At    float64
	Label string
	Rare  bool
}

// most is the largest value.
func (b bars) most() (most int) {
	for _, one := range b.Bars {
		for _, v := range one.Values {
			most = max(most, v)
		}
	}
	return most
}

// scale is the distance of the ticks of the axis of values, and where it ends: three to
// six ticks at round numbers.
func (b bars) scale() (distance, end int) {
	distance = 1
	for factor := 0; b.most() > 5*distance; factor++ {
		distance = distance * []int{2, 5, 2}[factor%3] / []int{1, 2, 1}[factor%3]
	}
	end = (b.most() + distance - 1) / distance * distance
	return distance, max(end, distance)
}

// Ticks are those of the axis of values.
func (b bars) Ticks() (all []tick) {
	distance, end := b.scale()
	for v := 0; v <= end; v += distance {
		all = append(all, tick{At: height(v, end), Label: fmt.Sprint(v)})
	}
	return all
}

// height is where a value stands.
func height(v, end int) float64 {
	return barsBottom - float64(v)/float64(end)*(barsBottom-barsTop)
}

// Labels are those under the columns, and Units their second lines.
func (b bars) Labels() []tick { return b.under(func(one bar) string { return one.Label }) }
func (b bars) Units() []tick  { return b.under(func(one bar) string { return one.Unit }) }

func (b bars) under(text func(bar) string) (all []tick) {
	slot := barsWidth / float64(len(b.Bars))
	for i, one := range b.Bars {
		if text(one) != "" {
			all = append(all, tick{barsLeft + (float64(i)+0.5)*slot, text(one), one.Rare})
		}
	}
	return all
}

// Bottom is how high the picture is: two lines, and one more for units and for a name.
func (b bars) Bottom() float64 {
	bottom := barsBottom + 22.0
	if len(b.Units()) > 0 {
		bottom += 13
	}
	if b.X != "" {
		bottom += 14
	}
	return bottom
}

// Rects are the columns.
func (b bars) Rects() (all []rect) {
	_, end := b.scale()
	slot := barsWidth / float64(len(b.Bars))
	for i, one := range b.Bars {
		width := 0.76 * slot / float64(len(one.Values))
		for series, v := range one.Values {
			if v == 0 {
				continue
			}
			x, y := barsLeft+(float64(i)+0.12)*slot+float64(series)*width, height(v, end)
			all = append(all, rect{
				Series: series, X: x, W: width, Middle: x + width/2, Y: y, H: barsBottom - y, Value: v,
				Rare: len(b.Bars)*len(one.Values) > 16,
			})
		}
	}
	return all
}

// Words are what the picture shows, for who does not see it.
func (b bars) Words() string {
	var all []string
	for _, one := range b.Bars {
		for i, v := range one.Values {
			if v == 0 {
				continue
			}
			name := strings.TrimSpace(one.Label + " " + one.Unit)
			if len(b.Series) > 0 {
				name += ", " + b.Series[i]
			}
			all = append(all, fmt.Sprintf("%s: %d", name, v))
		}
	}
	return b.Title + " (" + b.Y + "). " + strings.Join(all, "; ")
}
