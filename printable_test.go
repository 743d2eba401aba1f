package netwatch_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"netwatch"
)

// What is printed has no character that does anything but stand there.
func FuzzPrintable(f *testing.F) {
	for _, text := range attacks {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		both := map[string]string{"": netwatch.Printable(text), "\n\t": string(netwatch.Harmless([]byte(text), "\n\t"))}
		for keep, clean := range both {
			for _, r := range clean {
				if strings.ContainsRune(keep, r) {
					continue
				}
				if unicode.In(r, unicode.C, unicode.Zl, unicode.Zp) || !utf8.ValidString(clean) {
					t.Errorf("%q became %q", text, clean)
				}
			}
		}
		encoded, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		var before, after string
		if err := json.Unmarshal(encoded, &before); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(netwatch.Harmless(encoded, "\n\t"), &after); err != nil || after != before {
			t.Errorf("%q is %q in JSON made harmless: %v", before, after, err)
		}
	})
}
