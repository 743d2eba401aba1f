package machine

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"netwatch"
)

// wrappers are programs that do no more than to start the rest of their words as
// another one, in the same file system. Which of their words are that program, only
// its name can tell.
var wrappers = []string{
	"env", "nice", "ionice", "chrt", "taskset", "setpriv", "prlimit", "numactl", "nohup", "setsid", "stdbuf", "setarch",
	"timeout", "choom", "runuser", "sudo", "systemd-cat", "systemd-inhibit",
}

var shells = []string{"sh", "bash", "dash", "ash", "busybox"}

// wrapped are the programs that are looked for behind a wrapper.
var wrapped = []string{"turnserver", "python", "python3", "synapse_homeserver"}

// unwrap is the command that another one only starts: behind env(1) and its like, and
// in a shell's line that is no more than one command.
func unwrap(words []string) ([]string, error) {
	for range 5 { // Nobody wraps deeper
		if len(words) == 0 {
			return nil, nil
		}
		switch name := path.Base(words[0]); {
		case slices.Contains(wrappers, name):
			is := func(word string) bool {
				name := path.Base(word)
				return slices.Contains(wrapped, name) || slices.Contains(programs, name) || slices.Contains(shells, name)
			}
			i := slices.IndexFunc(words[1:], is)
			if i < 0 {
				return words, nil
			}
			words = words[i+1:]
		case slices.Contains(shells, name):
			line, ok := shellLine(words[1:])
			if !ok {
				return words, nil
			}
			inner, err := shellWords(line)
			if err != nil {
				return nil, err
			}
			words = inner
		default:
			return words, nil
		}
	}
	return words, nil
}

// shellLine is the line that a shell is given with -c.
func shellLine(words []string) (line string, ok bool) {
	for i, word := range words {
		switch {
		case word == "sh": // Of busybox
		case !strings.HasPrefix(word, "-") || word == "--":
			return "", false
		case !strings.HasPrefix(word, "--") && strings.Contains(word, "c") && i+1 < len(words):
			return words[i+1], true
		}
	}
	return "", false
}

var shellAssignment = netwatch.Pattern(`^[A-Za-z_][A-Za-z0-9_]*=`)

// shellWords are the words of a shell's line that is one command, without exec and
// assignments before it. What else a shell can do is not followed.
func shellWords(line string) ([]string, error) {
	if i := strings.IndexAny(line, "$`;&|<>(){}*?[~#!\n"); i >= 0 {
		return nil, fmt.Errorf("a shell's line with %q in it, which is not followed", line[i:i+1])
	}
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, fmt.Errorf("reading a shell's line: %w", err)
	}
	for len(words) > 0 && (words[0] == "exec" || shellAssignment().MatchString(words[0])) {
		words = words[1:]
	}
	if len(words) == 0 {
		return nil, errors.New("a shell's line without a command")
	}
	return words, nil
}
