package main

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/rs/zerolog"
	"golang.org/x/sys/unix"
)

// journald gets the level of each line, and nobody else does.
func TestJournal(t *testing.T) {
	var out bytes.Buffer
	log := zerolog.New(journal{&out})
	log.Info().Msg("i")
	log.Warn().Msg("w")
	log.Error().Msg("e")
	want := `{"level":"info","message":"i"}` + "\n" + `<4>{"level":"warn","message":"w"}` + "\n" + `<3>{"level":"error","message":"e"}` + "\n"
	if out.String() != want {
		t.Errorf("%s, not\n%s", out.String(), want)
	}
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
	if !isJournal(file) || isJournal(os.Stderr) || isJournal(&out) {
		t.Error("what is the journal is not known")
	}
}
