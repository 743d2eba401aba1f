package control

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// How many events a user without privileges may fire at once, and then in a second,
// before he is slowed. The scripts of an OpenVPN server whose clients all come back
// together fire fewer, and these make one run of a rule anyhow.
const (
	paceBurst = 64
	paceRate  = 2
)

// A pace slows users who fire many events.
type pace struct {
	mu    sync.Mutex
	users map[uint32]*rate.Limiter
}

// wait waits until it is the turn of the user, or closing is closed. It goes on when
// the caller has gone: he may have left the event here.
func (p *pace) wait(uid uint32, closing <-chan struct{}) {
	p.mu.Lock()
	limiter := p.users[uid]
	if limiter == nil {
		limiter = rate.NewLimiter(paceRate, paceBurst)
		p.users[uid] = limiter
	}
	p.mu.Unlock()
	select {
	case <-time.After(limiter.Reserve().Delay()):
	case <-closing:
	}
}
