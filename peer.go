package netwatch

import (
	"fmt"
	"time"
)

// A Peer is another machine that runs netwatch, as it tells of itself. Nothing of that is
// an address of ours.
type Peer struct {
	Peer string `json:"peer"`
	// State is PeerHere, PeerGone or PeerUnknown, and Since since when.
	State string    `json:"state"`
	Since time.Time `json:"since"`
	// Addresses are its public addresses.
	Addresses Addresses `json:"addresses"`
	Version   string    `json:"version"`
}

// How another machine stands.
const (
	// PeerHere says that it is connected.
	PeerHere = "here"
	// PeerGone says that it is not, by its last will or its own word.
	PeerGone = "lost"
	// PeerUnknown says that nothing was heard of it since we are connected, or that we are
	// not.
	PeerUnknown = "unknown"
)

// PeerStates are all of them.
var PeerStates = []string{PeerHere, PeerGone, PeerUnknown}

// An Answer is what was found out of a question: yes, no, or Unanswered.
type Answer string

// The answers.
const (
	Yes        Answer = "yes"
	No         Answer = "no"
	Unanswered Answer = ""
)

// AnswerOf is Yes or No.
func AnswerOf(is bool) Answer {
	if is {
		return Yes
	}
	return No
}

// A Broker is what a machine may do at a broker, as one that is connected has found out.
type Broker struct {
	Source string `json:"source"`
	Broker string `json:"broker"`
	// Host, User and Topic are who we are there, and what all topics begin with.
	Host  string `json:"host"`
	User  string `json:"user"`
	Topic string `json:"topic"`
	// Open says that what we say, and our password, go without TLS beyond private networks.
	Open bool `json:"open,omitempty"`
	// Until is how long the certificate is good that it has now, and Certificate why nobody
	// could believe it.
	Until       time.Time `json:"until,omitzero"`
	Certificate string    `json:"certificate,omitempty"`
	// Names says whether each user can be called by his own name alone.
	Names Answer `json:"names,omitempty"`
	// Speaks says whether we could speak for another machine.
	Speaks Answer `json:"speaks,omitempty"`
	// Overhears says whether we hear what is asked of another alone, or answered.
	Overhears Answer `json:"overhears,omitempty"`
}

// BrokerRights is a remedy: what the broker is to let each machine do, and no more.
func BrokerRights(topic string) string {
	return fmt.Sprintf("let these be all lines of the broker's ACL for these users: pattern write %[1]s/%%u/#; "+
		"pattern read %[1]s/+/state; pattern read %[1]s/+/ask/%%u; pattern read %[1]s/+/answer/%%u; "+
		"then systemctl reload mosquitto.service", topic)
}
