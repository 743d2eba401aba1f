package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"netwatch"
	"netwatch/rewrite"
)

// Do rewrites the file if that makes the server advertise another address. The detail
// is the addresses before and after. changing is called as Job.Changing is, or is
// nil.
func (r Rotation) Do(ctx context.Context, changing func(netwatch.Replacement) error) netwatch.Result {
	server, err := Named(r.Server)
	if err != nil {
		return netwatch.Failure(fmt.Errorf("rewriting %s: %w", r.File, err))
	}
	var word string
	text := func(conf []byte) (text []byte, err error) {
		text, word, err = server.Rewrite(conf, r.Wanted())
		return text, err
	}
	edit := rewrite.Edit{File: r.File, New: text, Readers: r.Readers, Changing: changing}
	before, after, err := edit.Do(ctx)
	if err != nil {
		return netwatch.Failure(server.explain(r.File, err))
	}
	r.note(server, before, after)
	was, is := list(server.Advertised(before, r.Options)), list(server.Advertised(after, r.Options))
	if word != "" {
		word = "; " + word
	}
	switch {
	case string(before) == string(after):
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: is + word}
	case was == is:
		return netwatch.Result{Outcome: netwatch.Changed, Detail: is + ", in other lines" + word}
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: was + " → " + is + word}
}

// Wanted is what the file is to say.
func (r Rotation) Wanted() Wanted { return Wanted{r.Public, r.Here, r.Version, r.Elsewhere, r.Options} }

// explain says what an error means for the server.
func (s Server) explain(file string, err error) error {
	who, unreadable := errors.AsType[rewrite.Unreadable](err)
	switch {
	case unreadable:
		cannot := fmt.Errorf("rewriting %s: %s (user %s) cannot read it; %s", file, s.Name, who.User, s.Blind)
		return netwatch.WithHint(cannot, netwatch.Hint(err))
	case errors.Is(err, fs.ErrNotExist):
		return netwatch.WithHint(err, "name the file that "+s.Name+" is started with ("+s.Named+")")
	}
	return err
}

// list joins addresses for a person.
func list(all []netip.Addr) string {
	if len(all) == 0 {
		return "none"
	}
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ", ")
}
