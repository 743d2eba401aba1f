package sources

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"netwatch"
)

// A correspondence is one Run of a routerSource.
type correspondence struct {
	*routerSource
	ctx     context.Context
	contact contact
	emit    func(netwatch.Event) error

	hints
	to    uplink
	words <-chan saying // what it announces
	// answers says whether the last question was answered, ever whether any was, and
	// silent since when none is. heard says that announcements arrive.
	answers, ever, announces bool
	protocol                 string
	silent                   time.Time
	// doubt says that the servers did not confirm our address when last looked.
	doubt bool
	// hasty is until when it is asked often, asked when it was asked last, and found when
	// the way to it was.
	hasty, asked, found time.Time
	tries               int // without an answer, since the last or since it is our router
	// lately is when it announced anything last, and unheard how often it did not although
	// it had something to say; missed says that it did not the last time.
	lately  time.Time
	unheard int
	missed  bool
	// news says that something new was announced, and untold that a hint was not told of.
	news, untold bool

	looking sync.WaitGroup
	cancel  func() // ends the wait for the look before
}

// run asks at once, at its pace, and at each announcement.
func (c *correspondence) run() error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case w := <-c.words:
			c.announces, c.missed, c.lately = true, false, time.Now()
			c.news = c.hear(w, time.Now()) || c.news
		case <-c.ctx.Done():
			return nil
		}
		if err := c.step(); err != nil {
			return err
		}
		timer.Reset(time.Until(c.wake()))
	}
}

// step does what is due: a question, and what follows from its answer.
func (c *correspondence) step() error {
	if now := time.Now(); c.news || !now.Before(c.nextQuestion()) {
		if err := c.question(); err != nil {
			return err
		}
	}
	known, now := c.known(), time.Now()
	counts := c.news && c.hint(known, now)
	c.news = false
	switch {
	case counts, c.catchUp(known, now):
		c.untold = true
		if now.Sub(c.lately) > hastyTime {
			c.unheard, c.missed = c.unheard+1, true
		}
		if !c.doubted() {
			c.tell()
		}
		if c.open {
			c.hurry(now)
			c.look()
		}
	case c.due(known, now):
		c.look()
	}
	if c.judge(c.known(), now) && c.untold {
		c.tell()
	}
	c.vouch(c.state())
	return nil
}

// known is our IPv4 address as the servers say it.
func (c *correspondence) known() netip.Addr { return c.env.Known()[netwatch.IPv4].Address }

// question finds the router and asks it.
func (c *correspondence) question() error {
	c.asked = time.Now()
	if !c.answers || c.asked.Sub(c.found) >= wayTime {
		to, err := c.contact.Find(c.env.Asked())
		if err != nil {
			return err
		}
		if c.found = c.asked; to != c.to {
			c.move(to)
		} else if c.Trouble() != nil { // What stood in the way may be gone
			c.listen()
		}
	}
	if unsure := !c.env.Known()[netwatch.IPv4].Unconfirmed.IsZero(); unsure != c.doubt {
		if c.doubt = unsure; unsure {
			c.hurry(c.asked)
		}
	}
	if !c.to.gateway.IsValid() {
		return nil
	}
	w, err := c.contact.Ask(c.ctx, c.to)
	if err != nil {
		c.unanswered()
		return nil
	}
	c.answers, c.ever, c.tries, c.protocol = true, true, 0, w.protocol
	c.news = c.hear(w, time.Now()) || c.news
	return nil
}

// move turns to another router. What the one before said is what the next is compared
// with; when it began to count is not.
func (c *correspondence) move(to uplink) {
	if c.to.gateway.IsValid() {
		c.hurry(c.asked)
	}
	c.to, c.answers, c.ever, c.announces, c.tries, c.silent = to, false, false, false, 0, c.asked
	c.unheard = 0
	c.moved()
	c.listen()
}

// listen hears from now on what the router announces.
func (c *correspondence) listen() {
	words, err := c.contact.Listen(c.ctx, c.to)
	c.words = words
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaf = err
}

// unanswered notes that the router did not answer.
func (c *correspondence) unanswered() {
	if c.answers {
		c.hurry(c.asked)
		c.silent = c.asked
	}
	c.answers, c.tries = false, c.tries+1
}

// hurry has the router asked often for a while.
func (c *correspondence) hurry(now time.Time) { c.hasty = now.Add(hastyTime) }

// nextQuestion is when the router is to be asked again.
func (c *correspondence) nextQuestion() time.Time { return c.asked.Add(c.pace(time.Now())) }

// pace is the time from one question to the next.
func (c *correspondence) pace(now time.Time) time.Duration {
	silence := now.Sub(c.silent)
	switch {
	case now.Before(c.hasty):
		return min(hastyEvery, c.every)
	case c.answers && c.announces && !c.missed && c.address.IsValid():
		return heardFactor * c.every
	case c.answers && c.protocol == upnp:
		return upnpFactor * c.every
	case c.answers, c.ever && silence < givenUp:
		return c.every
	case c.to.gateway.IsValid() && c.tries < mostTries:
		return min(hastyEvery, c.every)
	}
	return max(c.every, min(silence, silentEvery))
}

// wake is when the next step is.
func (c *correspondence) wake() time.Time {
	at := c.nextQuestion()
	if due := c.next(); !due.IsZero() && due.Before(at) {
		return due
	}
	return at
}

// tell emits the event. If it is refused, the hint counts once more.
func (c *correspondence) tell() {
	c.untold = false
	c.late = c.emit(netwatch.NewEvent(netwatch.RouterChanged, c.name, map[string]string{
		"gateway": c.to.gateway.String(), "old": text(c.was), "new": text(c.address),
	})) != nil
}

// look has the servers asked now. Who waits for the look before waits no longer.
func (c *correspondence) look() {
	c.cancel()
	ctx, cancel := context.WithCancel(c.ctx)
	c.cancel = cancel
	c.looking.Go(func() { c.env.Look(ctx) })
}

// state is how the router stands.
func (c *correspondence) state() netwatch.Router {
	r := netwatch.Router{Gateway: c.to.gateway, Healthy: c.answers, Announces: c.announces, Unheard: c.unheard}
	if c.ever {
		r.Protocol, r.Address, r.Since = c.protocol, c.address, c.since
	}
	return r
}

// AskRouter asks the router of the way to those who are asked, a few times if it is
// silent.
func (r *Router) AskRouter(ctx context.Context, asked []Asked) (netwatch.Router, error) {
	c, err := r.contact()
	if err != nil {
		return netwatch.Router{}, err
	}
	defer c.Close()
	to, err := c.Find(asked)
	is := netwatch.Router{Gateway: to.gateway}
	if err != nil || !to.gateway.IsValid() {
		return is, err
	}
	for range mostTries {
		var said saying
		if said, err = c.Ask(ctx, to); err == nil {
			is.Protocol, is.Address, is.Healthy = said.protocol, said.address, true
			break
		}
	}
	return is, err
}

// AskRouter asks the router of the way out, where no configuration says to.
func AskRouter(ctx context.Context, asked []Asked) (netwatch.Router, error) {
	return (&Router{Gateway: auto}).AskRouter(ctx, asked)
}
