package control

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"netwatch"
	"netwatch/history"
)

// followerBuffer is how many entries a caller may lag behind.
const followerBuffer = 256

// settleTime is how long a reader waits for a disk that is slow to take what has just
// happened.
const settleTime = time.Second

// The headers of a page of history.
const (
	// positionHeader is where the next page begins.
	positionHeader = "Netwatch-Position"
	// moreHeader is there if there may be a next page.
	moreHeader = "Netwatch-More"
	// damagedHeader is how many lines were skipped, if any.
	damagedHeader = "Netwatch-Damaged"
)

// A reading is what a request for history wants.
type reading struct {
	history.Query
	from   history.Position
	follow bool
}

// values are a reading as the query of a URL.
func (r reading) values() url.Values {
	v := url.Values{}
	for key, at := range map[string]time.Time{"since": r.Since, "until": r.Until} {
		if !at.IsZero() {
			v.Set(key, at.Format(time.RFC3339Nano))
		}
	}
	for key, is := range map[string]bool{"addresses": r.Addresses, "follow": r.follow} {
		if is {
			v.Set(key, "1")
		}
	}
	if from, err := r.from.MarshalText(); err == nil && r.from != (history.Position{}) {
		v.Set("from", string(from))
	}
	return v
}

// readingOf is what a request wants.
func readingOf(v url.Values) (r reading, err error) {
	r.Addresses, r.follow = v.Get("addresses") == "1", v.Get("follow") == "1"
	for key, at := range map[string]*time.Time{"since": &r.Since, "until": &r.Until} {
		if text := v.Get(key); text != "" {
			err = errors.Join(err, at.UnmarshalText([]byte(text)))
		}
	}
	return r, errors.Join(err, r.from.UnmarshalText([]byte(v.Get("from"))))
}

func (s server) history(w http.ResponseWriter, r *http.Request) {
	if p, _ := r.Context().Value(peerKey{}).(peer); !privileged(r) {
		refuse(w, http.StatusForbidden, notPermitted(p, "read the history"))
		return
	}
	want, err := readingOf(r.URL.Query())
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading the request: %w", err))
		return
	}
	if want.follow {
		s.followHistory(w, r, want)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), settleTime)
	defer cancel()
	page, err := s.daemon.History().Page(ctx, want.Query, want.from, history.Position{})
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	head(w, page)
	if http.NewResponseController(w).SetWriteDeadline(time.Now().Add(callerTime)) == nil {
		_, _ = w.Write(page.Lines) // A caller who does not take it in time is gone
	}
}

// head says in headers what a page is.
func head(w http.ResponseWriter, page history.Page) {
	h := w.Header()
	h.Set("Content-Type", linesType)
	if next, err := page.Next.MarshalText(); err == nil {
		h.Set(positionHeader, string(next))
	}
	if page.More {
		h.Set(moreHeader, "1")
	}
	if page.Damaged > 0 {
		h.Set(damagedHeader, strconv.Itoa(page.Damaged))
	}
}

// followHistory sends what the files have, and then what comes.
func (s server) followHistory(w http.ResponseWriter, r *http.Request, want reading) {
	ctx, cancel := context.WithTimeout(r.Context(), settleTime)
	defer cancel()
	end, next, leave := s.daemon.History().Follow(ctx, want.Query)
	defer leave()
	out := newLines(w)
	for more := true; more; {
		page, err := s.daemon.History().Page(ctx, want.Query, want.from, end)
		if err != nil || !out.write(page.Lines) {
			return
		}
		want.from, more = page.Next, page.More
	}
	for {
		select {
		case e, ok := <-next:
			if !ok || want.Wants(e) && !out.send(e) {
				return
			}
		case <-r.Context().Done():
			return
		}
	}
}

// A Reading is how far a client has read, and what it skipped.
type Reading struct {
	position history.Position
	// Damaged is how many lines could not be read.
	Damaged int
}

// History calls each with every entry that the daemon has kept and the query wants,
// oldest first.
func (c *Client) History(ctx context.Context, q history.Query, each func(netwatch.Entry)) (r Reading, err error) {
	for more := true; more; {
		header, err := c.read(ctx, reading{Query: q, from: r.position}, &r, each)
		if err != nil {
			return r, err
		}
		if err := r.position.UnmarshalText([]byte(header.Get(positionHeader))); err != nil {
			return r, broken(ctx, err)
		}
		damaged, _ := strconv.Atoi(header.Get(damagedHeader)) // Absent is none
		r.Damaged += damaged
		more = header.Get(moreHeader) != ""
	}
	return r, nil
}

// Follow calls each with the entries that come after what was read, until ctx is done.
func (c *Client) Follow(ctx context.Context, q history.Query, r Reading, each func(netwatch.Entry)) error {
	_, err := c.read(ctx, reading{Query: q, from: r.position, follow: true}, &r, each)
	return err
}

// read calls each with the entries of one answer.
func (c *Client) read(
	ctx context.Context, want reading, r *Reading, each func(netwatch.Entry),
) (http.Header, error) {
	resp, err := c.ask(ctx, http.MethodGet, "/v1/history?"+want.values().Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	damaged, err := history.Entries(resp.Body, each)
	if r.Damaged += damaged; err != nil {
		return nil, broken(ctx, err)
	}
	return resp.Header, nil
}
