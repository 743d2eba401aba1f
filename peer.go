package netwatch

import "time"

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
