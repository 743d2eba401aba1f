package daemon

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	systemd "github.com/coreos/go-systemd/v22/journal"
	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"

	"netwatch"
)

// priorities are those of journald for our levels (systemd.journal-fields(7)).
var priorities = map[zerolog.Level]systemd.Priority{
	zerolog.DebugLevel: systemd.PriDebug, zerolog.WarnLevel: systemd.PriWarning,
	zerolog.ErrorLevel: systemd.PriErr, zerolog.FatalLevel: systemd.PriCrit,
}

// A journal gives journald each line with its level and with what one looks for
// as fields: journalctl NETWATCH_ID=… is all that an event led to.
type journal struct {
	// send is systemd.Send.
	send func(message string, priority systemd.Priority, fields map[string]string) error
	// Writer takes what journald does not.
	io.Writer
}

// WriteLevel hands over one line.
func (j journal) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	line = netwatch.Harmless(line, "\n") // for the terminal of who reads the journal
	priority, ok := priorities[level]
	if !ok {
		priority = systemd.PriInfo
	}
	if err := j.send(string(line[:max(0, len(line)-1)]), priority, journalFields(line)); err != nil {
		return j.Write(line)
	}
	return len(line), nil
}

// journalFields are the fields of a line that bear a name of ours.
func journalFields(line []byte) map[string]string {
	var said struct{ ID, Event, Source, Rule, Step, Outcome string }
	_ = json.Unmarshal(line, &said) // zerolog writes nothing else
	fields := map[string]string{"SYSLOG_IDENTIFIER": "netwatch"}
	for name, value := range map[string]string{
		"ID": said.ID, "EVENT": said.Event, "SOURCE": said.Source,
		"RULE": said.Rule, "STEP": said.Step, "OUTCOME": said.Outcome,
	} {
		if value != "" {
			fields["NETWATCH_"+name] = value
		}
	}
	return fields
}

// isJournal says whether what is written to w goes to journald, which then says
// so in JOURNAL_STREAM (systemd.exec(5)).
func isJournal(w io.Writer) bool {
	file, ok := w.(interface{ Fd() uintptr })
	if !ok {
		return false
	}
	var st unix.Stat_t
	err := unix.Fstat(int(file.Fd()), &st)
	return err == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
