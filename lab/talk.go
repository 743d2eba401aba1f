package lab

import (
	"context"
	_ "embed" // The caller and its pinned requirements.
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"netwatch"
)

//go:embed talk.py
var talkScript string

//go:embed livekit-requirements.txt
var talkPins string

// A Talk is a caller who talks by LiveKit's own SDK until it is stopped.
type Talk struct {
	log, hosts string
	process    *process
}

// callsName is what callers know LiveKit by.
const callsName = "calls.example.org"

// Talk has a caller in a namespace go into a room of a LiveKit, which he finds at an
// address.
func (l *Lab) Talk(ctx context.Context, namespace, name, room string, at netip.AddrPort) (*Talk, error) {
	env := "livekit-sdk-" + netwatch.Fingerprint([]byte(talkPins))[:12]
	dir, err := cached(env, func(dir string) error { return installPins(ctx, dir, talkPins, nil) })
	if err != nil {
		return nil, fmt.Errorf("installing LiveKit's SDK from PyPI: %w", err)
	}
	t := &Talk{log: filepath.Join(l.dir, "talk-"+name), hosts: filepath.Join(l.dir, "hosts-"+name)}
	script := filepath.Join(l.dir, "talk.py")
	if err := os.WriteFile(script, []byte(talkScript), 0o600); err != nil {
		return nil, err
	}
	if err := t.Finds(at.Addr()); err != nil {
		return nil, err
	}
	libs, err := filepath.Glob(filepath.Join(dir, "lib", "python3*", "site-packages"))
	if err != nil || len(libs) == 0 {
		return nil, fmt.Errorf("looking for LiveKit's SDK in %s: it is not there", dir)
	}
	t.process, err = start(t.log, inNet(namespace, "unshare", "-m", "sh", "-c",
		`mount --bind "$0" /etc/hosts && PYTHONPATH="$1" exec /usr/bin/python3 "$2" "$3" element_call "$4" "$5" "$6"`,
		t.hosts, libs[0], script, fmt.Sprintf("%s:%d", callsName, at.Port()), CallSecret, room, name)...)
	return t, err
}

// Finds has the caller find LiveKit at another address from now on.
func (t *Talk) Finds(at netip.Addr) error {
	return os.WriteFile(t.hosts, fmt.Appendf(nil, "127.0.0.1 localhost\n%s %s\n", at, callsName), 0o600)
}

// A Happening is what happened to a caller, and when.
type Happening struct {
	At   time.Time
	What string
}

// Happened is all that has happened to the caller.
func (t *Talk) Happened() (all []Happening, err error) {
	text, err := os.ReadFile(t.log)
	for line := range strings.Lines(string(text)) {
		at, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		if seconds, err := strconv.ParseFloat(at, 64); err == nil {
			all = append(all, Happening{time.UnixMilli(int64(seconds * 1000)), what})
		}
	}
	return all, err
}

// Heard waits until the caller has heard another after a time, and returns when.
func (t *Talk) Heard(ctx context.Context, after time.Time) (time.Time, error) {
	for {
		all, err := t.Happened()
		if err != nil {
			return time.Time{}, err
		}
		i := slices.IndexFunc(all, func(h Happening) bool { return h.What == "heard" && h.At.After(after) })
		if i >= 0 {
			return all[i].At, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("a caller hears nobody: %w", context.Cause(ctx))
		}
	}
}

// A Silence is a time in which a caller heard nobody.
type Silence struct{ From, To time.Duration }

// String is the silence for a person.
func (s Silence) String() string {
	return fmt.Sprintf("from %.1f to %.1f s", s.From.Seconds(), s.To.Seconds())
}

// Silences are the times, reckoned from a moment, in which the caller heard nobody for half
// a second or more.
func (t *Talk) Silences(since time.Time) (all []Silence, err error) {
	happened, err := t.Happened()
	last := since
	for _, h := range happened {
		if h.What != "heard" || h.At.Before(since) {
			continue
		}
		if h.At.Sub(last) >= 500*time.Millisecond {
			all = append(all, Silence{last.Sub(since), h.At.Sub(since)})
		}
		last = h.At
	}
	return all, err
}

// Stop ends the call.
func (t *Talk) Stop() error { return t.process.stop(os.Interrupt) }
