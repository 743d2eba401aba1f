package actions

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"netwatch"
)

// A root counts how often he is asked to open files, and answers as wanted.
type root struct {
	times atomic.Int64
	said  []error
	err   error
}

// reopener makes one that asks this root, who takes a second.
func (r *root) reopener() *Reopener {
	asking := NewReopener(func(err error) { r.said = append(r.said, err) })
	asking.start = func(context.Context) error {
		r.times.Add(1)
		<-time.After(time.Second)
		return r.err
	}
	return asking
}

// standAs gives a file a mode, by which it stands otherwise.
func standAs(t *testing.T, file string, mode fs.FileMode) {
	t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		t.Fatal(err)
	}
}

// aFile is a file of our own.
func aFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "coturn.conf")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Root is asked once for each way that a file stands, and what is written into it is
// none.
func TestReopenAsksOnce(t *testing.T) {
	file := aFile(t)
	synctest.Test(t, func(t *testing.T) {
		r := root{}
		asking := r.reopener()
		wants := func(what string, times int, again time.Duration) {
			t.Helper()
			got := asking.Ask(file)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got != again || int(r.times.Load()) != times {
				t.Errorf("%s: it is to be looked at in %v, and root was asked %d times", what, got, r.times.Load())
			}
		}
		wants("first", 1, reopenLook)
		wants("as before", 1, 0)
		if err := os.WriteFile(file, []byte("more"), 0o600); err != nil {
			t.Fatal(err)
		}
		wants("with another content", 1, 0)
		standAs(t, file, 0o640)
		wants("with another mode", 2, reopenLook)
		wants("as before again", 2, 0)
		if len(r.said) != 0 {
			t.Errorf("it says %v", r.said)
		}
	})
}

// However often its owner changes a file, root is asked five times and then each ten
// seconds.
func TestReopenKeepsPace(t *testing.T) {
	file := aFile(t)
	synctest.Test(t, func(t *testing.T) {
		r := root{}
		asking := r.reopener()
		modes := []fs.FileMode{0o600, 0o640}
		for end, n := time.Now().Add(10*time.Minute), 0; time.Now().Before(end); n++ {
			standAs(t, file, modes[n%2])
			asking.Ask(file)
			time.Sleep(100 * time.Millisecond)
		}
		most := int64(reopenBurst + 10*time.Minute/reopenEvery)
		if times := r.times.Load(); times > most || times < most-1 {
			t.Errorf("in ten minutes root was asked %d times, want about %d", times, most)
		}
		time.Sleep(reopenTime)
	})
}

// What fails is said once, and tried again after a while.
func TestReopenFails(t *testing.T) {
	file := aFile(t)
	synctest.Test(t, func(t *testing.T) {
		r := root{err: errors.New("no bus")}
		asking := r.reopener()
		for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
			time.Sleep(asking.Ask(file))
		}
		times := r.times.Load()
		if times < 9 || times > 11 || len(r.said) != 1 || !errors.Is(r.said[0], r.err) {
			t.Errorf("root was asked %d times, and it says %v", times, r.said)
		}
		r.err = nil
		time.Sleep(asking.Ask(file))
		asking.Ask(file)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if len(r.said) != 2 || r.said[1] != nil || asking.Ask(file) != 0 {
			t.Errorf("of being well again it says %v", r.said)
		}
	})
}

// A proof has its file opened again, and waits for that.
func TestVerifyReopens(t *testing.T) {
	asked := 0
	v := &verification{time: time.Second, file: "/etc/turnserver.conf", reopen: func(string) time.Duration {
		asked++
		return time.Duration(3-asked) * time.Millisecond
	}}
	closed := func() error { return netwatch.WithHint(fs.ErrPermission, "x") }
	if err := v.await(t.Context(), closed); !errors.Is(err, fs.ErrPermission) || asked != 3 {
		t.Errorf("%v, asked %d times", err, asked)
	}
	if err := v.await(t.Context(), func() error { return nil }); err != nil || asked != 3 {
		t.Errorf("of an open file: %v, asked %d times", err, asked)
	}
	v.reopen = func(string) time.Duration { return time.Minute }
	if err := v.await(t.Context(), closed); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("what is to be opened in a minute: %v", err)
	}
}

// Each proof of a file has root to open it.
func TestVerifyOfEachReopens(t *testing.T) {
	env := Env{Reopen: func(string) time.Duration { return time.Hour }}
	for _, server := range []string{"coturn", "livekit"} {
		step, err := newVerify(env, "verify", []string{server, "/x"})
		if err != nil {
			t.Fatal(err)
		}
		var v *verification
		switch a := step.Action.(type) {
		case *verification:
			v = a
		case *livekitProof:
			v = &a.verification
		}
		if v.reopen == nil || v.reopen("/x") != time.Hour {
			t.Errorf("verify %s has nobody to open its file", server)
		}
	}
}
