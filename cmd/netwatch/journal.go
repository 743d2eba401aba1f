package main

import (
	"fmt"
	"io"
	"os"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// priorities are those of journald for our levels (sd-daemon(3)); all others are
// information, which is what it takes a line without one for.
var priorities = map[zerolog.Level]string{
	zerolog.DebugLevel: "<7>", zerolog.WarnLevel: "<4>", zerolog.ErrorLevel: "<3>", zerolog.FatalLevel: "<2>",
}

// A journal puts before each line how important it is.
type journal struct{ io.Writer }

// WriteLevel writes one line.
func (j journal) WriteLevel(level zerolog.Level, line []byte) (int, error) {
	if _, err := j.Write(append([]byte(priorities[level]), line...)); err != nil {
		return 0, err
	}
	return len(line), nil
}

// isJournal says whether what is written to w goes to journald, which then says
// so in JOURNAL_STREAM (systemd.exec(5)).
func isJournal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	var st unix.Stat_t
	err := unix.Fstat(int(file.Fd()), &st)
	return err == nil && os.Getenv("JOURNAL_STREAM") == fmt.Sprintf("%d:%d", st.Dev, st.Ino)
}
