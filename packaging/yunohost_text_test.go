package packaging_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A hostile is what somebody may have as the realm of his coturn, the name of his machine
// or the answer of his server: YunoHost's web administration takes what it shows for HTML,
// what it shows in a panel for Markdown too, and its command prints it as it is.
const hostile = `<img src=//a.example> [x](javascript:y) &lt; \u001b[31m\u202e`

// harmless fails a test if a text has something of it.
func harmless(t *testing.T, text string, marks string) {
	t.Helper()
	if strings.ContainsAny(text, marks+"\x1b\u202e") || !strings.Contains(text, "img src=//a.example") {
		t.Errorf("it is shown: %q", text)
	}
}

// shell runs a line of bash in the directory of the scripts, where netwatch prints a text.
func shell(t *testing.T, line, prints string) string {
	t.Helper()
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "said"), []byte(prints), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "netwatch"), []byte("#!/bin/sh\ncat "+bin+"/said\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("bash", "-c", line)
	cmd.Dir, cmd.Env = "yunohost/scripts", append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Logf("%s: %v", line, err)
	}
	return string(out)
}

// functions are those of the script of the panel, without YunoHost.
const functions = `source _common.sh; source <(sed '/^source /d; /^ynh_app_config_run/d' config)
ynh_return() { echo "$1"; }; ynh_print_info() { echo "$1"; }; declare -A names=(); `

// What the panel shows of the state is text, also to who reads Markdown.
func TestYunoHostStateIsText(t *testing.T) {
	status := `{"addresses": {}, "sources": [{"name": "mqtt", "error": "` + hostile + `"}], "rules": [{"name": "r",
		"do": ["exec x"], "failed": {"time": "2027-01-31T12:00:00Z", "step": "x", "error": "` + hostile + `"}}]}`
	var shown struct{ Ask struct{ En, Fr string } }
	if err := json.Unmarshal([]byte(shell(t, functions+"get__state", status)), &shown); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{shown.Ask.En, shown.Ask.Fr} {
		harmless(t, text, "<[")
		if !strings.Contains(text, "**mqtt**: ") || !strings.Contains(text, "&#38;lt; ") {
			t.Errorf("it is no longer what it was: %s", text)
		}
	}
}

// So is what a command says in the log, a mistake in the panel, and what diagnosis finds.
func TestYunoHostLogIsText(t *testing.T) {
	said := strings.NewReplacer(`\u001b`, "", `\u202e`, "").Replace(hostile) // Which netwatch has escaped
	harmless(t, shell(t, functions+"told netwatch doctor", said+"\n"), "<")
	harmless(t, shell(t, functions+`refuse "$(netwatch set)"`, said+"\n"), "<")
	found := `{"level": "problem", "what": "coturn", "found": "` + hostile + `", "hint": "` + hostile + `"}` + "\n"
	harmless(t, shell(t, "./findings", found), "<")
	if got := shell(t, functions+"told false || echo $?", ""); got != "1\n" {
		t.Errorf("a command that fails ends with %q", got)
	}
}

// A doctor that does not end holds up neither diagnosis nor the web administration.
func TestYunoHostFindingsEnd(t *testing.T) {
	const endless = "netwatch() { test $1 = check || exec sleep 1000; }; export -f netwatch; "
	got := shell(t, endless+"WITHIN=0.1 ./findings || echo $?", "")
	if !strings.HasPrefix(got, "netwatch doctor does not end. Hint: ") || !strings.HasSuffix(got, "\n1\n") {
		t.Errorf("it says %q", got)
	}
}
