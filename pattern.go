package netwatch

import (
	"regexp"
	"sync"
)

// Pattern is a regular expression that is compiled when it is first asked for: a
// hook, which OpenVPN waits for, asks for none. It panics then if it is none.
func Pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
