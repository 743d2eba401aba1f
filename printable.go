package netwatch

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Printable makes one line of a text, which a person can read and which does nothing
// to a terminal. Each character that is not printable is escaped as in JSON (\u001b),
// among them line ends and those that turn the direction of writing.
func Printable(text string) string { return string(Harmless([]byte(text), "")) }

// Harmless escapes each character of text that is not printable, except those in
// keep. JSON means the same afterwards.
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
