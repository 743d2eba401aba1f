package systemd_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"netwatch/systemd"
)

// What each line of a command becomes was seen with systemd 252.
func TestExpand(t *testing.T) {
	vars := systemd.Variables{}
	vars.Set("CONF=/etc/a b.conf", "OPTS=-v '-c /x y' -n", "EMPTY=")
	for line, want := range map[string]string{
		"/bin/t|-c|${CONF}":           "/bin/t|-c|/etc/a b.conf",
		"/bin/t|-c|$CONF":             "/bin/t|-c|/etc/a|b.conf",
		"/bin/t|--config=${CONF}":     "/bin/t|--config=/etc/a b.conf",
		"/bin/t|--config=$CONF":       "/bin/t|--config=$CONF",
		"/bin/t|$OPTS":                "/bin/t|-v|-c /x y|-n",
		"/bin/t|$EMPTY|${EMPTY}|$NON": "/bin/t|",
		"/bin/t|$$CONF|a$$":           "/bin/t|$CONF|a$",
		"/bin/sh|-c|t ${CONF}":        "/bin/sh|-c|t /etc/a b.conf",
	} {
		got, err := vars.Expand(strings.Split(line, "|"))
		if diff := cmp.Diff(want, strings.Join(got, "|")); diff != "" || err != nil {
			t.Error(line, diff, err)
		}
	}
}

// What systemd says only once it starts a service is not guessed.
func TestExpandUnknown(t *testing.T) {
	for _, word := range []string{"$HOME", "${CONFIGURATION_DIRECTORY}/turnserver.conf"} {
		if got, err := (systemd.Variables{}).Expand([]string{"/bin/t", word}); err == nil {
			t.Errorf("%s is %q", word, got)
		}
	}
}

func TestUnset(t *testing.T) {
	vars := systemd.Variables{"A": "1", "B": "2", "C": "3"}
	vars.Unset("A", "B=2", "C=4")
	if diff := cmp.Diff(systemd.Variables{"C": "3"}, vars); diff != "" {
		t.Error(diff)
	}
}

// What each text means was seen with systemd 252.
func TestParseEnvironment(t *testing.T) {
	for text, want := range map[string]string{
		"A=1\nB=2":                                "A=1|B=2",
		"# A=1\n ;B=2\n\nC=3\n":                   "C=3",
		"A = 1 2 \nno line\nB=":                   "A=1 2|B=",
		`A="1 \" 2" ` + "\nB='\\n x'\nC=a\"b\"":   `A=1 " 2|B=\n x|C=a"b"`,
		"A=1\\\n2\nB=\"3\n4\"\nC=a\\ b\\\\ ":      "A=12|B=3\n4|C=a b\\",
		"1A=1\nA-B=2\nA=x=y":                      "A=x=y",
		"A=\"open":                                "A=open",
		"A=1\r\nB=2\r\n":                          "A=1|B=2",
		`A="a" "b" c` + "\nB='a'b'c'\nC=\"a\\b\"": `A=abc|B=ab'c'|C=a\b`,
	} {
		got := systemd.ParseEnvironment([]byte(text))
		if diff := cmp.Diff(want, strings.Join(got, "|")); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
	}
}
