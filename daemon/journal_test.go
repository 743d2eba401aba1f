package daemon

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"testing"

	systemd "github.com/coreos/go-systemd/v22/journal"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// journald gets each line with its level and fields; what it does not take is
// not lost. The journald here is a fake.
func TestJournal(t *testing.T) {
	type sent struct {
		message  string
		priority systemd.Priority
		fields   map[string]string
	}
	var got []sent
	var out bytes.Buffer
	down := false
	log := zerolog.New(journal{func(message string, priority systemd.Priority, fields map[string]string) error {
		if down {
			return errors.New("it is down")
		}
		got = append(got, sent{message, priority, fields})
		return nil
	}, &out})
	log.Info().Str("id", "i").Str("rule", "r").Str("step", "s").Str("event", "e").Str("source", "o").
		Str("outcome", "changed").Msg("step")
	log.Warn().Msg("w")
	log.Error().Msg("e")
	down = true
	log.Error().Msg("d")
	want := []sent{
		{
			`{"level":"info","id":"i","rule":"r","step":"s","event":"e","source":"o","outcome":"changed","message":"step"}`,
			systemd.PriInfo,
			map[string]string{
				"SYSLOG_IDENTIFIER": "netwatch", "NETWATCH_ID": "i", "NETWATCH_RULE": "r", "NETWATCH_STEP": "s",
				"NETWATCH_EVENT": "e", "NETWATCH_SOURCE": "o", "NETWATCH_OUTCOME": "changed",
			},
		},
		{`{"level":"warn","message":"w"}`, systemd.PriWarning, map[string]string{"SYSLOG_IDENTIFIER": "netwatch"}},
		{`{"level":"error","message":"e"}`, systemd.PriErr, map[string]string{"SYSLOG_IDENTIFIER": "netwatch"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(sent{})); diff != "" {
		t.Error(diff)
	}
	if out.String() != `{"level":"error","message":"d"}`+"\n" {
		t.Errorf("written was %s", out.String())
	}
}

func TestIsJournal(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var st unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &st); err != nil {
		t.Fatal(err)
	}
	t.Setenv("JOURNAL_STREAM", fmt.Sprintf("%d:%d", st.Dev, st.Ino))
	if !isJournal(file) || isJournal(os.Stderr) || isJournal(&bytes.Buffer{}) {
		t.Error("what is the journal is not known")
	}
}
