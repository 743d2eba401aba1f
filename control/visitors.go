package control

import (
	"sync"

	"golang.org/x/time/rate"
)

// How many connections users without privileges may have at once, and how many new
// ones they may make at once and in a second. Strangers share one room, so that
// somebody with many users takes no more than one. Each user of a source has a room
// of his own: what many OpenVPN scripts say while netwatch hangs must not be lost.
const (
	maxStrangers   = 64
	maxPerStranger = 16
	strangersPace  = 64

	maxPerUserOfSource = 128
	userOfSourcePace   = 64
)

// A room is how many connections some users may have together, and each of them.
type room struct {
	all, each int
	pace      *rate.Limiter
	open      map[uint32]int // connections by user
}

func newRoom(all, each, pace int) *room {
	return &room{all, each, rate.NewLimiter(rate.Limit(pace), 2*all), map[uint32]int{}}
}

// enter says whether a user may have one more connection, and counts it if so.
func (r *room) enter(uid uint32) bool {
	together := 0
	for _, n := range r.open {
		together += n
	}
	if together >= r.all || r.open[uid] >= r.each || !r.pace.Allow() {
		return false
	}
	r.open[uid]++
	return true
}

func (r *room) leave(uid uint32) {
	if r.open[uid]--; r.open[uid] == 0 {
		delete(r.open, uid)
	}
}

// Visitors are all who are connected, by whichever socket.
type visitors struct {
	mu        sync.Mutex
	strangers *room
	ofSources map[uint32]*room // by user
}

func newVisitors() *visitors {
	return &visitors{strangers: newRoom(maxStrangers, maxPerStranger, strangersPace)}
}

// know says who the users of the sources are.
func (v *visitors) know(users []uint32) {
	v.mu.Lock()
	defer v.mu.Unlock()
	old := v.ofSources
	v.ofSources = map[uint32]*room{}
	for _, uid := range users {
		if v.ofSources[uid] = old[uid]; old[uid] == nil {
			v.ofSources[uid] = newRoom(maxPerUserOfSource, maxPerUserOfSource, userOfSourcePace)
		}
	}
}

// admit counts a connection of a peer, unless he may have no more. The caller calls
// leave once.
func (v *visitors) admit(p peer) (leave func(), ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	room := v.room(p)
	if room != nil && !room.enter(p.UID) {
		return nil, false
	}
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		if room != nil {
			room.leave(p.UID)
		}
	}, true
}

// room is the room that the connections of a peer count in, or nil if they do not
// count. v.mu is held.
func (v *visitors) room(p peer) *room {
	switch own := v.ofSources[p.UID]; {
	case p.privileged():
		return nil
	case own != nil:
		return own
	}
	return v.strangers
}
