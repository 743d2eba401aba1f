package sources

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"syscall"
	"time"

	"github.com/eclipse/paho.golang/autopaho"
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// A complaint is what the log has of a trouble, and when it was written.
type complaint struct {
	text string
	at   time.Time
}

// seldom is of whom the log has something already, and since when: of each machine that says
// nonsense, in other words each time, it has a line a minute.
type seldom map[string]time.Time

// may says whether the log may have something of a machine now, and takes it that it has.
func (s seldom) may(host string) bool {
	old := func(_ string, at time.Time) bool { return time.Since(at) >= complaintPause }
	if len(s) >= maxPeers {
		maps.DeleteFunc(s, old)
	}
	if at, is := s[host]; is && !old(host, at) || len(s) >= maxPeers {
		return false
	}
	s[host] = time.Now()
	return true
}

// trouble notes how something stands now, and logs it when that is news. Of what is
// another each time not every time is told.
func (s *mqtt) trouble(of *error, err error) {
	s.mu.Lock()
	*of = err
	last, now := s.logged[of], time.Now()
	fails := err != nil && err.Error() != last.text && now.Sub(last.at) >= complaintPause
	works := err == nil && last.text != ""
	if fails {
		s.logged[of] = complaint{err.Error(), now}
	} else if works {
		s.logged[of] = complaint{"", last.at}
	}
	s.mu.Unlock()
	switch {
	case fails:
		s.env.Log.Warn().Str("source", s.name).Err(err).Str("hint", netwatch.Hint(err)).Msg("telling other machines fails")
	case works:
		s.env.Log.Info().Str("source", s.name).Str("before", last.text).Msg("telling other machines works again")
	}
}

// Trouble is why the broker does not have what it should, or nil.
func (s *mqtt) Trouble() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := cmp.Or(s.reaching, s.ended); err != nil {
		return err
	}
	return errors.Join(s.writing, s.hearing, s.deaf, s.forgetting)
}

// connected notes that there is a connection. How the broker ends them is forgotten when
// this one has lasted.
func (s *mqtt) connected(c *paho.Connack) {
	if !s.assigned(c) {
		s.hangUp()
		return
	}
	s.mu.Lock()
	s.explained = false
	s.lives, s.loses = context.WithCancel(context.Background())
	s.look.Stop()
	_ = s.conn.SetReadDeadline(time.Time{}) // A connection that has ended says so by itself
	s.lasts = time.AfterFunc(shortTime, func() { s.trouble(&s.ended, nil) })
	s.mu.Unlock()
	s.trouble(&s.reaching, nil)
	wake(s.up)
}

// lost notes that there is none any more. That they end soon is said when the broker does
// not say itself why it ends them. One that we ended to get our own name is none.
func (s *mqtt) lost() {
	s.mu.Lock()
	switch {
	case s.lasts == nil:
	case s.lasts.Stop():
		s.short++
	default:
		s.short = 0
	}
	s.lasts, s.back = nil, nil
	s.loses()
	hangsUp := s.short >= manyShort && !s.explained && s.ended == nil
	s.mu.Unlock()
	if hangsUp {
		err := fmt.Errorf("the broker %s ends each connection soon after it is made", s.settings.Broker)
		s.trouble(&s.ended, netwatch.WithHint(err, seeLog))
	}
	s.peers.unhear()
}

// end ends what waits for the last connection: of that the library does not tell.
func (s *mqtt) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.loses()
	for _, timer := range []*time.Timer{s.lasts, s.look} {
		if timer != nil {
			timer.Stop()
		}
	}
}

// thrownOut notes why the broker ended the connection.
func (s *mqtt) thrownOut(code byte) {
	s.mu.Lock()
	s.explained = true
	s.mu.Unlock()
	if code >= 0x80 && code != packets.DisconnectServerShuttingDown { // From that it comes back
		s.trouble(&s.ended, s.refused("to keep the connection", code))
	}
}

// unreachable notes why there is no connection. A broker that is not there was stopped: that
// is why it ended one.
func (s *mqtt) unreachable(err error) {
	s.unanswered(err)
	if errors.Is(err, syscall.ECONNREFUSED) {
		s.mu.Lock()
		s.short = 0
		s.mu.Unlock()
	}
	if refused := new(autopaho.ConnackError); errors.As(err, &refused) && s.unnamed(refused.ReasonCode) {
		return
	}
	s.trouble(&s.reaching, s.unreached(err))
}
