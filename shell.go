package netwatch

import (
	"fmt"
	"strings"
)

// ShellPath quotes the name of a file for a shell. Use it for each name in a command
// line of a hint: strangers may have chosen the name, and root pastes the line.
func ShellPath(path string) string {
	if strings.HasPrefix(path, "-") { // No option
		path = "./" + path
	}
	switch {
	case path != "" && strings.Trim(path, shellPlain) == "":
		return path
	case Printable(path) == path:
		return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
	}
	var b strings.Builder
	for _, c := range []byte(path) {
		if strings.IndexByte(shellPlain, c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, `\%03o`, c)
		}
	}
	return "$'" + b.String() + "'"
}

// shellPlain are the characters that mean nothing to any shell.
const shellPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-+:@%,"
