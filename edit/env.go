package edit

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"

	"netwatch"
)

// Env is a file of lines NAME=VALUE, as for systemd's EnvironmentFile=, a container or a
// shell.
var Env = Form{Name: "environment", Check: checkEnv, Get: getEnv, Set: setEnv}

// envName is what a name is to a shell, which is the strictest reader.
var envName = netwatch.Pattern(`^[A-Za-z_][A-Za-z0-9_]*$`)

func checkEnv(key string) error {
	if !envName().MatchString(key) {
		return fmt.Errorf("%q is no name of a variable", key)
	}
	return nil
}

func getEnv(text []byte, key string) (Value, error) {
	if err := checkOnce(text, key); err != nil {
		return Value{}, err
	}
	return reading(readEnv).get(text, "", key)
}

func setEnv(text []byte, key, value string) ([]byte, error) {
	if err := checkOnce(text, key); err != nil {
		return nil, err
	}
	out, err := reading(readEnv).set(text, "", key, value)
	if err != nil {
		return nil, err
	}
	return out, nil
}

// readEnv reads a text line by line. It refuses what a shell does more with, and what is
// more than one line to some readers.
func readEnv(text []byte) ([]line, error) {
	if err := checkText(text); err != nil {
		return nil, err
	}
	all := linesOf(text)
	for i := range all {
		l := &all[i]
		said := trim(text, span{l.from, l.to})
		at := text[said.from:said.to]
		switch {
		case bytes.HasSuffix(text[l.from:l.to], []byte(`\`)):
			return nil, wrongAt(text, l.to-1, "to some readers this line goes on in the next one")
		case len(at) == 0 || at[0] == '#' || at[0] == ';':
			continue
		}
		start := said.from
		if bare, is := bytes.CutPrefix(at, []byte("export ")); is {
			said.from = said.to - len(bare)
			said = trim(text, said)
		}
		name, value, ok := bytes.Cut(text[said.from:said.to], []byte("="))
		if !ok || !envName().Match(name) {
			return nil, wrongAt(text, start, "this is neither NAME=VALUE nor a comment")
		}
		if !closed(value) {
			return nil, wrongAt(text, start, "to some readers this line goes on in the next one: a quote is not closed")
		}
		l.key = string(name)
		l.value = inside(text, span{said.to - len(value), said.to})
	}
	return all, nil
}

// closed says whether the quotes in a value are closed, as a shell sees them.
func closed(value []byte) bool {
	quote := byte(0)
	for i := 0; i < len(value); i++ {
		switch c := value[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote == 0 && strings.IndexByte(quotes, c) >= 0:
			quote = c
		case c == quote:
			quote = 0
		}
	}
	return quote == 0
}

// checkOnce refuses a text that gives a variable a value twice, in whichever place of a
// line.
func checkOnce(text []byte, key string) error {
	if err := checkEnv(key); err != nil {
		return err
	}
	given, seen := regexp.MustCompile(`(?:^|[^A-Za-z0-9_])`+key+`=`), false
	for _, l := range linesOf(text) {
		at := text[l.from:l.to]
		if said := bytes.TrimLeft(at, " \t"); len(said) > 0 && (said[0] == '#' || said[0] == ';') {
			continue
		}
		for _, place := range given.FindAllIndex(at, -1) {
			if seen {
				return wrongAt(text, l.from+place[0], "here is %s= a second time: it is not certain which one counts", key)
			}
			seen = true
		}
	}
	return nil
}
