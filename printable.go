package netwatch

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable is a text as one line that a person can read and that does nothing to
// his terminal: each character that is not printable is written as JSON would
// escape it (\u001b), line ends and what turns the direction of writing as well.
func Printable(text string) string { return string(Harmless([]byte(text), "")) }

// Harmless is text in which each character that is not printable is escaped, but
// for those in keep. JSON means the same afterwards.
func Harmless(text []byte, keep string) []byte {
	clean := make([]byte, 0, len(text))
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == utf8.RuneError && size == 1:
			clean = fmt.Appendf(clean, `\x%02x`, text[0])
		case strconv.IsPrint(r) || strings.ContainsRune(keep, r):
			clean = append(clean, text[:size]...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			clean = fmt.Appendf(clean, `\u%04x\u%04x`, high, low)
		default:
			clean = fmt.Appendf(clean, `\u%04x`, r)
		}
		text = text[size:]
	}
	return clean
}
