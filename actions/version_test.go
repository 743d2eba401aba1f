package actions

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"netwatch"
	"netwatch/systemd/systemdtest"
)

// Two addresses are written for a LiveKit alone that is known to take them.
func TestRotateByVersion(t *testing.T) {
	const both = "rtc:\n  node_ip: 203.0.113.5,2001:db8::5\n"
	for answer, want := range map[string]string{
		"livekit-server version 1.13.5": "",
		"livekit-server version 1.9.11": "two addresses, and this one is 1.9",
		"no idea":                       "which version this one is cannot be found out",
	} {
		t.Run(answer, func(t *testing.T) {
			f := systemdtest.New(t)
			file, program := filepath.Join(t.TempDir(), "livekit.yml"), filepath.Join(t.TempDir(), "livekit-server")
			writeFile(t, file, both)
			script := "#!/bin/sh\n[ \"$1\" = --version ] && echo '" + answer + "'\n"
			if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
				t.Fatal(err)
			}
			f.Set("ExecStart", []execStart{{Path: program, Args: []string{program, "--config", file}}})
			r := step(t, Env{}, "rotate livekit "+file)
			result := r.Do(t.Context(), netwatch.Job{
				Confirmed: known("198.51.100.7 2001:db8::7"), Steps: []netwatch.Step{r, step(t, Env{}, "restart t.service")},
			})
			if want != "" {
				wantResult(t, result, netwatch.Failed, want)
				wantFile(t, file, both)
				return
			}
			wantResult(t, result, netwatch.Changed)
			wantFile(t, file, "rtc:\n  node_ip: 198.51.100.7,2001:db8::7\n")
		})
	}
}

// A program that others could have put there is not asked for its version.
func TestVersionOfAStranger(t *testing.T) {
	program := filepath.Join(t.TempDir(), "livekit-server")
	ran := program + ".ran"
	if err := os.WriteFile(program, []byte("#!/bin/sh\n: >"+ran+"\necho 1.13.5\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	for mode, want := range map[os.FileMode]string{0o700: "", 0o702: "is not safe to run: everyone may write"} {
		chmod(t, program, mode)
		_ = os.Remove(ran) // It may not be there
		_, _, err := versionOf(t.Context(), program)
		if _, missing := os.Stat(ran); (missing == nil) != (want == "") {
			t.Errorf("%o: whether it ran: %v", mode, missing)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%o: %v", mode, err)
		}
	}
}
