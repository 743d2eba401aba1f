package netwatch

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Duration is a span of time as the configuration writes it: "15s", "1m30s".
type Duration time.Duration

// UnmarshalText takes what time.ParseDuration takes, and nothing negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a duration: a number and a unit, as in \"500ms\", \"15s\", \"2m\"", text)
	}
	*d = Duration(v)
	return nil
}

// String is the text that UnmarshalText takes.
func (d Duration) String() string { return time.Duration(d).String() }

// Path is an absolute path of a file or directory.
type Path string

// UnmarshalText takes an absolute path and cleans it.
func (p *Path) UnmarshalText(text []byte) error {
	v, err := ParsePath(string(text))
	*p = v
	return err
}

// ParsePath takes an absolute path and cleans it. It refuses every other text.
func ParsePath(text string) (Path, error) {
	if text == "" {
		return "", errors.New("a path is missing")
	}
	if !filepath.IsAbs(text) {
		return "", fmt.Errorf("%q is a relative path: it must begin with /", text)
	}
	if err := CheckPlain(text); err != nil {
		return "", err
	}
	return Path(filepath.Clean(text)), nil
}

// CheckPlain says why a text is not plain: it has a control character, a line end of
// any kind or another character that is not printable, or it is not UTF-8. Only plain
// text may come into a file that root reads, as a unit of systemd: a line that a
// stranger could add there is a command.
func CheckPlain(text string) error {
	unprinted := func(r rune) bool { return !unicode.IsPrint(r) }
	if !utf8.ValidString(text) || strings.ContainsFunc(text, unprinted) {
		return WithHint(fmt.Errorf("%+q has characters in it that are not printed", text), "give it another name")
	}
	return nil
}
