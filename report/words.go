package report

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A Language is that of the reader: English, or French.
type Language struct{ french bool }

// LanguageOf is the language of the locale, as the environment has it (locale(7)).
func LanguageOf(getenv func(string) string) Language {
	locale := cmp.Or(getenv("LC_ALL"), getenv("LC_MESSAGES"), getenv("LANG"))
	rest, is := strings.CutPrefix(locale, "fr")
	return Language{french: is && (rest == "" || strings.ContainsAny(rest[:1], "_.@"))}
}

// String is the language by its tag (BCP 47).
func (l Language) String() string {
	if l.french {
		return "fr"
	}
	return "en"
}

// t is a text of ours in the language, which is given in English, with args in it as
// fmt.Sprintf puts them there.
func (l Language) t(english string, args ...any) string {
	text := english
	if l.french {
		text = cmp.Or(french[english], english)
	}
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

// n is one of two texts, for one and for several of something, with the number in it
// before args.
func (l Language) n(n int, one, several string, args ...any) string {
	args = append([]any{l.number(n)}, args...)
	if n == 1 || n == 0 && l.french {
		return l.t(one, args...)
	}
	return l.t(several, args...)
}

// number is a whole number.
func (l Language) number(n int) string {
	digits, comma := strconv.Itoa(n), ","
	if l.french {
		comma = " "
	}
	for i := len(digits) - 3; i > 0 && n > 9999; i -= 3 {
		digits = digits[:i] + comma + digits[i:]
	}
	return digits
}

// duration is how long something was, as exactly as one wants to read it.
func (l Language) duration(seconds float64) string {
	s := int(seconds + 0.5)
	switch {
	case seconds < 9.95:
		text := strconv.FormatFloat(seconds, 'f', 1, 64)
		if seconds > 0 && seconds < 0.95 {
			text = strconv.FormatFloat(seconds, 'f', 2, 64)
		}
		if l.french {
			text = strings.Replace(text, ".", ",", 1)
		}
		return text + " s"
	case s < 60:
		return l.t("%d s", s)
	case s < 600:
		return twoParts(s/60, l.t("min"), s%60, l.t("s"))
	case s < 3570:
		return l.t("%d min", (s+30)/60)
	case s < 2*86400:
		s = (s + 30) / 60
		return twoParts(s/60, l.t("h"), s%60, l.t("min"))
	}
	s = (s + 1800) / 3600
	return twoParts(s/24, l.t("d"), s%24, l.t("h"))
}

// twoParts is a large unit and a small one, which is left out if there is none of it.
func twoParts(large int, largeUnit string, small int, smallUnit string) string {
	text := fmt.Sprint(large, " ", largeUnit)
	if small > 0 {
		text += fmt.Sprint(" ", small, " ", smallUnit)
	}
	return text
}

// minute is a moment as tables have it: the same in both languages.
func minute(at time.Time) string { return at.Format("2006-01-02 15:04") }

// clock is a minute of the day.
func clock(minutes int) string { return fmt.Sprintf("%02d:%02d", minutes/60, minutes%60) }

// weekdays and months are names in English.
var (
	weekdays      = [7]string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
	shortWeekdays = [7]string{"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}
	shortMonths   = [12]string{
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
	}
)
