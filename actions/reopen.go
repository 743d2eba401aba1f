package actions

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/time/rate"

	"netwatch"
	"netwatch/access"
	"netwatch/systemd"
)

// Reopening is what the daemon may have root do beside the steps of rules: to open
// again, by its access list, what the configuration has it read. It has no word in
// what that is.
var Reopening = UnitNeed{Unit: "netwatch-reopen.service", Verb: string(systemd.Start)}

// The pace of a Reopener. Who owns a file can change it without end, and root is not
// to work for him without end.
const (
	reopenBurst = 5
	reopenEvery = 10 * time.Second
	// reopenTime is how long root may take, and reopenLook how soon to look whether he
	// is done.
	reopenTime = 15 * time.Second
	reopenLook = 200 * time.Millisecond
	// reopenRest is how long after it could not be asked for it is asked for again.
	reopenRest = time.Minute
)

// A Reopener has root open again what the daemon could read and may no longer: whoever
// makes a file anew may leave out the access list that it had. It asks once for each
// way that a file stands.
type Reopener struct {
	// start has root do it, and waits for his end.
	start func(ctx context.Context) error
	// note is told when it ends otherwise than the time before; nil is well.
	note func(err error)
	pace *rate.Limiter

	mu    sync.Mutex
	going bool
	rest  time.Time
	said  string
	// asked is how each file stood when root was asked for it last, and did it.
	asked map[string]string
}

// NewReopener makes one that says by note when it fails, and when it is well again.
func NewReopener(note func(err error)) *Reopener {
	start := &unitAction{verb: systemd.Start, unit: Reopening.Unit}
	return &Reopener{
		start: func(ctx context.Context) error { return start.Do(ctx, netwatch.Job{}).Err },
		note:  note, pace: rate.NewLimiter(rate.Every(reopenEvery), reopenBurst), asked: map[string]string{},
	}
}

// Ask has root open a file again that may not be read, and does not wait for that. It
// returns how soon to look at the file anew; 0 is not before it changes.
func (r *Reopener) Ask(file string) time.Duration {
	stands := standing(file)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.going {
		return reopenLook
	}
	if r.asked[file] == stands {
		return 0
	}
	if rest := time.Until(r.rest); rest > 0 {
		return rest
	}
	turn := r.pace.Reserve()
	if wait := turn.Delay(); wait > 0 {
		turn.Cancel()
		return wait
	}
	r.going = true
	go r.ask(file, stands) // Ends with reopenTime
	return reopenLook
}

// ask asks root, and notes how that ended.
func (r *Reopener) ask(file, stands string) {
	ctx, cancel := context.WithTimeout(context.Background(), reopenTime)
	defer cancel()
	err := r.start(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.going = false
	said := ""
	if err == nil {
		r.asked[file] = stands
	} else {
		r.rest = time.Now().Add(reopenRest)
		said = err.Error()
	}
	if said != r.said {
		r.said = said
		r.note(err)
	}
}

// standing is what decides who may read a file, as far as it can be seen from here: of
// each place on the way which one it is, whose, its mode and its access list.
func standing(file string) string {
	var all strings.Builder
	_, _, err := netwatch.Hops("/", file, func(h netwatch.Hop) error {
		var st unix.Stat_t
		var list [4096]byte
		if err := unix.Lstat(h.Path(), &st); err != nil {
			return err
		}
		n, _ := unix.Lgetxattr(h.Path(), access.Xattr, list[:]) // Most have none
		fmt.Fprintln(&all, st.Dev, st.Ino, st.Mode, st.Uid, st.Gid, list[:max(0, n)])
		return nil
	})
	fmt.Fprint(&all, err)
	return all.String()
}

// await reads the file. Where that may not be, it has it opened again, and waits for
// that.
func (v *verification) await(ctx context.Context, read func() error) error {
	for end := time.Now().Add(v.time); ; {
		err := read()
		if v.reopen == nil || !errors.Is(err, fs.ErrPermission) {
			return err
		}
		again := v.reopen(string(v.file))
		if again == 0 || time.Now().Add(again).After(end) {
			return err
		}
		select {
		case <-time.After(again):
		case <-ctx.Done():
			return err
		}
	}
}
