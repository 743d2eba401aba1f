package servers

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"

	"netwatch"
	"netwatch/access"
	"netwatch/rewrite"
)

// A Coturn is a configuration of coturn and what it is to say.
type Coturn struct {
	// File may be a symlink; what it leads to is rewritten.
	File string
	// Public are the addresses to write.
	Public  map[netwatch.Family]netip.Addr
	Private Private
	// Own is this machine's own address that coturn relays from if the file does
	// not say it; it may be invalid.
	Own func(netwatch.Family) netip.Addr
	// Readers are the users of coturn.
	Readers []access.Reader
}

// Rotate rewrites the file if coturn would advertise another address by it. The
// detail is the addresses before and after. changing is as a Job says, or nil.
func (c Coturn) Rotate(ctx context.Context, changing func(netwatch.Rewrite) error) netwatch.Result {
	edit := rewrite.Edit{File: c.File, New: c.text, Readers: c.Readers, Changing: changing}
	before, after, err := edit.Do(ctx)
	was, is := list(Advertised(before)), list(Advertised(after))
	switch {
	case err != nil:
		return netwatch.Failure(c.explain(err))
	case string(before) == string(after):
		return netwatch.Result{Outcome: netwatch.Unchanged, Detail: is}
	}
	return netwatch.Result{Outcome: netwatch.Changed, Detail: was + " → " + is}
}

// text is what is to come of a text.
func (c Coturn) text(conf []byte) ([]byte, error) {
	if err := checkCoturn(conf); err != nil {
		return nil, err
	}
	return Rewrite(conf, c.Public, c.Private, c.Own)
}

// checkCoturn refuses an empty configuration. It is what a writer leaves for an
// instant who truncates before he writes; replacing it would lose what he writes,
// and coturn without a configuration is an open relay (measured).
func checkCoturn(conf []byte) error {
	if len(conf) > 0 {
		return nil
	}
	return netwatch.WithHint(errors.New("it is empty: coturn would start as an open relay"),
		"restore it from a backup; if it is meant to hold nothing else, write a comment line into it")
}

// explain says what an error means for coturn.
func (c Coturn) explain(err error) error {
	who, unreadable := errors.AsType[rewrite.Unreadable](err)
	switch {
	case unreadable:
		cannot := fmt.Errorf("rewriting %s: coturn (user %s) cannot read it; it would start as an open relay", c.File, who.User)
		return netwatch.WithHint(cannot, netwatch.Hint(err))
	case errors.Is(err, fs.ErrNotExist):
		return netwatch.WithHint(err, "name the file that coturn is started with (turnserver -c FILE)")
	}
	return err
}

// list is the addresses for a person to read.
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
