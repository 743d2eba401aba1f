package systemd

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"

	"netwatch"
)

// Variables are the environment that a service's command lines are written with.
type Variables map[string]string

// Set sets variables that are written as NAME=value.
func (v Variables) Set(all ...string) {
	for _, one := range all {
		if name, value, ok := strings.Cut(one, "="); ok {
			v[name] = value
		}
	}
}

// Unset takes variables out: each by its name, or where it has a value as well, only
// if it is the same (UnsetEnvironment=, systemd.exec(5)).
func (v Variables) Unset(all ...string) {
	for _, one := range all {
		if name, value, exact := strings.Cut(one, "="); !exact || v[name] == value {
			delete(v, name)
		}
	}
}

// given are variables that systemd gives a service when it starts, beside those whose
// names end in _DIRECTORY (systemd.exec(5)). What they will be is not known before.
var given = []string{
	"HOME", "USER", "LOGNAME", "SHELL", "INVOCATION_ID", "MAINPID", "MANAGERPID", "NOTIFY_SOCKET", "LISTEN_FDS",
	"LISTEN_PID", "LISTEN_FDNAMES", "JOURNAL_STREAM", "WATCHDOG_PID", "WATCHDOG_USEC", "SYSTEMD_EXEC_PID", "TERM",
	"PIDFILE", "REMOTE_ADDR", "REMOTE_PORT", "MEMORY_PRESSURE_WATCH", "TRIGGER_UNIT", "TRIGGER_PATH",
}

// get is the value of a variable. One that nobody sets is empty.
func (v Variables) get(name string) (string, error) {
	value, ok := v[name]
	if !ok && (slices.Contains(given, name) || strings.HasSuffix(name, "_DIRECTORY")) {
		return "", fmt.Errorf("what $%s is, systemd knows only when it starts it", name)
	}
	return value, nil
}

// Expand is a command line with its variables in it, as systemd runs it: $NAME as a
// word of its own is split into words, ${NAME} is replaced wherever it stands, and $$
// is a dollar sign (systemd.service(5), Command lines).
func (v Variables) Expand(words []string) (all []string, err error) {
	for i, word := range words {
		name, alone := strings.CutPrefix(word, "$")
		if i == 0 || !alone || name == "" || name[0] == '{' || name[0] == '$' {
			if word, err = v.expandIn(word); err != nil {
				return nil, err
			}
			all = append(all, word)
			continue
		}
		value, err := v.get(name)
		if err != nil {
			return nil, err
		}
		more, err := shellquote.Split(value)
		if err != nil {
			return nil, fmt.Errorf("reading $%s: %w", name, err)
		}
		all = append(all, more...)
	}
	return all, nil
}

// inWord is a variable in braces, or a dollar sign for itself.
var inWord = netwatch.Pattern(`\$\$|\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// expandIn replaces what stands in a word.
func (v Variables) expandIn(word string) (_ string, err error) {
	word = inWord().ReplaceAllStringFunc(word, func(found string) string {
		if found == "$$" {
			return "$"
		}
		value, unknown := v.get(found[2 : len(found)-1])
		if unknown != nil {
			err = unknown
		}
		return value
	})
	return word, err
}

// ParseEnvironment reads the text of an EnvironmentFile= (systemd.exec(5)): NAME=value
// on each line, comments after # and ;, a value in quotes or with backslashes, and
// lines that go on behind a backslash. A line of another form does not count.
func ParseEnvironment(text []byte) (all []string) {
	for rest := string(text); rest != ""; {
		line, behind, _ := strings.Cut(rest, "\n")
		name, _, assigns := strings.Cut(line, "=")
		if !assigns || strings.ContainsAny(strings.TrimSpace(line)[:1], "#;") {
			rest = behind
			continue
		}
		var value string
		value, rest = environmentValue(rest[len(name)+1:])
		if name = strings.TrimSpace(name); variableName().MatchString(name) {
			all = append(all, name+"="+value)
		}
	}
	return all
}

var variableName = netwatch.Pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

// environmentValue reads a value up to the end of its line, and returns the text
// behind it. Quotes count at its beginning and right behind others.
func environmentValue(text string) (value, rest string) {
	var b strings.Builder
	meant, bare := 0, false // How much of b does not go with blanks at the end
	for i := 0; i < len(text) && text[i] != '\n'; i++ {
		switch c := text[i]; {
		case (c == '"' || c == '\'') && !bare:
			inside, behind := quoted(text[i+1:], c)
			b.WriteString(inside)
			text, i, meant = behind, -1, b.Len()
		case c == '\\' && i+1 < len(text):
			if i++; text[i] != '\n' {
				b.WriteByte(text[i])
			}
			meant, bare = b.Len(), true
		case !blank(c):
			b.WriteByte(c)
			meant, bare = b.Len(), true
		case bare:
			b.WriteByte(c)
		}
		rest = text[i+1:]
	}
	return b.String()[:meant], rest
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }

// quoted reads up to the closing quote, and returns the text behind it. In double
// quotes a backslash stands before a quote, a backslash, a dollar sign, a backquote or
// the end of a line.
func quoted(text string, quote byte) (inside, behind string) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == quote:
			return b.String(), text[i+1:]
		case c == '\\' && quote == '"' && i+1 < len(text) && strings.IndexByte("\"\\$`\n", text[i+1]) >= 0:
			if i++; text[i] != '\n' {
				b.WriteByte(text[i])
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}
