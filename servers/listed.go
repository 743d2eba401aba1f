package servers

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"netwatch"
	"netwatch/edit"
)

// A listed file holds the addresses of all families at one key, with commas between.
type listed struct {
	form edit.Form
	key  string
}

// rewrite gives each address that is there that of its family. A file without one gets
// IPv4's, unless this machine has that itself.
func (l listed) rewrite(conf []byte, w Wanted) (text []byte, word string, err error) {
	if err := w.check(); err != nil {
		return nil, "", err
	}
	value, err := l.form.Get(conf, l.key)
	missing := errors.Is(err, edit.ErrMissing)
	if err != nil && !missing {
		return nil, "", err
	}
	is, ok := addressesIn(value.Text)
	if !ok {
		return nil, "", notAddress(value)
	}
	now, word := renewed(is, w)
	switch to := join(now); {
	case to == join(is):
		return conf, word, nil
	case missing:
		text, err = l.form.Add(conf, l.key, to)
	default:
		text, err = l.form.Set(conf, l.key, to)
	}
	return text, word, err
}

// renewed are the addresses that are to be there instead of some.
func renewed(is []netip.Addr, w Wanted) (now []netip.Addr, word string) {
	switch {
	case len(is) == 0 && w.lacks(netwatch.IPv4, false):
		return []netip.Addr{w.to(netwatch.IPv4)}, ""
	case len(is) == 0:
		return nil, w.foreign(false)
	}
	now = slices.Clone(is)
	for i, a := range now {
		family := netwatch.FamilyOf(a)
		to := w.to(family)
		same := func(o netip.Addr) bool { return netwatch.FamilyOf(o) == family }
		switch {
		case !to.IsValid() || slices.Contains(is, to):
		case slices.IndexFunc(is[i+1:], same) >= 0 || slices.IndexFunc(is[:i], same) >= 0:
			word = fmt.Sprintf("which of its %s addresses is %s now is not certain", family, to)
		default:
			now[i] = to
		}
	}
	return now, word
}

// addressesIn are the addresses of a list; it is false if something else is in it.
func addressesIn(text string) (all []netip.Addr, ok bool) {
	if text == "" {
		return nil, true
	}
	for word := range strings.SplitSeq(text, ",") {
		word = strings.Trim(word, " ")
		a, err := netip.ParseAddr(word)
		if err != nil || !isAddress(word) {
			return nil, false
		}
		all = append(all, a)
	}
	return all, true
}

// join makes a list of addresses.
func join(all []netip.Addr) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.String()
	}
	return strings.Join(texts, ",")
}

// advertised are the addresses of the list, the first one of each family.
func (l listed) advertised(conf []byte, _ Options) (all []netip.Addr) {
	value, err := l.form.Get(conf, l.key)
	is, ok := addressesIn(value.Text)
	if err != nil || !ok {
		return nil
	}
	for _, family := range netwatch.Families {
		i := slices.IndexFunc(is, func(a netip.Addr) bool { return netwatch.FamilyOf(a) == family && writable(a) })
		if i >= 0 {
			all = append(all, is[i])
		}
	}
	return all
}
