package netwatch

import (
	"regexp"
	"sync"
)

// Pattern compiles a regular expression when it is first used, and panics then if it
// is wrong. So a hook, which OpenVPN waits for and which uses none, does not compile
// any.
func Pattern(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}
