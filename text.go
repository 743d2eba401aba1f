package netwatch

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"
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

// UnmarshalText takes a clean or unclean absolute path and cleans it.
func (p *Path) UnmarshalText(text []byte) error {
	v, err := ParsePath(string(text))
	*p = v
	return err
}

// ParsePath takes an absolute path, cleans it and refuses every other text.
func ParsePath(text string) (Path, error) {
	if text == "" {
		return "", errors.New("a path is missing")
	}
	if !filepath.IsAbs(text) {
		return "", fmt.Errorf("%q is a relative path: it must begin with /", text)
	}
	return Path(filepath.Clean(text)), nil
}
