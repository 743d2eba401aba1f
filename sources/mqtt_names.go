package sources

import (
	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"netwatch"
)

// Who connects by the name of another throws that one out. A broker can give each user his
// own name and no other; whether it does shows when one connects without a name.

// clientID is the name to connect by: none, until the broker lets us have that of another.
func (s *mqtt) clientID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named {
		return string(s.settings.Host)
	}
	return ""
}

// assigned says whether the name that the broker knows us by is our own. If it is one that
// the broker made up, we are to connect by ours: two machines that are called alike are
// to notice it. The next time it is asked anew.
func (s *mqtt) assigned(c *paho.Connack) (own bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named {
		s.named = false
		return true
	}
	given := ""
	if c.Properties != nil {
		given = c.Properties.AssignedClientID
	}
	own = given == s.settings.user()
	s.names, s.named = netwatch.AnswerOf(own), !own
	return own
}

// unnamed says whether a broker took us for nobody because we had no name. It does not
// know then whether it would let us have that of another.
func (s *mqtt) unnamed(code byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named || code != packets.ConnackInvalidClientID {
		return false
	}
	s.names, s.named = netwatch.Unanswered, true
	return true
}
